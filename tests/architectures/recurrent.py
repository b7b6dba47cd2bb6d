# SPDX-License-Identifier: Apache-2.0
"""Recurrent networks, small."""

import torch
from torch import nn
from torch.nn import functional as F

from architectures.parts import Calls, conv, last


def deep_speech_2():
    """Amodei et al. 2016: convolutions over frequency and time, bidirectional GRUs, letters."""

    def forward(m, x):
        x = m.front(x).flatten(1, 2).transpose(1, 2)
        return F.log_softmax(m.fc(m.rnn(x)[0]), -1)

    front = nn.Sequential(conv(1, 4, 3, 2, nn.Hardtanh), conv(4, 4, 3, 1, nn.Hardtanh))
    rnn = nn.GRU(20, 6, batch_first=True, bidirectional=True)
    return Calls(forward, front=front, rnn=rnn, fc=nn.Linear(12, 8))


def crnn():
    """Shi et al. 2017, text in pictures: columns are time, which comes first."""

    def forward(m, x):
        x = m.cnn(x).squeeze(2).permute(2, 0, 1)
        states, _ = m.rnn(x)
        steps, samples, width = states.size()
        scores = m.fc(states.reshape(steps * samples, width))
        return scores.view(steps, samples, -1).permute(1, 0, 2)

    cnn = nn.Sequential(
        conv(1, 6), nn.MaxPool2d(2), conv(6, 8), nn.MaxPool2d((2, 1)), conv(8, 10, (2, 2), p=0)
    )
    rnn = nn.LSTM(10, 6, bidirectional=True)
    return Calls(forward, cnn=cnn, rnn=rnn, fc=nn.Linear(12, 7))


def conv_lstm():
    """Shi et al. 2015: an LSTM whose gates are convolutions, over pictures."""

    def forward(m, x):
        h = c = torch.zeros_like(x[:, 0, :1]).expand(-1, 5, -1, -1)
        for t in range(x.shape[1]):
            i, f, g, o = m.gates(torch.cat([x[:, t], h], 1)).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return m.out(h)

    return Calls(forward, gates=nn.Conv2d(7, 20, 3, padding=1), out=nn.Conv2d(5, 1, 1))


def deep_conv_lstm():
    """Ordonez and Roggen 2016, activities: convolutions along time, two LSTMs, the last step."""

    def forward(m, x):  # [N, 1, T, sensors]
        x = m.cnn(x).permute(0, 2, 1, 3).flatten(2)
        return m.fc(last(m.rnn(x)[0]))

    cnn = nn.Sequential(nn.Conv2d(1, 6, (5, 1)), nn.ReLU(), nn.Conv2d(6, 6, (5, 1)), nn.ReLU())
    return Calls(forward, cnn=cnn, rnn=nn.LSTM(18, 8, 2, batch_first=True), fc=nn.Linear(8, 5))


def lst_net():
    """Lai et al. 2018, series: a convolution, a GRU, a GRU over every p-th step whose phases are
    samples, and an autoregression of each series beside them."""

    def forward(m, x):  # [N, T, series]
        n, c = x.size(0), F.relu(m.conv(x.unsqueeze(1))).squeeze(3)
        _, h = m.gru(c.permute(2, 0, 1))
        s = c[:, :, -6:].contiguous().view(n, 6, 2, 3).permute(2, 0, 3, 1).contiguous()
        _, skip = m.skip(s.view(2, n * 3, 6))
        r = torch.cat([h.squeeze(0), skip.view(n, 3 * 4)], 1)
        ar = m.ar(x[:, -4:].permute(0, 2, 1).contiguous().view(-1, 4)).view(-1, 5)
        return m.fc(r) + ar

    return Calls(
        forward, conv=nn.Conv2d(1, 6, (3, 5)), gru=nn.GRU(6, 7), skip=nn.GRU(6, 4),
        fc=nn.Linear(19, 5), ar=nn.Linear(4, 1),
    )  # fmt: skip


def crnn_keywords():
    """Arik et al. 2017: one strided convolution, bidirectional GRUs, a Linear over all steps."""

    def forward(m, x):
        x = F.relu(m.conv(x)).permute(0, 3, 1, 2).flatten(2)
        return m.fc(m.rnn(x)[0].flatten(1))

    return Calls(
        forward, conv=nn.Conv2d(1, 6, (10, 4), (8, 2)),
        rnn=nn.GRU(6, 5, 2, batch_first=True, bidirectional=True),
        fc=nn.Sequential(nn.Linear(40, 8), nn.ReLU(), nn.Linear(8, 4)),
    )  # fmt: skip


def lstm_autoencoder():
    """Srivastava et al. 2015, and Malhotra et al. 2016 for anomalies: the last state is decoded
    step by step."""

    def forward(m, x):
        _, (h, _) = m.encoder(x)
        repeated = h[-1].unsqueeze(1).repeat(1, x.size(1), 1)
        return m.out(m.decoder(repeated)[0])

    return Calls(
        forward, encoder=nn.LSTM(4, 6, batch_first=True), decoder=nn.LSTM(6, 6, batch_first=True),
        out=nn.Linear(6, 4),
    )  # fmt: skip


def quasi_rnn():
    """Bradbury et al. 2017: causal convolutions give the gates, fo-pooling the states."""

    def forward(m, x):  # [N, C, T]
        z, f, o = m.gates(F.pad(x, (1, 0))).chunk(3, 1)
        z, f, o = torch.tanh(z), torch.sigmoid(f), torch.sigmoid(o)
        c, states = torch.zeros_like(z[:, :, 0]), []
        for t in range(x.size(2)):
            c = f[:, :, t] * c + (1 - f[:, :, t]) * z[:, :, t]
            states.append(o[:, :, t] * c)
        return m.fc(torch.stack(states, 1).mean(1))

    return Calls(forward, gates=nn.Conv1d(5, 18, 2), fc=nn.Linear(6, 4))


ARCHITECTURES = {
    "Deep Speech 2": (deep_speech_2, (1, 10, 12)),
    "CRNN": (crnn, (1, 8, 14)),
    "ConvLSTM": (conv_lstm, (3, 2, 6, 6)),
    "DeepConvLSTM": (deep_conv_lstm, (1, 14, 3)),
    "LSTNet": (lst_net, (9, 5)),
    "CRNN for keywords": (crnn_keywords, (1, 10, 10)),
    "LSTM autoencoder": (lstm_autoencoder, (5, 4)),
    "QRNN": (quasi_rnn, (5, 6)),
}
