# SPDX-License-Identifier: Apache-2.0
"""Three networks for scikit-learn's handwritten digits.

Input  x: float32 [N, 1, 8, 8], grey levels 0..16
Output  : float32 [N, 10] logits
"""

import torch
from torch import nn


def _separable(channels_in: int, channels_out: int, stride: int) -> list[nn.Module]:
    """A depthwise 3x3 and a pointwise convolution, each with BatchNorm and ReLU."""
    return [
        nn.Conv2d(channels_in, channels_in, 3, stride, 1, groups=channels_in, bias=False),
        nn.BatchNorm2d(channels_in),
        nn.ReLU(),
        nn.Conv2d(channels_in, channels_out, 1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    ]


class DsCnn(nn.Module):
    """A depthwise-separable CNN: 3x3 stem, three separable blocks, global average."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1, bias=False),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            *_separable(24, 32, 1),
            *_separable(32, 48, 2),
            *_separable(48, 48, 1),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(48, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.features(x)).flatten(1)
        return self.classifier(self.dropout(x))


class Mlp(nn.Sequential):
    """64-48-32-10 with ReLU and dropout."""

    def __init__(self) -> None:
        super().__init__(
            nn.Flatten(),
            nn.Linear(64, 48),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(48, 32),
            nn.ReLU(),
            nn.Linear(32, 10),
        )


class Gru(nn.Module):
    """A GRU with 32 states that reads an image row by row, then a Linear on its last state."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(8, 32, batch_first=True)
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _, last = self.gru(x[:, 0])
        return self.classifier(self.dropout(last[-1]))
