# SPDX-License-Identifier: Apache-2.0
"""Networks that give one number for a sample, or a step that has no slope."""

import numpy as np
import pytest
import torch
from model_packed import model_packed
from torch import nn

ENDS = {
    "largest": lambda h: h.amax((1, 2)),
    "twice the largest": lambda h: 2 * h.amax((1, 2)) - 1,
    "sum": lambda h: h.sum((1, 2)),
    "range": lambda h: h.amax((1, 2)) - h.amin((1, 2)),
    "function": lambda h: torch.sigmoid(h.amax((1, 2))),
    "alarm": lambda h: (h.amax((1, 2)) > 1.5).float(),
    "alarms": lambda h: (h.mean(2) > 0.1).float(),
    "moved": lambda h: h.amax((1, 2)).unsqueeze(-1).clone().squeeze(-1),
}


class Ends(nn.Module):
    def __init__(self, end):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.end = nn.Conv1d(3, 6, 3, padding=1), end

    def forward(self, x):
        return self.end(self.conv(x))


@pytest.mark.parametrize("name", ENDS)
def test_it_is_packed_with_the_shape_that_pytorch_gives_it(name, tmp_path):
    model = Ends(ENDS[name]).eval()
    x = np.random.default_rng(0).normal(size=(40, 3, 8)).astype(np.float32)
    packed = model_packed(model, x, tmp_path / "b", name="ends", lanes=4)
    want = model(torch.from_numpy(x)).detach().numpy()
    assert packed.manifest.output.shape == list(want.shape[1:])
    assert packed.manifest.judgement.snr > 20 or "alarm" in name
