# SPDX-License-Identifier: Apache-2.0
"""Pictures one pixel wide: their rows hold one pixel each, and a window along them leaves a row."""

import numpy as np
import pytest
import torch
from torch import nn

from bramcast.api.given import ARRAYS, given
from bramcast.pack.pipeline import pack
from bramcast.pack.run.calibrate import silent
from bramcast.pack.samples.inputs import inputs_of
from bramcast.sim.regress.agree import compare_with_graph


@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("lanes, taps, tiles", [(4, 2, 1), (4, 4, 1), (4, 2, 4)])
def test_a_column_is_no_row(channels, lanes, taps, tiles, tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(channels, 2, (3, 1)), nn.ReLU(), nn.Conv2d(2, 1, 1)).eval()
    x = np.random.default_rng(0).normal(size=(6, channels, 12, 1)).astype(np.float32)
    settings = {"core.taps": taps, "core.tiles": tiles, "quantize.refine": False}
    what = given(model, inputs_of({"x": x}, ARRAYS), lanes=lanes, settings=settings)
    packed = pack(what.recipe, tmp_path / "b", source=what.source, inputs=what.inputs)
    agreement = compare_with_graph(packed, tmp_path / "b", silent)
    assert agreement.mismatches == 0, agreement.text
