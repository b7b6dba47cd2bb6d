# SPDX-License-Identifier: Apache-2.0
"""Blocks that several architectures are made of."""

import torch
from torch import nn


class Calls(nn.Module):
    """Parts by name, and what forward() does with them."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.code = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.code(self, x)


class Residual(nn.Module):
    """x + f(x), with something before the sum and behind it."""

    def __init__(self, body, skip=None, behind=None):
        super().__init__()
        self.body, self.skip, self.behind = body, skip or nn.Identity(), behind or nn.Identity()

    def forward(self, x):
        return self.behind(self.skip(x) + self.body(x))


def conv(i, o, k=3, s=1, act=nn.ReLU, p=None, **more):
    """Convolution, BatchNorm, activation."""
    pad = k // 2 * more.get("dilation", 1) if p is None else p
    layers = [nn.Conv2d(i, o, k, s, pad, bias=False, **more), nn.BatchNorm2d(o)]
    return nn.Sequential(*layers, *([act()] if act else []))


def conv1(i, o, k=3, s=1, act=nn.ReLU, p=None, **more):
    """The same over time."""
    pad = k // 2 * more.get("dilation", 1) if p is None else p
    layers = [nn.Conv1d(i, o, k, s, pad, bias=False, **more), nn.BatchNorm1d(o)]
    return nn.Sequential(*layers, *([act()] if act else []))


def separable(i, o, s=1, act=nn.ReLU):
    return nn.Sequential(conv(i, i, 3, s, act, groups=i), conv(i, o, 1, 1, act))


class Gate(nn.Module):
    """Squeeze and excite."""

    def __init__(self, c, r=4, last=nn.Sigmoid):
        super().__init__()
        self.f = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(c, c // r, 1),
            nn.ReLU(),
            nn.Conv2d(c // r, c, 1),
            last(),
        )

    def forward(self, x):
        return x * self.f(x)


class Inverted(nn.Module):
    """The inverted residual of MobileNetV2 and V3."""

    def __init__(self, i, o, e, s=1, k=3, act=nn.ReLU6, gate=False):
        super().__init__()
        layers = [conv(i, i * e, 1, 1, act), conv(i * e, i * e, k, s, act, groups=i * e)]
        layers += [Gate(i * e, 4, nn.Hardsigmoid)] if gate else []
        self.f, self.same = nn.Sequential(*layers, conv(i * e, o, 1, 1, None)), s == 1 and i == o

    def forward(self, x):
        return x + self.f(x) if self.same else self.f(x)


def basic(i, o, s=1):
    """The basic block of ResNet."""
    skip = conv(i, o, 1, s, None) if s > 1 or i != o else None
    return Residual(nn.Sequential(conv(i, o, 3, s), conv(o, o, 3, 1, None)), skip, nn.ReLU())


def head(c, classes):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, classes))


def last(y):
    return y[:, -1]


def cat(*parts):
    return torch.cat(parts, 1)
