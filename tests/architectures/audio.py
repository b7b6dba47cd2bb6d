# SPDX-License-Identifier: Apache-2.0
"""Sound and speech, small."""

import torch
from torch import nn
from torch.nn import functional as F

from architectures.parts import Calls, Residual, cat, conv, conv1, last


def tc_resnet():
    """Choi et al. 2019, TC-ResNet8: frequencies are channels, residuals along time."""

    def block(i, o):
        body = nn.Sequential(conv1(i, o, 9, 2), conv1(o, o, 9, 1, None))
        return Residual(body, conv1(i, o, 1, 2), nn.ReLU())

    def forward(m, x):  # [N, 1, frequencies, T]
        return m.fc(m.blocks(m.stem(x.squeeze(1))).mean(2))

    blocks = nn.Sequential(block(8, 12), block(12, 16))
    return Calls(forward, stem=conv1(10, 8, 3, act=None), blocks=blocks, fc=nn.Linear(16, 5))


def matchbox_net():
    """Majumdar and Ginsburg 2020: separable convolutions along time with residuals."""

    def separable(i, o, k, act=nn.ReLU, d=1):
        depth = nn.Conv1d(i, i, k, padding=d * (k // 2), dilation=d, groups=i, bias=False)
        return nn.Sequential(depth, conv1(i, o, 1, act=act))

    def block(i, o, k):
        body = nn.Sequential(separable(i, o, k), nn.Dropout(0.1), separable(o, o, k, None))
        return Residual(body, conv1(i, o, 1, act=None), nn.ReLU())

    return nn.Sequential(
        separable(10, 12, 11), block(12, 8, 13), block(8, 8, 15), separable(8, 12, 9, d=2),
        conv1(12, 12, 1), nn.Conv1d(12, 6, 1), nn.AdaptiveAvgPool1d(1), nn.Flatten(),
    )  # fmt: skip


def m5():
    """Dai et al. 2017: convolutions on the wave, a long one first."""
    return nn.Sequential(
        conv1(1, 8, 80, 4, p=38), nn.MaxPool1d(4), conv1(8, 8), nn.MaxPool1d(4), conv1(8, 16),
        nn.AvgPool1d(4), nn.Flatten(), nn.Linear(32, 5), nn.LogSoftmax(1),
    )  # fmt: skip


def wave_net():
    """van den Oord et al. 2016: dilated causal convolutions, gates, skips that are summed."""

    class Layer(nn.Module):
        def __init__(self, c, d):
            super().__init__()
            self.f, self.g = nn.Conv1d(c, c, 2, dilation=d), nn.Conv1d(c, c, 2, dilation=d)
            self.skip, self.out, self.d = nn.Conv1d(c, 8, 1), nn.Conv1d(c, c, 1), d

        def forward(self, x):
            padded = F.pad(x, (self.d, 0))
            z = torch.tanh(self.f(padded)) * torch.sigmoid(self.g(padded))
            return x + self.out(z), self.skip(z)

    def forward(m, x):
        x, total = m.first(x), 0
        for layer in m.layers:
            x, skip = layer(x)
            total = total + skip
        return m.last(F.relu(total))

    layers = nn.ModuleList(Layer(6, 2**i) for i in range(4))
    final = nn.Sequential(nn.Conv1d(8, 8, 1), nn.ReLU(), nn.Conv1d(8, 10, 1))
    return Calls(forward, first=nn.Conv1d(1, 6, 1), layers=layers, last=final)


def rn_noise():
    """Valin 2018: GRUs of three rates beside each other, gains for bands."""

    def forward(m, x):
        dense = torch.tanh(m.dense(x))
        vad = m.vad(dense)[0]
        noise = m.noise(torch.cat([vad, dense, x], 2))[0]
        denoise = m.denoise(torch.cat([vad, noise, x], 2))[0]
        return torch.sigmoid(m.gain(denoise))

    return Calls(
        forward, dense=nn.Linear(10, 6), vad=nn.GRU(6, 5, batch_first=True),
        noise=nn.GRU(21, 7, batch_first=True), denoise=nn.GRU(22, 8, batch_first=True),
        gain=nn.Linear(8, 6),
    )  # fmt: skip


def crn():
    """Tan and Wang 2018, speech enhancement: strided convolutions over frequency, LSTMs, and
    transposed convolutions that see the encoder's."""

    def forward(m, x):  # [N, 1, T, F]
        a = m.a(x)
        b = m.b(a)
        n, c, t, f = b.shape
        y = m.rnn(b.permute(0, 2, 1, 3).reshape(n, t, c * f))[0]
        y = y.reshape(n, t, c, f).permute(0, 2, 1, 3)
        y = m.db(cat(y, b))
        return F.softplus(m.da(cat(y, a)))

    def down(i, o):
        return nn.Sequential(nn.Conv2d(i, o, (1, 3), (1, 2)), nn.BatchNorm2d(o), nn.ELU())

    def up(i, o):
        return nn.Sequential(nn.ConvTranspose2d(i, o, (1, 3), (1, 2)), nn.BatchNorm2d(o), nn.ELU())

    return Calls(
        forward, a=down(1, 4), b=down(4, 6), rnn=nn.LSTM(18, 18, batch_first=True), db=up(12, 4),
        da=nn.ConvTranspose2d(8, 1, (1, 3), (1, 2)),
    )  # fmt: skip


def bc_resnet():
    """Kim et al. 2021: the mean over frequencies goes its own way and is broadcast; the
    normalisation is one for each band of frequencies."""

    class Bands(nn.Module):
        def __init__(self, c, bands=2):
            super().__init__()
            self.norm, self.bands = nn.BatchNorm2d(c * bands), bands

        def forward(self, x):
            n, c, f, t = x.shape
            x = self.norm(x.view(n, c * self.bands, f // self.bands, t))
            return x.view(n, c, f, t)

    class Block(nn.Module):
        def __init__(self, c):
            super().__init__()
            depth = nn.Conv2d(c, c, (3, 1), padding=(1, 0), groups=c, bias=False)
            self.two = nn.Sequential(depth, Bands(c))
            self.one = nn.Sequential(
                nn.Conv2d(c, c, (1, 3), padding=(0, 1), groups=c, bias=False), nn.BatchNorm2d(c),
                nn.SiLU(), nn.Conv2d(c, c, 1), nn.Dropout2d(0.1),
            )  # fmt: skip

        def forward(self, x):
            y = self.two(x)
            return F.relu(x + y + self.one(y.mean(2, keepdim=True)))

    return nn.Sequential(
        conv(1, 8, 5, (2, 1)), Block(8), Block(8), nn.Conv2d(8, 10, 1), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(10, 5),
    )  # fmt: skip


def conv_tasnet():
    """Luo and Mesgarani 2019, with BatchNorm, one of the normalisations of the paper: a learned
    filter bank, masks by a temporal network, and back."""

    class Block(nn.Module):
        def __init__(self, b, h, d):
            super().__init__()
            self.f = nn.Sequential(
                nn.Conv1d(b, h, 1), nn.PReLU(), nn.BatchNorm1d(h),
                nn.Conv1d(h, h, 3, padding=d, dilation=d, groups=h), nn.PReLU(), nn.BatchNorm1d(h),
            )  # fmt: skip
            self.out, self.skip = nn.Conv1d(h, b, 1), nn.Conv1d(h, b, 1)

        def forward(self, x):
            y = self.f(x)
            return x + self.out(y), self.skip(y)

    def forward(m, x):  # [N, 1, samples]
        w = F.relu(m.encoder(x))
        y, total = m.narrow(m.norm(w)), 0
        for block in m.blocks:
            y, skip = block(y)
            total = total + skip
        masks = torch.sigmoid(m.masks(F.relu(total))).unflatten(1, (2, 8))
        sources = (w.unsqueeze(1) * masks).reshape(-1, 8, w.size(2))
        return m.decoder(sources).view(len(x), 2, -1)

    return Calls(
        forward, encoder=nn.Conv1d(1, 8, 8, 4, bias=False), norm=nn.BatchNorm1d(8),
        narrow=nn.Conv1d(8, 6, 1), blocks=nn.ModuleList(Block(6, 10, d) for d in (1, 2)),
        masks=nn.Conv1d(6, 16, 1), decoder=nn.ConvTranspose1d(8, 1, 8, 4, bias=False),
    )  # fmt: skip


def attention_pooled_crnn():
    """Xu et al. 2018, audio tagging: gated convolutions, a bidirectional GRU, and a sum of frames
    weighted by an attention over time."""

    def forward(m, x):  # [N, 1, T, F]
        x = F.glu(m.conv(x), 1).mean(3).transpose(1, 2)
        x = m.rnn(x)[0]
        weight = torch.softmax(m.weight(x), 1)
        return (weight * torch.sigmoid(m.kind(x))).sum(1)

    return Calls(
        forward, conv=conv(1, 12, act=None), rnn=nn.GRU(6, 5, batch_first=True, bidirectional=True),
        weight=nn.Linear(10, 4), kind=nn.Linear(10, 4),
    )  # fmt: skip


def last_state_keywords():
    """Sun et al. 2016: an LSTM with a projected state, the last frame decides."""
    rnn = nn.LSTM(8, 10, 2, batch_first=True, proj_size=4)
    return Calls(lambda m, x: m.fc(last(m.rnn(x)[0])), rnn=rnn, fc=nn.Linear(4, 3))


ARCHITECTURES = {
    "TC-ResNet": (tc_resnet, (1, 10, 20)),
    "MatchboxNet": (matchbox_net, (10, 20)),
    "M5": (m5, (1, 520)),
    "WaveNet": (wave_net, (1, 24)),
    "RNNoise": (rn_noise, (4, 10)),
    "CRN": (crn, (1, 4, 15)),
    "BC-ResNet": (bc_resnet, (1, 12, 10)),
    "Conv-TasNet": (conv_tasnet, (1, 48)),
    "Attention-pooled CRNN": (attention_pooled_crnn, (1, 6, 8)),
    "Projected LSTM": (last_state_keywords, (5, 8)),
}
