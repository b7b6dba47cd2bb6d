# SPDX-License-Identifier: Apache-2.0
"""EEG and ECG, small."""

import torch
from torch import nn
from torch.nn import functional as F

from architectures.parts import Calls, Residual, conv1, last


def eeg_net():
    """Lawhern et al. 2018: a filter over time, one over electrodes, a separable one."""
    return nn.Sequential(
        nn.Conv2d(1, 4, (1, 9), padding=(0, 4), bias=False), nn.BatchNorm2d(4),
        nn.Conv2d(4, 8, (6, 1), groups=4, bias=False), nn.BatchNorm2d(8), nn.ELU(),
        nn.AvgPool2d((1, 4)), nn.Dropout(0.25),
        nn.Conv2d(8, 8, (1, 5), padding=(0, 2), groups=8, bias=False),
        nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8), nn.ELU(), nn.AvgPool2d((1, 4)),
        nn.Flatten(), nn.Linear(16, 4),
    )  # fmt: skip


def shallow_conv_net():
    """Schirrmeister et al. 2017: squares, a mean and a logarithm, as in band power."""

    def forward(m, x):
        x = m.norm(m.space(m.time(x)))
        x = torch.log(torch.clamp(F.avg_pool2d(x * x, (1, 8), (1, 4)), min=1e-3))
        return m.fc(x.flatten(1))

    return Calls(
        forward, time=nn.Conv2d(1, 6, (1, 7)), space=nn.Conv2d(6, 6, (6, 1), bias=False),
        norm=nn.BatchNorm2d(6), fc=nn.Linear(30, 4),
    )  # fmt: skip


def deep_conv_net():
    """Schirrmeister et al. 2017: four blocks of convolution and maximum over time."""

    def block(i, o):
        return nn.Sequential(
            nn.Dropout(0.5), nn.Conv2d(i, o, (1, 3), bias=False), nn.BatchNorm2d(o), nn.ELU(),
            nn.MaxPool2d((1, 2)),
        )  # fmt: skip

    first = nn.Sequential(
        nn.Conv2d(1, 5, (1, 3)), nn.Conv2d(5, 5, (6, 1), bias=False), nn.BatchNorm2d(5), nn.ELU(),
        nn.MaxPool2d((1, 2)),
    )  # fmt: skip
    return nn.Sequential(first, block(5, 8), block(8, 10), nn.Flatten(), nn.Linear(20, 4))


def hannun_ecg():
    """Hannun et al. 2019, rhythms: pre-activated residuals over time, pooled skips."""

    class Block(nn.Module):
        def __init__(self, c, s):
            super().__init__()
            self.f = nn.Sequential(
                nn.BatchNorm1d(c), nn.ReLU(), nn.Conv1d(c, c, 8 * 2 - 1, padding=7),
                nn.BatchNorm1d(c), nn.ReLU(), nn.Dropout(0.2), nn.Conv1d(c, c, 15, s, 7),
            )  # fmt: skip
            self.s = s

        def forward(self, x):
            return F.max_pool1d(x, self.s) + self.f(x)

    return Calls(
        lambda m, x: m.fc(m.end(m.blocks(m.stem(x))).transpose(1, 2)),
        stem=conv1(1, 6, 15), blocks=nn.Sequential(Block(6, 1), Block(6, 2), Block(6, 2)),
        end=nn.Sequential(nn.BatchNorm1d(6), nn.ReLU()), fc=nn.Linear(6, 4),
    )  # fmt: skip


def deep_sleep_net():
    """Supratak et al. 2017: two filter widths over each epoch, LSTMs over epochs, a shortcut."""

    def branch(k, s):
        return nn.Sequential(
            conv1(1, 6, k, s, p=k // 2), nn.MaxPool1d(2), nn.Dropout(0.5), conv1(6, 6, 3),
            nn.AdaptiveMaxPool1d(3), nn.Flatten(),
        )  # fmt: skip

    def forward(m, x):  # [N, epochs, samples]
        n, epochs = x.shape[:2]
        each = x.reshape(n * epochs, 1, -1)
        y = torch.cat([m.small(each), m.large(each)], 1).view(n, epochs, -1)
        return m.out(m.rnn(y)[0] + F.relu(m.short(y)))

    return Calls(
        forward, small=branch(5, 2), large=branch(13, 4),
        rnn=nn.LSTM(36, 5, batch_first=True, bidirectional=True), short=nn.Linear(36, 10),
        out=nn.Linear(10, 5),
    )  # fmt: skip


def tiny_sleep_net():
    """Supratak and Guo 2020: one branch and one LSTM."""

    def forward(m, x):
        n, epochs = x.shape[:2]
        y = m.cnn(x.view(-1, 1, x.size(2))).view(n, epochs, -1)
        return m.fc(last(m.rnn(y)[0]))

    cnn = nn.Sequential(
        conv1(1, 6, 9, 3), nn.MaxPool1d(2), conv1(6, 8), conv1(8, 8), nn.MaxPool1d(2), nn.Flatten()
    )
    return Calls(forward, cnn=cnn, rnn=nn.LSTM(24, 6, batch_first=True), fc=nn.Linear(6, 5))


def eeg_tcnet():
    """Ingolfsson et al. 2020: EEGNet, then a temporal network; the last step decides."""

    def block(i, o, d):
        body = nn.Sequential(
            nn.ZeroPad1d((2 * d, 0)), conv1(i, o, 3, act=nn.ELU, p=0, dilation=d),
            nn.ZeroPad1d((2 * d, 0)), conv1(o, o, 3, act=nn.ELU, p=0, dilation=d),
        )  # fmt: skip
        return Residual(body, nn.Conv1d(i, o, 1) if i != o else None, nn.ELU())

    front = nn.Sequential(
        nn.Conv2d(1, 4, (1, 9), padding=(0, 4), bias=False), nn.BatchNorm2d(4),
        nn.Conv2d(4, 8, (6, 1), groups=4, bias=False), nn.BatchNorm2d(8), nn.ELU(),
        nn.AvgPool2d((1, 4)), nn.Flatten(2),
    )  # fmt: skip
    return Calls(
        lambda m, x: m.fc(m.tcn(m.front(x))[:, :, -1]),
        front=front, tcn=nn.Sequential(block(8, 6, 1), block(6, 6, 2)), fc=nn.Linear(6, 4),
    )  # fmt: skip


def u_sleep():
    """Perslev et al. 2021: a U-Net over time, pooled to one score for each epoch."""

    def forward(m, x):
        a = m.a(x)
        b = m.b(F.max_pool1d(a, 2))
        c = m.c(F.max_pool1d(b, 2))
        y = m.ub(torch.cat([F.interpolate(c, scale_factor=2), b], 1))
        y = m.ua(torch.cat([F.interpolate(y, scale_factor=2), a], 1))
        return m.out(F.avg_pool1d(torch.tanh(m.dense(y)), 8))

    return Calls(
        forward, a=conv1(2, 6, 9, act=nn.ELU), b=conv1(6, 8, 9, act=nn.ELU),
        c=conv1(8, 10, 9, act=nn.ELU), ub=conv1(18, 8, act=nn.ELU), ua=conv1(14, 6, act=nn.ELU),
        dense=nn.Conv1d(6, 6, 1), out=nn.Conv1d(6, 5, 1),
    )  # fmt: skip


ARCHITECTURES = {
    "EEGNet": (eeg_net, (1, 6, 32)),
    "Shallow ConvNet": (shallow_conv_net, (1, 6, 30)),
    "Deep ConvNet": (deep_conv_net, (1, 6, 36)),
    "ECG ResNet": (hannun_ecg, (1, 40)),
    "DeepSleepNet": (deep_sleep_net, (3, 36)),
    "TinySleepNet": (tiny_sleep_net, (3, 36)),
    "EEG-TCNet": (eeg_tcnet, (1, 6, 32)),
    "U-Sleep": (u_sleep, (2, 32)),
}
