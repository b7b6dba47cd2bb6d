# SPDX-License-Identifier: Apache-2.0
"""How many rows of each picture a tile gets: by the cycles of the whole program."""

import numpy as np
import pytest
import torch
from torch import nn

from bramcast.api.given import ARRAYS, given
from bramcast.pack.bundle.program import Nest
from bramcast.pack.pipeline import pack
from bramcast.pack.samples.inputs import inputs_of


def packed(model, shape, folder, tiles):
    torch.manual_seed(0)
    x = np.random.default_rng(0).normal(size=(8, *shape)).astype(np.float32)
    settings = {"core.tiles": tiles, "quantize.refine": False}
    what = given(model.eval(), inputs_of({"x": x}, ARRAYS), lanes=8, settings=settings)
    return pack(what.recipe, folder, source=what.source, inputs=what.inputs)


def conv(c_in, c_out, stride=1):
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, stride, 1), nn.ReLU())


CASES = {
    # 32 rows are halved twice: each strip is half as high as the one before.
    "halved": (32, 4, (1, 2, 2), [8, 4, 2]),
    # 50 rows to 25, which 4 tiles share as 7 + 7 + 7 + 4: the rows read are 14 then, not 13.
    "to 25": (50, 4, (2, 1, 1), [7, 7, 7]),
    # Three rows: as few as there are tiles or fewer.
    "three rows": (3, 4, (1, 1), [1, 1]),
}


@pytest.mark.parametrize("name", CASES)
def test_rows_of_a_chain(name, tmp_path):
    height, tiles, strides, rows = CASES[name]
    layers = [conv(3 if i == 0 else 8, 8, s) for i, s in enumerate(strides)]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    made = packed(model, (3, height, 12), tmp_path / "b", tiles)
    found = [layer.strip_rows for layer in made.manifest.layers]
    assert found[: len(rows)] == rows and not any(found[len(rows) :])
    nests = [d for d in made.descriptors if isinstance(d, Nest)]
    assert [d.strips for d in nests[: len(rows)]] == [True] * len(rows)
    assert [d.counts[1] for d in nests[: len(rows)]] == rows


def test_a_network_along_one_axis_is_shared_out_along_it(tmp_path):
    model = nn.Sequential(
        nn.Conv1d(3, 8, 5, padding=2), nn.ReLU(), nn.Conv1d(8, 8, 3, 2, 1), nn.ReLU(), nn.Flatten(),
        nn.Linear(8 * 20, 4),
    )  # fmt: skip
    made = packed(model, (3, 40), tmp_path / "b", 4)
    first, second, last = made.manifest.layers
    assert (first.strip_rows, second.strip_rows) == (10, 5) and not last.strip_rows
    assert first.shape == [40, 1, 8]


def test_one_tile_has_no_strips(tmp_path):
    made = packed(nn.Sequential(conv(3, 8), conv(8, 4)), (3, 16, 8), tmp_path / "b", 1)
    assert not any(layer.strip_rows for layer in made.manifest.layers)
    assert all(d.rows is None for d in made.descriptors if isinstance(d, Nest))
