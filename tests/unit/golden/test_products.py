# SPDX-License-Identifier: Apache-2.0
"""Dense and lane-wise nests against sums of Python integers, tap by tap."""

import numpy as np
import pytest
from one_nest import Bench, core_of, nest

from bramcast.golden import sizes
from bramcast.golden.products import Dense, LaneWise

# A 2x3 window over a picture of 3x4 pixels with a border of one: 4x4 results.
WINDOW = {
    "y_start": -1, "y_limit": 3, "y_step_oy": 1, "y_step_ky": 1,
    "x_start": -1, "x_limit": 4, "x_step_ox": 1, "x_step_kx": 1,
}  # fmt: skip
STREAM = {"stream": True, "lo": -(2**31), "hi": 2**31 - 1}


def dense(**fields):
    """Two groups of LANES = 2 of which the last has one result; TAPS = 2."""
    return nest(
        (2, 4, 4, 2, 3, 1), (0, 16, 4, 16, 4, 0), (6, 0, 0, 3, 1, 0), (1, 16, 4),
        act_base=20, result_base=60, bias_step=2, **(WINDOW | fields),
    )  # fmt: skip


def lane_wise(**fields):
    """Two groups of LANES * TAPS = 4 of which the last has three results."""
    return nest(
        (2, 4, 4, 2, 3, 1), (4, 32, 8, 32, 8, 0), (6, 0, 0, 3, 1, 0), (2, 16, 4),
        act_base=40, result_base=120, bias_step=4, lanewise=True, **(WINDOW | {"tail": 3} | fields),
    )  # fmt: skip


KINDS = {"dense": (dense, Dense), "lane-wise": (lane_wise, LaneWise)}


@pytest.mark.parametrize("x_unsigned", [False, True])
@pytest.mark.parametrize("fields", [{}, STREAM, {"lo": 0, "hi": 255}], ids=["", "sent", "u"])
@pytest.mark.parametrize("name", KINDS)
def test_sums_over_a_window_with_a_border(name, fields, x_unsigned):
    one, kind = KINDS[name]
    made = Bench(core_of(2, 2), one(x_unsigned=x_unsigned, **fields), words=60).check(kind)
    assert made.fused


@pytest.mark.parametrize("name", KINDS)
def test_sums_of_16_bit_data(name):
    one, kind = KINDS[name]
    shift = [20] * 64
    Bench(core_of(2, 2, 16), one(lo=-32768, hi=32767), words=60, shift=shift).check(kind)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("limits", [
    {"TAPS_AT_ONCE": 4}, {"CACHED_ENTRIES": 0}, {"BLOCK_BYTES": 1},
    {"TAPS_AT_ONCE": 1, "CACHED_ENTRIES": 0},
])  # fmt: skip
def test_how_much_is_taken_at_once_changes_nothing(name, limits, monkeypatch):
    for limit, value in limits.items():
        monkeypatch.setattr(sizes, limit, value)
    one, kind = KINDS[name]
    Bench(core_of(2, 2), one(), words=60).check(kind)


@pytest.mark.parametrize("name", KINDS)
def test_each_pixel_may_have_weights_of_its_own(name):
    one, kind = KINDS[name]
    made = one()
    changed = nest(
        (1, 2, 2, 1, 3, 2), made.act_steps, (0, 12, 6, 0, 2, 1), (0, 8, 4), act_base=40,
        result_base=120, lanewise=made.lanewise, tail=3 if made.lanewise else 2, x_limit=3,
        x_step_kx=1,
    )  # fmt: skip
    Bench(core_of(2, 2), changed, words=60).check(kind)


def test_dense_groups_may_read_elements_of_their_own():
    one = nest(
        (3, 1, 4, 1, 1, 2), (12, 0, 4, 0, 0, 2), (4, 0, 0, 0, 0, 1), (1, 0, 4), result_base=60,
        bias_step=2, tail=2,
    )  # fmt: skip
    Bench(core_of(2, 2), one, words=60).check(Dense)


@pytest.mark.parametrize("narrow", [1, 2])
def test_narrow_weights_share_words(narrow):
    """A step's bits lie 8 >> narrow apart, the first step lowest."""
    bits = 8 >> narrow
    one = nest((1, 1, 1, 1, 1, 7), (0, 0, 0, 0, 0, 1), (0, 0, 0, 0, 0, 1), weight_base=3,
               narrow=narrow, tail=3, **STREAM)  # fmt: skip
    bench = Bench(core_of(3), one)
    words = bench.weights.copy()
    bench.weights = np.array([
        [((int(word) >> bits * part) + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)
         for word in row]
        for row in words
        for part in range(1 << narrow)
    ])  # fmt: skip
    bench.check(Dense)
