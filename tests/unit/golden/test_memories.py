# SPDX-License-Identifier: Apache-2.0
"""Images as arrays: tables, narrow weights, and how much of the scratchpad a program needs."""

import numpy as np
import pytest
from one_nest import core_of, nest

from bramcast.golden import sizes
from bramcast.golden.memories import Memories
from bramcast.pack.bundle.program import Input
from bramcast.pack.bundle.words import Words, pack_bias, pack_lanes

ONE = nest((1,) * 6, stream=True, last=True)


def memories(core, program, weights=((1, 2),), **more):
    images = {
        "weights": pack_lanes(np.array(weights), 8),
        "bias": pack_bias(np.zeros(2, int), np.zeros(2, int), 1),
    }
    return Memories(images | more, core, program)


@pytest.mark.parametrize("narrow", [0, 1, 2])
def test_a_word_holds_the_steps_of_narrow_weights_lowest_first(narrow):
    words = [[0x12, -0x5D], [0x7F, -0x80]]
    found = memories(core_of(2), [Input(2, 1, 0), ONE], words).steps(nest((1,) * 6, narrow=narrow))
    bits, expected = 8 >> narrow, []
    for row in words:
        for part in range(1 << narrow):
            raw = [(value >> part * bits) & ((1 << bits) - 1) for value in row]
            expected.append([r - (1 << bits if r >> bits - 1 else 0) for r in raw])
    assert found.tolist() == expected


def test_dense_steps_are_one_tap_each_and_lane_wise_ones_a_whole_word():
    built = memories(core_of(2, 2), [Input(4, 1, 0), ONE], [[1, 2, 3, 4], [5, 6, 7, 8]])
    assert built.steps(nest((1,) * 6)).tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]
    assert built.steps(nest((1,) * 6, lanewise=True)).tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]


def test_a_table_of_8_bits_is_256_entries_from_its_number_on():
    entries = np.arange(512) % 251
    table = pack_lanes(entries[:, None], 8, signed=False)
    built = memories(core_of(2), [Input(2, 1, 0), ONE], table=table)
    assert built.results_of_table(0).tolist() == entries[:256].tolist()
    assert built.results_of_table(1).tolist() == entries[256:].tolist()


def test_a_table_of_16_bits_has_all_points_of_its_lines():
    rng = np.random.default_rng(2)
    start, slope = rng.integers(-(2**14), 2**14, (2, 256))
    slope[16] = 128  # half a result in each step: up
    raw = np.stack([start, slope], axis=1).astype("<i2").view(np.uint8)  # start lowest
    built = memories(core_of(2, 1, 16), [Input(2, 1, 0), ONE], table=Words(32, raw))
    points = built.results_of_table(0)
    for value in [0, 1, 255, 256, 4097, 4242, 32767, 32768, 65535]:
        line, rest = divmod(value, 256)
        expected = int(start[line]) + (int(slope[line]) * rest + 128) // 256
        assert int(points[value]) == expected % 65536


def test_the_word_of_zeros_lies_behind_all_that_is_written():
    core = core_of(2, 2)  # 4 elements, 2 sub-words a word
    frame = Input(10, 3, 5, lead=3)  # words 5..16: 13 elements in each run
    assert memories(core, [frame, ONE]).zero_word == 5 + 3 * 4
    # Sub-words 41 + 1 * 20 + 2 * 3 and its neighbour 68, which is in word 34.
    one = nest((1, 2, 3, 1, 1, 1), result=(0, 20, 3), result_base=41, lanewise=True)
    assert memories(core, [frame, one, ONE]).zero_word == 35
    sent = nest((1, 2, 3, 1, 1, 1), result_base=999, stream=True)
    assert memories(core, [frame, sent, ONE]).zero_word == 17


def test_as_many_samples_run_at_once_as_fit(monkeypatch):
    def at_once(limit):
        monkeypatch.setattr(sizes, "CHUNK_BYTES", limit)
        return memories(core_of(2), [Input(2, 1, 0), ONE]).chunk

    each = 2 * 2 + 2 * 8  # two words of two bytes; a group of two beats of eight bytes
    found = [at_once(n * each) for n in (0, 1, 7, 8, 31, 32, 63, 64, 130, 10**6)]
    assert found == [1, 1, 7, 32, 32, 32, 63, 64, 128, sizes.MAX_CHUNK]
