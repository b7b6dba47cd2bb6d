# SPDX-License-Identifier: Apache-2.0
"""Channels that a later layer reads as neighbouring pixels, whatever makes them."""

import numpy as np
import pytest
import torch
from model_packed import model_packed
from torch import nn

LAST = {
    "depthwise": lambda n: nn.Conv1d(n, n, 1, groups=n),
    "depthwise with a window": lambda n: nn.Conv1d(n, n, 3, padding=1, groups=n),
    "grouped": lambda n: nn.Conv1d(n, n, 1, groups=3),
    "maximum": lambda n: nn.MaxPool1d(2, 1),
    "mean": lambda n: nn.AvgPool1d(2, 1),
    "sum": lambda n: nn.Conv1d(n, n, 1),
    "dense": lambda n: nn.Conv1d(n, n, 1),
}


class Shuffled(nn.Module):
    """Channels (phase, channel) of three phases become pixels, which a layer reads."""

    def __init__(self, kind, each):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv1d(2, 3 * each, 1)
        self.kind, self.last = kind, LAST[kind](3 * each)
        self.reader = nn.Conv1d(each, 2, 3)

    def forward(self, x):
        y = torch.relu(self.first(x))
        y = self.last(y) + y if self.kind == "sum" else self.last(y)
        y = y.unflatten(1, (3, -1)).permute(0, 2, 3, 1).flatten(2)
        return self.reader(y)


@pytest.mark.parametrize("kind", LAST)
@pytest.mark.parametrize("each", [3, 4])
@pytest.mark.parametrize("lanes, taps, tiles", [(2, 8, 1), (4, 1, 1), (16, 2, 1), (4, 4, 2)])
def test_channels_that_are_read_as_pixels(kind, each, lanes, taps, tiles, tmp_path):
    """Only a dense layer writes each phase where it is read; what else did lost channels."""
    model = Shuffled(kind, each).eval()
    x = np.random.default_rng(0).normal(size=(4, 2, 10)).astype(np.float32)
    settings = {"core.taps": taps, "core.tiles": tiles, "quantize.refine": False}
    model_packed(model, x, tmp_path / "b", lanes=lanes, settings=settings)
