# SPDX-License-Identifier: Apache-2.0
"""Addresses and masks of taps, against six loops one inside the other."""

import numpy as np
import pytest
from one_nest import Bench, core_of, nest

from bramcast.golden.arith import FLOAT32_EXACT
from bramcast.golden.taps import Taps, largest_sum

WINDOW = {
    "y_start": -1, "y_limit": 3, "y_step_oy": 1, "y_step_ky": 2,
    "x_start": 1, "x_limit": 4, "x_step_ox": 2, "x_step_kx": -1,
}  # fmt: skip


def six_loops(lanewise):
    return nest(
        (2, 3, 2, 2, 3, 2), (16, 8, 4, 24, -4, 4), (12, 0, 0, 6, 2, 1), act_base=20, weight_base=3,
        lanewise=lanewise, **WINDOW,
    )  # fmt: skip


@pytest.mark.parametrize("lanewise", [False, True])
def test_every_tap_is_where_the_loops_say(lanewise):
    core = core_of(2, 2)
    one = six_loops(lanewise)
    taps, bench = Taps(one, core), Bench(core, one, words=32)
    parts = 1 if lanewise else 2
    assert (taps.parts, taps.count) == (parts, 12 * parts)
    pixels, run = slice(1, 6), slice(3, taps.count)
    acts, valid = taps.acts(pixels, run), taps.valid(pixels, run)
    steps = taps.weights(slice(0, 2), pixels, run)
    assert steps.shape == (2, 1, taps.count - 3)  # no weight depends on the pixel
    for g in range(2):
        for row, pixel in enumerate(range(1, 6)):
            walked = [
                (act + t - 16 * g, step * parts + t, ok)
                for act, step, ok in bench.taps(g, *divmod(pixel, 2))
                for t in range(parts)
            ]
            got = zip(acts[row].tolist(), steps[g, 0].tolist(), valid[row].tolist(), strict=True)
            assert list(got) == walked[3:]


def test_weights_of_each_pixel_have_their_own_rows():
    core = core_of(4)
    one = nest((1, 2, 3, 1, 1, 2), weight=(0, 6, 2, 0, 0, 1), lanewise=True)
    taps = Taps(one, core)
    assert not taps.one_weight
    assert taps.weights(slice(0, 1), slice(2, 5), slice(0, 2)).tolist() == [
        [[4, 5], [6, 7], [8, 9]]
    ]


def test_taps_are_masked_only_where_some_lie_outside():
    core = core_of(2)
    inside = {"y_limit": 3, "y_step_oy": 1, "y_step_ky": 1}
    assert not Taps(nest((1, 2, 1, 2, 1, 1), **inside), core).masked
    assert Taps(nest((1, 2, 1, 3, 1, 1), **inside), core).masked
    assert Taps(nest((1, 2, 1, 1, 1, 1), x_start=-1), core).masked


def bound_of(one, weights, data_bits=8, lanes=2):
    bench = Bench(core_of(lanes, 1, data_bits), one, words=4)
    bench.memories.weights[:] = 0
    bench.memories.weights[: len(weights)] = weights
    bench.memories._narrow_weights[0] = bench.memories.weights.astype(np.int8)
    return largest_sum(bench.memories, Taps(one, bench.core))


def test_short_sums_have_the_bound_of_any_weights():
    one = nest((1, 1, 1, 1, 1, 5), weight=(0, 0, 0, 0, 0, 1))
    assert bound_of(one, [[1, 1]]) == 5 * 128 * 128
    unsigned = nest((1, 1, 1, 1, 1, 5), weight=(0, 0, 0, 0, 0, 1), x_unsigned=True)
    assert bound_of(unsigned, [[1, 1]]) == 5 * 255 * 128


def test_long_sums_have_the_bound_of_the_largest_lane_of_any_group():
    # 2 groups of 20 steps; 16-bit data make any weights' bound 20 * 2**15 * 2**7 >= 2**24.
    one = nest((2, 1, 1, 1, 1, 20), weight=(20, 0, 0, 0, 0, 1))
    assert 20 << 22 >= FLOAT32_EXACT
    weights = np.zeros((40, 2), int)
    weights[:20, 0], weights[20:, 1] = 3, -4
    weights[5, 1] = 50
    assert bound_of(one, weights, 16) == 20 * 4 << 15
    assert bound_of(one, weights * 0, 16) == 1
