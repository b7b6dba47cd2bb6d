# SPDX-License-Identifier: Apache-2.0
"""Nested loops as arrays, against Python's loops."""

import itertools

import numpy as np

from bramcast.golden.loops import affine, progression, ranges


def test_sums_over_loops_come_in_their_order():
    counts, steps = (2, 3, 4), (-100, 10, 7)
    expected = [
        sum(i * s for i, s in zip(loops, steps, strict=True))
        for loops in itertools.product(*map(range, counts))
    ]
    assert affine(counts, steps).tolist() == expected
    assert affine((), ()).tolist() == [0]


def test_a_progression_is_the_slice_that_selects_it():
    numbers = np.arange(50)
    for first, step, count in itertools.product((0, 3), (1, 2, 7), (1, 2, 5)):
        index = first + step * np.arange(count)
        assert numbers[progression(index)].tolist() == index.tolist()
    for index in ([3, 2, 1], [3, 3, 3], [1, 2, 4]):
        assert progression(np.array(index)) is None


def test_ranges_end_at_the_total():
    assert list(ranges(7, 3)) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert list(ranges(6, 3)) == [slice(0, 3), slice(3, 6)]
    assert list(ranges(0, 3)) == []
