# SPDX-License-Identifier: Apache-2.0
"""Classifiers of pictures, and others, small."""

import torch
from torch import nn
from torch.nn import functional as F

from architectures.parts import Calls, Inverted, basic, cat, conv, head


def dense_net():
    """Huang et al. 2017: every layer sees all before it."""

    class Layer(nn.Module):
        def __init__(self, i, g):
            super().__init__()
            self.f = nn.Sequential(
                nn.BatchNorm2d(i), nn.ReLU(), nn.Conv2d(i, 2 * g, 1, bias=False),
                nn.BatchNorm2d(2 * g), nn.ReLU(), nn.Conv2d(2 * g, g, 3, padding=1, bias=False),
            )  # fmt: skip

        def forward(self, x):
            return cat(x, self.f(x))

    def between(i, o):
        return nn.Sequential(
            nn.BatchNorm2d(i), nn.ReLU(), nn.Conv2d(i, o, 1, bias=False), nn.AvgPool2d(2)
        )

    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), Layer(8, 4), Layer(12, 4), between(16, 8), Layer(8, 4),
        nn.BatchNorm2d(12), nn.ReLU(), head(12, 5),
    )  # fmt: skip


def inception():
    """Szegedy et al. 2015, GoogLeNet: four branches side by side."""

    class Block(nn.Module):
        def __init__(self, i):
            super().__init__()
            self.a, self.d = conv(i, 4, 1), nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(i, 3, 1))
            self.b = nn.Sequential(conv(i, 4, 1), conv(4, 6))
            self.c = nn.Sequential(conv(i, 2, 1), conv(2, 3, 5))

        def forward(self, x):
            return cat(self.a(x), self.b(x), self.c(x), self.d(x))

    pool = nn.MaxPool2d(3, 2, ceil_mode=True)
    return nn.Sequential(conv(3, 8, 3, 2), pool, Block(8), Block(16), head(16, 5))


def mobile_net_v3():
    """Howard et al. 2019: gates, hard swish, a last stage on a single pixel."""
    end = [nn.AdaptiveAvgPool2d(1), nn.Conv2d(24, 16, 1), nn.Hardswish(), nn.Flatten()]
    return nn.Sequential(
        conv(3, 8, 3, 2, nn.Hardswish), Inverted(8, 8, 2, act=nn.ReLU, gate=True),
        Inverted(8, 12, 3, 2, 5, nn.Hardswish, True), Inverted(12, 12, 3, 1, 5, nn.Hardswish, True),
        conv(12, 24, 1, 1, nn.Hardswish), *end, nn.Linear(16, 5),
    )  # fmt: skip


def shuffle_net_v2():
    """Ma et al. 2018: half of the channels pass, then all are shuffled."""

    def shuffle(x):
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)

    class Block(nn.Module):
        def __init__(self, c):
            super().__init__()
            h = c // 2
            self.f = nn.Sequential(conv(h, h, 1), conv(h, h, act=None, groups=h), conv(h, h, 1))

        def forward(self, x):
            a, b = x.chunk(2, 1)
            return shuffle(cat(a, self.f(b)))

    class Down(nn.Module):
        def __init__(self, i, o):
            super().__init__()
            self.a = nn.Sequential(conv(i, i, 3, 2, None, groups=i), conv(i, o, 1))
            self.b = nn.Sequential(conv(i, o, 1), conv(o, o, 3, 2, None, groups=o), conv(o, o, 1))

        def forward(self, x):
            return shuffle(cat(self.a(x), self.b(x)))

    return nn.Sequential(conv(3, 8, 3, 2), Down(8, 8), Block(16), Block(16), head(16, 5))


def ghost_net():
    """Han et al. 2020: cheap maps made of others, cut to the number that is wanted."""

    class Ghost(nn.Module):
        def __init__(self, i, o, act=nn.ReLU):
            super().__init__()
            n = -(-o // 2)
            self.a, self.o = conv(i, n, 1, act=act), o
            self.b = conv(n, n, act=act, groups=n)

        def forward(self, x):
            a = self.a(x)
            return cat(a, self.b(a))[:, : self.o]

    class Bottleneck(nn.Module):
        def __init__(self, i, h):
            super().__init__()
            self.f = nn.Sequential(Ghost(i, h), Ghost(h, i, None))

        def forward(self, x):
            return x + self.f(x)

    return nn.Sequential(conv(3, 8, 3, 2), Bottleneck(8, 13), Bottleneck(8, 16), head(8, 5))


def resnet():
    """He et al. 2016."""
    return nn.Sequential(
        conv(3, 8), nn.MaxPool2d(3, 2, 1), basic(8, 8), basic(8, 12, 2), head(12, 5)
    )


def hrnet():
    """Sun et al. 2019: two resolutions side by side, exchanged; poses as heat maps."""

    def forward(m, x):
        a = m.stem(x)
        b = m.down(a)
        a, b = m.a(a), m.b(b)
        a, b = F.relu(a + F.interpolate(m.ba(b), scale_factor=2)), F.relu(b + m.ab(a))
        return m.out(cat(a, F.interpolate(b, scale_factor=2, mode="bilinear")))

    return Calls(
        forward, stem=conv(3, 8, s=2), down=conv(8, 12, s=2), a=basic(8, 8), b=basic(12, 12),
        ba=conv(12, 8, 1, act=None), ab=conv(8, 12, 3, 2, None), out=nn.Conv2d(20, 4, 1),
    )  # fmt: skip


def res_next_attention():
    """Woo et al. 2018, CBAM: gates for channels by mean and maximum, then one for pixels."""

    class Gates(nn.Module):
        def __init__(self, c):
            super().__init__()
            self.mlp = nn.Sequential(nn.Conv2d(c, c // 4, 1), nn.ReLU(), nn.Conv2d(c // 4, c, 1))
            self.pixels = nn.Conv2d(2, 1, 7, padding=3)

        def forward(self, x):
            y = self.mlp(F.adaptive_avg_pool2d(x, 1)) + self.mlp(F.adaptive_max_pool2d(x, 1))
            x = x * torch.sigmoid(y)
            y = cat(x.mean(1, keepdim=True), x.amax(1, keepdim=True))
            return x * torch.sigmoid(self.pixels(y))

    return nn.Sequential(
        conv(3, 8, s=2), conv(8, 8, groups=4), Gates(8), conv(8, 12, s=2), head(12, 5)
    )


def point_net():
    """Qi et al. 2017, the network without alignment: the same layers for each point, a maximum."""

    def forward(m, x):  # [N, points, 3]
        local = m.local(x.transpose(1, 2))
        whole = m.deep(local).amax(2, keepdim=True)
        return m.out(cat(local, whole.expand(-1, -1, x.size(1))))

    return Calls(
        forward, local=nn.Sequential(nn.Conv1d(3, 8, 1), nn.BatchNorm1d(8), nn.ReLU()),
        deep=nn.Sequential(nn.Conv1d(8, 16, 1), nn.BatchNorm1d(16), nn.ReLU()),
        out=nn.Sequential(nn.Conv1d(24, 8, 1), nn.ReLU(), nn.Conv1d(8, 4, 1)),
    )  # fmt: skip


def n_beats():
    """Oreshkin et al. 2020: blocks that take from the past what they explain and add forecasts;
    the basis is a constant."""

    class Block(nn.Module):
        def __init__(self, past, future):
            super().__init__()
            self.f = nn.Sequential(nn.Linear(past, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU())
            self.theta = nn.Linear(12, 6)
            t = torch.linspace(0, 1, past)
            self.register_buffer("back", torch.stack([t**i for i in range(3)]))
            u = torch.linspace(1, 1.5, future)
            self.register_buffer("fore", torch.stack([u**i for i in range(3)]))

        def forward(self, x):
            theta = self.theta(self.f(x))
            back = torch.einsum("bp,pt->bt", theta[:, :3], self.back)
            return back, torch.einsum("bp,pt->bt", theta[:, 3:], self.fore)

    def forward(m, x):
        total = 0
        for block in m.blocks:
            back, fore = block(x)
            x, total = x - back, total + fore
        return total

    return Calls(forward, blocks=nn.ModuleList(Block(10, 4) for _ in range(3)))


def mlp_mixer():
    """Tolstikhin et al. 2021: Linears over patches and over channels, LayerNorm before each."""

    class Mix(nn.Module):
        def __init__(self, n, c):
            super().__init__()
            self.one, self.two = nn.LayerNorm(c), nn.LayerNorm(c)
            self.a = nn.Sequential(nn.Linear(n, 8), nn.GELU(), nn.Linear(8, n))
            self.b = nn.Sequential(nn.Linear(c, 16), nn.GELU(), nn.Linear(16, c))

        def forward(self, x):
            x = x + self.a(self.one(x).transpose(1, 2)).transpose(1, 2)
            return x + self.b(self.two(x))

    def forward(m, x):
        return m.fc(m.mix(m.patches(x).flatten(2).transpose(1, 2)).mean(1))

    return Calls(forward, patches=nn.Conv2d(3, 8, 4, 4), mix=Mix(9, 8), fc=nn.Linear(8, 5))


ARCHITECTURES = {
    "ResNet": (resnet, (3, 16, 16)),
    "DenseNet": (dense_net, (3, 10, 10)),
    "GoogLeNet": (inception, (3, 16, 16)),
    "MobileNetV3": (mobile_net_v3, (3, 16, 16)),
    "ShuffleNetV2": (shuffle_net_v2, (3, 16, 16)),
    "GhostNet": (ghost_net, (3, 12, 12)),
    "HRNet": (hrnet, (3, 16, 16)),
    "CBAM": (res_next_attention, (3, 14, 14)),
    "PointNet": (point_net, (12, 3)),
    "N-BEATS": (n_beats, (10,)),
    "MLP-Mixer": (mlp_mixer, (3, 12, 12)),
}
