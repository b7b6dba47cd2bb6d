# SPDX-License-Identifier: Apache-2.0
"""Buffers by their lifetimes: none over another, none deeper than a search of all places finds."""

import itertools

import numpy as np
import pytest

from bramcast.pack.lower.scratchpad import Lifetime, _greedy, place


def together(a, b):
    return any(a.born <= step <= a.dies for step in range(b.born, b.dies + 1))


@pytest.mark.parametrize("seed", range(20))
def test_what_is_alive_at_the_same_time_never_overlaps(seed):
    rng = np.random.default_rng(seed)
    born = rng.integers(0, 12, 15)
    buffers = [
        Lifetime(int(words), int(b), int(b + more))
        for words, b, more in zip(rng.integers(1, 9, 15), born, rng.integers(0, 5, 15), strict=True)
    ]
    bases, depth = place(buffers)
    assert depth == max(base + b.words for base, b in zip(bases, buffers, strict=True))
    for (i, a), (j, b) in itertools.combinations(enumerate(buffers), 2):
        if together(a, b):
            assert bases[i] + a.words <= bases[j] or bases[j] + b.words <= bases[i]
    alive = [sum(b.words for b in buffers if b.born <= t <= b.dies) for t in range(20)]
    assert depth >= max(alive)


def test_a_chain_needs_no_more_than_two_neighbours_at_a_time():
    sizes = [5, 3, 8, 2, 6, 6, 1]
    buffers = [Lifetime(words, i, i + 1) for i, words in enumerate(sizes)]
    assert place(buffers)[1] == max(a + b for a, b in itertools.pairwise(sizes))


def test_a_gap_between_two_is_filled():
    # 0 and 2 live throughout, 1 makes room for 3, which fits exactly.
    buffers = [Lifetime(4, 0, 9), Lifetime(3, 0, 4), Lifetime(4, 0, 9), Lifetime(3, 5, 9)]
    bases, depth = place(buffers)
    assert depth == 11 and bases[1] == bases[3]
    assert _greedy(buffers, [0, 1, 2, 3]) == ([0, 4, 7, 4], 11)


def test_the_step_that_reads_the_one_writes_the_other():
    bases, depth = place([Lifetime(4, 0, 3), Lifetime(4, 3, 5)])
    assert (sorted(bases), depth) == ([0, 4], 8)
    bases, depth = place([Lifetime(4, 0, 3), Lifetime(4, 4, 5)])
    assert (bases, depth) == ([0, 0], 4)
    assert place([]) == ([], 0)
