# SPDX-License-Identifier: Apache-2.0
"""From sums to results: requantized, looked up, cut at the tail, put or sent. In plain integers."""

import numpy as np
import pytest
from one_nest import SAMPLES, Bench, core_of, nest

from bramcast.golden.epilogue import Epilogue
from bramcast.pack.bundle.words import pack_lanes

WIDE = {"stream": True, "lo": -(2**31), "hi": 2**31 - 1}


def groups_of_two(**fields):
    """3 groups of LANES = 2 over 2x3 pixels, the last with one result."""
    return nest((3, 2, 3, 1, 1, 1), result=(1, 20, 5), result_base=7, bias_step=2, **fields)


def finished(bench, bound, beat=0, floats=False):
    """Put sums of all groups and pixels, by integers or by floats; the sums, [p, g, lanes, n]."""
    out = Epilogue(bench.memories, 1, bench.nest, bound, beat)
    rng = np.random.default_rng(5)
    groups, pixels = out.groups.count, out.groups.pixels
    shape = (pixels, groups, out.groups.width, SAMPLES)
    sums = rng.integers(-bound, bound, shape, endpoint=True)
    for part in out.ranges(2):
        for some in (slice(0, 1), slice(1, pixels)):
            place = out.place(some, part)
            mine = sums[some, part, : place.lanes]
            if not floats:
                out.finish(bench.chunk, mine.copy(), place)
                continue
            # What the product gives: (sum + bias + half) * 2**-shift, not rounded.
            shift = out.shift[part, : place.lanes]
            values = np.ldexp((mine + out.offset[part, : place.lanes]).astype(float), -shift)
            for step in out.floats(bench.chunk, values, place):
                step()
    return sums


def compare(bench, sums, lookup=lambda value: value, beat=0):
    """What lies in the scratchpad, or has been sent, against Python's integers."""
    one, core = bench.nest, bench.core
    beats = iter(bench.chunk.beats[beat:])
    mask = (1 << core.data_bits) - 1
    for g, pixel in np.ndindex(sums.shape[1], sums.shape[0]):
        last = g == one.counts[0] - 1
        valid = one.tail if last else sums.shape[2]
        for lane in range(core.lanes * -(-valid // core.lanes)):
            expected = [
                lookup(bench.requantized((int(s) + 2**31) % 2**32 - 2**31, g, lane))
                if lane < valid
                else 0
                for s in sums[pixel, g, lane]
            ]
            if one.stream:
                if lane < valid:
                    assert next(beats).tolist() == expected
                continue
            oy, ox = divmod(pixel, one.counts[2])
            sub = one.result_base + g * one.result_steps[0]
            sub += oy * one.result_steps[1] + ox * one.result_steps[2] + lane // core.lanes
            got = bench.chunk.subs[sub, lane % core.lanes].tolist()
            assert got == [e & mask for e in expected]


@pytest.mark.parametrize("floats", [False, True])
@pytest.mark.parametrize("fields", [{}, {"lo": 0, "hi": 255}, {"lo": 3, "hi": 90}, WIDE])
def test_sums_become_results(fields, floats):
    bench = Bench(core_of(2), groups_of_two(**fields), words=40)
    compare(bench, finished(bench, 5000, floats=floats))


@pytest.mark.parametrize("floats", [False, True])
@pytest.mark.parametrize("tail", [1, 2, 3, 5, 8])
def test_a_lane_wise_group_keeps_its_valid_sub_words_alone(tail, floats):
    one = nest(
        (2, 1, 3, 1, 1, 1), result=(4, 0, 9), result_base=7, bias_step=8, tail=tail, lanewise=True
    )
    bench = Bench(core_of(2, 4), one, words=20)
    before = bench.chunk.subs.copy()
    compare(bench, finished(bench, 3000, floats=floats))
    touched = np.flatnonzero((bench.chunk.subs != before).any(axis=(1, 2)))
    mine = {7 + 9 * x + s for x in range(3) for s in range(4 + -(-tail // 2))}
    assert set(touched.tolist()) <= mine


def test_sums_beyond_32_bits_wrap_before_the_bias_is_added():
    bias = [2**30 - 1, -(2**30)] * 32
    bench = Bench(core_of(2), groups_of_two(**WIDE), words=40, bias=bias, shift=[3] * 64)
    compare(bench, finished(bench, 2**33))


def test_a_table_comes_behind_the_clamp():
    entries = np.random.default_rng(1).permutation(256)
    table = pack_lanes(np.concatenate([np.zeros(256, int), entries])[:, None], 8, signed=False)
    for fields in ({"lo": -100}, {"lo": 0, "hi": 255}):
        one = groups_of_two(table=True, table_base=1, **fields)
        bench = Bench(core_of(2), one, words=40, table=table)
        compare(bench, finished(bench, 5000), lambda v: int(entries[v & 255]))


@pytest.mark.parametrize("y_unsigned", [False, True])
def test_what_a_table_sends_has_a_sign_unless_it_is_said_to_have_none(y_unsigned):
    entries = np.random.default_rng(1).permutation(256)
    table = pack_lanes(entries[:, None], 8, signed=False)
    one = groups_of_two(table=True, stream=True, y_unsigned=y_unsigned)
    bench = Bench(core_of(2), one, words=40, table=table)

    def lookup(value):
        entry = int(entries[value & 255])
        return entry if y_unsigned or entry < 128 else entry - 256

    compare(bench, finished(bench, 5000), lookup)


def test_beats_go_behind_those_of_the_nests_before():
    bench = Bench(core_of(2), groups_of_two(**WIDE), words=40)
    sums = finished(bench, 5000, beat=11)
    assert (bench.chunk.beats[:11] == 99).all()
    compare(bench, sums, beat=11)


def test_what_is_kept_is_what_is_stored():
    bench = Bench(core_of(2), groups_of_two(), words=40)
    bench.chunk.kept = {1: np.zeros((SAMPLES, 18, 2), np.int32)}
    finished(bench, 5000)
    at = [7 + g + 20 * oy + 5 * ox for g in range(3) for oy in range(2) for ox in range(3)]
    kept = bench.chunk.kept[1].transpose(1, 2, 0)
    np.testing.assert_array_equal(kept, bench.chunk.subs[at])


@pytest.mark.parametrize(
    "bound, bias, fields, fused",
    [
        (2**23, 0, {}, True),
        (2**24 - 2, 0, {}, True),
        (2**24 - 2, 2, {}, False),  # float32 for the product, but not with the bias
        (2**24, 2, {}, True),
        (2**31, 0, {}, False),  # it wraps
        (2**23, 0, {"table": True}, False),
        (2**23, 0, {"lo": 2**24, "hi": 2**25}, False),  # a clamp that float32 does not hold
        (2**23, 0, {"lo": -(2**25), "hi": -(2**24)}, False),
    ],
)
def test_floats_carry_sums_to_the_end_only_where_nothing_is_rounded(bound, bias, fields, fused):
    bench = Bench(
        core_of(2), groups_of_two(**fields), bias=[bias] * 64, shift=[0] * 64,
        table=pack_lanes(np.zeros((256, 1), int), 8, signed=False),
    )  # fmt: skip
    out = Epilogue(bench.memories, 1, bench.nest, bound, 0)
    assert (out.fused, out.wraps) == (fused, bound >= 2**31)


def test_the_last_group_is_taken_alone_if_it_has_fewer_sub_words():
    def parts(tail, at_once):
        one = nest((4, 1, 1, 1, 1, 1), tail=tail, lanewise=True, bias_step=4)
        out = Epilogue(Bench(core_of(2, 2), one).memories, 1, one, 100, 0)
        return [(part.start, part.stop) for part in out.ranges(at_once)]

    assert parts(3, 3) == [(0, 3), (3, 4)]
    assert parts(3, 9) == [(0, 4)]
    assert parts(2, 9) == [(0, 3), (3, 4)]
    assert parts(2, 2) == [(0, 2), (2, 3), (3, 4)]
