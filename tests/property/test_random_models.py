# SPDX-License-Identifier: Apache-2.0
"""Random models: refused by name, or golden computes what the quantized graph does, and no layer
is far from the float one."""

import random
import re

import numpy as np
import pytest
from model_packed import model_packed
from random_models import RandomModel

from bramcast.pack.bundle.errors import UserError

SHAPES = ((16, 1, 1), (4, 4, 1), (2, 8, 1), (8, 1, 2), (4, 2, 4), (1, 1, 8))
# A layer that is wrong has as much noise as signal, 0 dB. Sums that cancel and steps may lose much
# of 8 bits: of what is left this much of the layers keep the floor.
FLOOR, KEEP = 6.0, 0.97


def outcome(seed, folder):
    """What bramcast makes of a model: the refusal or "equal", and the layers' signal to noise."""
    model, rng = RandomModel(seed), random.Random(seed)
    lanes, taps, tiles = rng.choice(SHAPES)
    x = np.random.default_rng(seed).normal(size=(12, *model.shape)).astype(np.float32)
    settings = {"core.taps": taps, "core.tiles": tiles, "quantize.refine": False}
    try:
        packed = model_packed(model, x, folder, name=f"model{seed}", lanes=lanes, settings=settings)
    except UserError as error:
        return str(error), []
    except AssertionError as error:
        error.add_note(f"seed {seed}, {model.said}")
        raise
    return "equal", [layer.snr for layer in packed.manifest.layers if layer.snr is not None]


def refused_by_name(text):
    """A refusal says which layer or model it is about, and where."""
    return re.search(r"layer '|model '|output '|samples|recipe", text)


def tried(seeds, folder):
    equal, noise, refusals = 0, [], []
    for seed in seeds:
        found, layers = outcome(seed, folder / str(seed))
        if found == "equal":
            equal, noise = equal + 1, noise + layers
        else:
            refusals.append((seed, found))
            assert refused_by_name(found), f"seed {seed}: {found}"
    return equal, noise, refusals


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_random_models_are_equal_or_refused_by_name(first, tmp_path):
    equal, noise, refusals = tried(range(first, first + 10), tmp_path)
    assert equal >= 6, refusals
    assert np.mean(np.array(noise) >= FLOOR) >= KEEP, sorted(noise)[:5]


@pytest.mark.parametrize("seed", [1304, 1951, 3687, 4512, 5018])
def test_what_was_once_an_error_of_its_own(seed, tmp_path):
    """What failed.

    1304: a copy in any order, some of whose channels are nothing but padding.
    1951: a product of two copies, one of which lies in wider pixels.
    3687, 4512: channels of a lane-wise layer that are read as neighbouring pixels.
    5018: a sum of the frame and a copy, tried with pixels side by side.
    """
    assert outcome(seed, tmp_path / "b")[0] == "equal"


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 2000, 25))
def test_a_thousand_random_models(first, tmp_path):
    equal, noise, refusals = tried(range(first, first + 25), tmp_path)
    assert equal >= 15, refusals
    assert np.mean(np.array(noise) >= FLOOR) >= KEEP, sorted(noise)[:5]
