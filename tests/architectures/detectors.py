# SPDX-License-Identifier: Apache-2.0
"""Detectors, small: narrow, few pixels, the structure of the papers."""

import torch
from torch import nn
from torch.nn import functional as F

from architectures.parts import Calls, Residual, cat, conv, separable


def leaky():
    return nn.LeakyReLU(0.1)


def fast_yolo():
    """Redmon et al. 2016, You Only Look Once: convolutions, then Linears to a grid of boxes."""
    return nn.Sequential(
        conv(3, 8, act=leaky), nn.MaxPool2d(2), conv(8, 12, act=leaky), nn.MaxPool2d(2),
        conv(12, 16, act=leaky), nn.Flatten(), nn.Linear(16 * 25, 32), leaky(), nn.Dropout(0.5),
        nn.Linear(32, 3 * 3 * 7), nn.Unflatten(1, (3, 3, 7)),
    )  # fmt: skip


def tiny_yolo_v2():
    """Redmon and Farhadi 2017, YOLO9000: a passthrough that makes channels of pixels."""

    def forward(m, x):
        fine = m.a(x)
        coarse = m.b(F.max_pool2d(fine, 2))
        return m.head(cat(F.pixel_unshuffle(m.narrow(fine), 2), coarse))

    return Calls(
        forward, a=nn.Sequential(conv(3, 8, act=leaky), nn.MaxPool2d(2), conv(8, 16, act=leaky)),
        b=conv(16, 24, act=leaky), narrow=conv(16, 4, 1, act=leaky), head=nn.Conv2d(40, 15, 1),
    )  # fmt: skip


def tiny_yolo_v3():
    """Redmon and Farhadi 2018, YOLOv3: two scales, the coarse one enlarged for the fine one."""

    def forward(m, x):
        fine = m.a(x)
        coarse = m.b(F.max_pool2d(fine, 2))
        up = F.interpolate(m.narrow(coarse), scale_factor=2)
        return m.far(coarse), m.near(cat(up, fine))

    return Calls(
        forward, a=nn.Sequential(conv(3, 8, s=2, act=leaky), conv(8, 12, act=leaky)),
        b=conv(12, 16, act=leaky), narrow=conv(16, 6, 1, act=leaky),
        far=nn.Conv2d(16, 9, 1), near=nn.Conv2d(18, 9, 1),
    )  # fmt: skip


def yolo_x_stem():
    """Ge et al. 2021, YOLOX: Focus on the input, CSP blocks, SPP of one stride, a decoupled head
    whose parts are joined for decoding."""

    def forward(m, x):
        x = cat(x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2])
        x = m.stem(x)
        x = m.join(cat(m.deep(m.left(x)), m.right(x)))
        x = m.spp(cat(x, *(F.max_pool2d(x, k, 1, k // 2) for k in (3, 5))))
        kind, box = m.kind(x), m.box(x)
        return cat(m.reg(box), torch.sigmoid(m.obj(box)), torch.sigmoid(m.cls(kind))).flatten(2)

    deep = Residual(nn.Sequential(conv(8, 8, 1, act=nn.SiLU), conv(8, 8, act=nn.SiLU)))
    return Calls(
        forward, stem=conv(12, 16, act=nn.SiLU), left=conv(16, 8, 1, act=nn.SiLU),
        right=conv(16, 8, 1, act=nn.SiLU), deep=deep, join=conv(16, 16, 1, act=nn.SiLU),
        spp=conv(48, 16, 1, act=nn.SiLU), kind=conv(16, 12, act=nn.SiLU),
        box=conv(16, 12, act=nn.SiLU), reg=nn.Conv2d(12, 4, 1), obj=nn.Conv2d(12, 1, 1),
        cls=nn.Conv2d(12, 3, 1),
    )  # fmt: skip


def ssd_lite():
    """Liu et al. 2016, SSD, with MobileNetV2's separable heads: boxes of all scales in one list."""

    def forward(m, x):
        a = m.a(x)
        b = m.b(a)
        found = []
        for feature, box, kind in ((a, m.box_a, m.kind_a), (b, m.box_b, m.kind_b)):
            pair = torch.cat(
                [box(feature).unflatten(1, (3, 4)), kind(feature).unflatten(1, (3, 5))], 2
            )
            found.append(pair.permute(0, 3, 4, 1, 2).flatten(1, 3))
        return torch.cat(found, 1)

    def part(c, o):
        return nn.Sequential(conv(c, c, groups=c), nn.Conv2d(c, o, 1))

    return Calls(
        forward, a=nn.Sequential(conv(3, 8, s=2), separable(8, 12)), b=separable(12, 16, 2),
        box_a=part(12, 12), kind_a=part(12, 15), box_b=part(16, 12), kind_b=part(16, 15),
    )  # fmt: skip


def squeeze_det():
    """Wu et al. 2017, SqueezeDet: fire modules and one convolution for anchors."""

    def fire(m, x):
        x = m.s(x)
        return cat(m.a(x), m.b(x))

    def module(i, s, e):
        return Calls(fire, s=conv(i, s, 1), a=conv(s, e, 1), b=conv(s, e))

    return nn.Sequential(
        conv(3, 8, s=2), nn.MaxPool2d(3, 2, 1), module(8, 4, 8), module(16, 6, 10),
        nn.Dropout(0.5), nn.Conv2d(20, 2 * (4 + 1 + 3), 3, padding=1),
    )  # fmt: skip


def center_net():
    """Zhou et al. 2019, Objects as Points: transposed convolutions, three heads by name."""

    def forward(m, x):
        x = m.up(m.down(x))
        return {"heat": torch.sigmoid(m.heat(x)), "size": m.size(x), "offset": m.offset(x)}

    def part(o):
        return nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, o, 1))

    up = nn.Sequential(nn.ConvTranspose2d(16, 8, 4, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    down = nn.Sequential(conv(3, 8, s=2), conv(8, 16, s=2))
    return Calls(forward, down=down, up=up, heat=part(3), size=part(2), offset=part(2))


def blaze_face():
    """Bazarevsky et al. 2019, BlazeFace: 5 x 5 blocks whose skip is pooled and padded by zero
    channels; scores and boxes of all anchors side by side."""

    class Blaze(nn.Module):
        def __init__(self, i, o, s=1):
            super().__init__()
            self.f = nn.Sequential(conv(i, i, 5, s, None, groups=i), conv(i, o, 1, 1, None))
            self.more, self.s = o - i, s

        def forward(self, x):
            skip = F.max_pool2d(x, 2) if self.s == 2 else x
            return F.relu(self.f(x) + F.pad(skip, (0, 0, 0, 0, 0, self.more)))

    def forward(m, x):
        x = m.body(x)
        score = m.score(x).permute(0, 2, 3, 1).reshape(len(x), -1, 1)
        box = m.box(x).permute(0, 2, 3, 1).reshape(len(x), -1, 8)
        return torch.cat([torch.clamp(score, -20, 20), box], 2)

    body = nn.Sequential(conv(3, 8, 5, 2), Blaze(8, 8), Blaze(8, 12, 2), Blaze(12, 16))
    return Calls(forward, body=body, score=nn.Conv2d(16, 2, 1), box=nn.Conv2d(16, 16, 1))


ARCHITECTURES = {
    "Fast YOLO": (fast_yolo, (3, 20, 20)),
    "Tiny YOLOv2": (tiny_yolo_v2, (3, 16, 16)),
    "Tiny YOLOv3": (tiny_yolo_v3, (3, 16, 16)),
    "YOLOX": (yolo_x_stem, (3, 16, 16)),
    "SSDLite": (ssd_lite, (3, 16, 16)),
    "SqueezeDet": (squeeze_det, (3, 20, 20)),
    "CenterNet": (center_net, (3, 16, 16)),
    "BlazeFace": (blaze_face, (3, 16, 16)),
}
