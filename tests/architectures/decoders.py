# SPDX-License-Identifier: Apache-2.0
"""Segmentation, super-resolution and generators, small."""

import torch
from torch import nn
from torch.nn import functional as F

from architectures.parts import Calls, Inverted, Residual, basic, cat, conv, separable


def up(i, o, k=4, s=2, p=1):
    return nn.Sequential(
        nn.ConvTranspose2d(i, o, k, s, p, bias=False), nn.BatchNorm2d(o), nn.ReLU()
    )


def u_net():
    """Ronneberger et al. 2015: unpadded convolutions, skips cropped to what is left."""

    def forward(m, x):
        a = m.a(x)
        b = m.b(F.max_pool2d(a, 2))
        c = m.up(b)
        d = (a.size(2) - c.size(2)) // 2
        return m.out(m.c(cat(a[:, :, d : d + c.size(2), d : d + c.size(3)], c)))

    def double(i, o):
        return nn.Sequential(nn.Conv2d(i, o, 3), nn.ReLU(), nn.Conv2d(o, o, 3), nn.ReLU())

    return Calls(
        forward, a=double(1, 6), b=double(6, 10), up=nn.ConvTranspose2d(10, 6, 2, 2),
        c=double(12, 6), out=nn.Conv2d(6, 2, 1),
    )  # fmt: skip


def fcn_8s():
    """Long et al. 2015: scores of three depths, enlarged by transposed convolutions and added."""

    def forward(m, x):
        a = m.a(x)
        b = m.b(a)
        c = m.c(b)
        y = m.up2(m.score_c(c)) + m.score_b(b)
        y = m.up2b(y) + m.score_a(a)
        return m.up4(y)

    def stage(i, o):
        return nn.Sequential(conv(i, o), nn.MaxPool2d(2))

    return Calls(
        forward, a=nn.Sequential(stage(3, 6), stage(6, 8)), b=stage(8, 10), c=stage(10, 12),
        score_a=nn.Conv2d(8, 4, 1), score_b=nn.Conv2d(10, 4, 1), score_c=nn.Conv2d(12, 4, 1),
        up2=nn.ConvTranspose2d(4, 4, 4, 2, 1), up2b=nn.ConvTranspose2d(4, 4, 4, 2, 1),
        up4=nn.ConvTranspose2d(4, 4, 8, 4, 2),
    )  # fmt: skip


def link_net():
    """Chaurasia and Culurciello 2017: residual encoders, decoders of a transposed convolution
    between narrow ones, added to the encoder's input."""

    def decoder(i, o):
        return nn.Sequential(conv(i, i // 4, 1), up(i // 4, i // 4, 4), conv(i // 4, o, 1))

    def forward(m, x):
        x = m.stem(x)
        a = m.a(x)
        b = m.b(a)
        return m.out(m.db(b) + a)

    return Calls(
        forward, stem=conv(3, 8, 3, 2), a=basic(8, 8), b=basic(8, 16, 2), db=decoder(16, 8),
        out=nn.Sequential(up(8, 6), nn.Conv2d(6, 3, 3, padding=1)),
    )  # fmt: skip


def esp_net():
    """Mehta et al. 2018: a spatial pyramid of dilated convolutions, fused hierarchically."""

    class Pyramid(nn.Module):
        def __init__(self, i, o, s=1):
            super().__init__()
            n = o // 4
            self.reduce = nn.Conv2d(i, n, 1 if s == 1 else 3, s, 0 if s == 1 else 1)
            self.d = nn.ModuleList(nn.Conv2d(n, n, 3, padding=d, dilation=d) for d in (1, 2, 4, 8))
            self.bn, self.act, self.same = nn.BatchNorm2d(o), nn.PReLU(o), i == o and s == 1

        def forward(self, x):
            r = self.reduce(x)
            a, b, c, d = (f(r) for f in self.d)
            c = c + b
            y = cat(a, b, c, d + c)
            return self.act(self.bn(x + y if self.same else y))

    return nn.Sequential(
        conv(3, 8, s=2, act=None), nn.PReLU(8), Pyramid(8, 16, 2), Pyramid(16, 16),
        nn.Conv2d(16, 4, 1), nn.ConvTranspose2d(4, 4, 2, 2), nn.ConvTranspose2d(4, 4, 2, 2),
    )  # fmt: skip


def deep_lab_v3():
    """Chen et al. 2017: atrous pyramid with a picture's mean, enlarged bilinearly."""

    def forward(m, x):
        y = m.body(x)
        mean = F.interpolate(m.mean(y), size=y.shape[2:], mode="bilinear", align_corners=False)
        y = m.join(cat(m.one(y), m.two(y), m.three(y), mean))
        return F.interpolate(m.out(y), size=x.shape[2:], mode="bilinear", align_corners=False)

    body = nn.Sequential(conv(3, 8, s=2), basic(8, 12, 2), basic(12, 12))
    return Calls(
        forward, body=body, one=conv(12, 6, 1), two=conv(12, 6, dilation=2),
        three=conv(12, 6, dilation=3), mean=nn.Sequential(nn.AdaptiveAvgPool2d(1), conv(12, 6, 1)),
        join=conv(24, 8, 1), out=nn.Conv2d(8, 4, 1),
    )  # fmt: skip


def psp_net():
    """Zhao et al. 2017: pooled to 1, 2, 3 and 6 bins, enlarged with aligned corners."""

    def forward(m, x):
        y = m.body(x)
        seen = [y]
        for size, narrow in zip((1, 2, 3, 6), m.narrow, strict=True):
            pooled = narrow(F.adaptive_avg_pool2d(y, size))
            seen.append(F.interpolate(pooled, y.shape[2:], mode="bilinear", align_corners=True))
        return F.interpolate(m.out(cat(*seen)), x.shape[2:], mode="bilinear", align_corners=True)

    return Calls(
        forward, body=nn.Sequential(conv(3, 8, s=2), conv(8, 12)),
        narrow=nn.ModuleList(conv(12, 3, 1) for _ in range(4)),
        out=nn.Sequential(conv(24, 8), nn.Conv2d(8, 3, 1)),
    )  # fmt: skip


def fast_scnn():
    """Poudel et al. 2019: learning to downsample, inverted residuals, a fusion of two depths."""

    def forward(m, x):
        high = m.down(x)
        low = F.interpolate(m.deep(high), scale_factor=2, mode="bilinear", align_corners=True)
        y = F.relu(m.low(low) + m.high(high))
        return F.interpolate(m.out(y), scale_factor=2, mode="bilinear", align_corners=True)

    return Calls(
        forward, down=nn.Sequential(conv(3, 6, s=2), separable(6, 8)),
        deep=nn.Sequential(Inverted(8, 12, 2, 2), Inverted(12, 12, 2)),
        low=nn.Sequential(conv(12, 12, groups=12), conv(12, 8, 1, act=None)),
        high=conv(8, 8, 1, act=None), out=nn.Sequential(separable(8, 8), nn.Conv2d(8, 3, 1)),
    )  # fmt: skip


def seg_net():
    """Badrinarayanan et al. 2017: unpooling to where the maxima came from."""

    def forward(m, x):
        y, where = F.max_pool2d(m.a(x), 2, return_indices=True)
        return m.out(F.max_unpool2d(m.b(y), where, 2))

    return Calls(forward, a=conv(3, 6), b=conv(6, 6), out=nn.Conv2d(6, 3, 3, padding=1))


def dc_gan():
    """Radford et al. 2016: a picture from a vector by transposed convolutions."""
    return nn.Sequential(
        nn.Unflatten(1, (10, 1, 1)), up(10, 12, 4, 1, 0), up(12, 8),
        nn.ConvTranspose2d(8, 3, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip


def espcn():
    """Shi et al. 2016: sub-pixel convolution."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2), nn.Tanh(), nn.Conv2d(8, 6, 3, padding=1), nn.Tanh(),
        nn.Conv2d(6, 9, 3, padding=1), nn.PixelShuffle(3),
    )  # fmt: skip


def edsr():
    """Lim et al. 2017: residual blocks with a factor, no normalisation, reflected borders."""

    class Block(nn.Module):
        def __init__(self, c):
            super().__init__()
            self.a = nn.Conv2d(c, c, 3, padding=1, padding_mode="reflect")
            self.b = nn.Conv2d(c, c, 3, padding=1, padding_mode="reflect")

        def forward(self, x):
            return x + 0.1 * self.b(F.relu(self.a(x)))

    body = Residual(nn.Sequential(Block(8), Block(8), nn.Conv2d(8, 8, 3, padding=1)))
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), body, nn.Conv2d(8, 12, 3, padding=1), nn.PixelShuffle(2)
    )


def vae():
    """Kingma and Welling 2014: encoder to a mean, decoded, as at inference."""

    def forward(m, x):
        mean, _ = m.encoder(x).chunk(2, 1)
        return torch.sigmoid(m.decoder(mean))

    encoder = nn.Sequential(conv(1, 6, s=2), conv(6, 8, s=2), nn.Flatten(), nn.Linear(72, 8))
    decoder = nn.Sequential(
        nn.Linear(4, 72),
        nn.ReLU(),
        nn.Unflatten(1, (8, 3, 3)),
        up(8, 6),
        nn.ConvTranspose2d(6, 1, 4, 2, 1),
    )
    return Calls(forward, encoder=encoder, decoder=decoder)


ARCHITECTURES = {
    "U-Net": (u_net, (1, 28, 28)),
    "FCN-8s": (fcn_8s, (3, 16, 16)),
    "LinkNet": (link_net, (3, 16, 16)),
    "ESPNet": (esp_net, (3, 16, 16)),
    "DeepLabV3": (deep_lab_v3, (3, 20, 20)),
    "PSPNet": (psp_net, (3, 14, 14)),
    "Fast-SCNN": (fast_scnn, (3, 16, 16)),
    "SegNet": (seg_net, (3, 12, 12)),
    "DCGAN": (dc_gan, (10,)),
    "ESPCN": (espcn, (1, 8, 8)),
    "EDSR": (edsr, (3, 8, 8)),
    "VAE": (vae, (1, 12, 12)),
}
