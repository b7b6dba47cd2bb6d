# SPDX-License-Identifier: Apache-2.0
"""Which taps meet elements, against walking over the padded picture one tap at a time."""

import itertools

import numpy as np
import pytest
from graphs import same

from bramcast.pack.graph.border import Bands, taps_met
from bramcast.pack.graph.window import Window

CASES = [
    ((5, 4), Window((3, 3), padding=(1, 1, 1, 1))),
    ((5, 4), Window((3, 2), (2, 1), padding=(2, 0, 1, 1))),
    ((7, 6), Window((3, 2), (1, 2), (2, 3), (3, 1, 0, 4))),
    ((2, 1), Window((4, 3), padding=(3, 2, 3, 2))),
    ((3, 3), Window((2, 2))),
]


def walked(size, window):
    """For each result (y, x) the taps that meet an element."""
    (h, w), (top, left, bottom, right) = size, window.padding
    padded = np.zeros((h + top + bottom, w + left + right), bool)
    padded[top : top + h, left : left + w] = True
    (ky, kx), (sy, sx), (dy, dx) = window.kernel, window.stride, window.dilation
    met = {}
    for oy, ox in itertools.product(range(len(padded)), range(len(padded[0]))):
        y, x = oy * sy, ox * sx
        if y + dy * (ky - 1) < len(padded) and x + dx * (kx - 1) < len(padded[0]):
            met[oy, ox] = np.array(
                [[padded[y + dy * i, x + dx * j] for j in range(kx)] for i in range(ky)]
            )
    return met


@pytest.mark.parametrize("size, window", CASES)
def test_each_result_gets_the_sum_over_the_taps_that_it_meets(size, window):
    taps = np.random.default_rng(0).integers(-9, 10, (2, *window.kernel)).astype(float)
    met = walked(size, window)
    bands = Bands.over(size, window)
    picture = bands.picture(bands.totals(taps))
    results = tuple(np.array(list(met)).max(axis=0) + 1)
    assert picture.shape == (2, *results)
    for (y, x), mine in met.items():
        same(picture[:, y, x], (taps * mine).sum(axis=(1, 2)))
    rows, columns = bands.met
    for (y, x), mine in met.items():
        same(np.outer(rows[y], columns[x]), mine.astype(float))


def test_neighbours_that_meet_the_same_taps_are_one_band():
    window = Window((3, 3), (2, 1), padding=(1, 1, 1, 1))
    bands = Bands.over((8, 5), window)  # rows of results start at -1, 1, 3, 5: the last meets all
    assert [(b.first, b.end, b.results) for b in bands.rows] == [(0, 1, 1), (1, 4, 3)]
    assert [(b.first, b.end) for b in bands.columns] == [(0, 1), (1, 4), (4, 5)]
    assert bands.count == 6
    same(bands.rows[0].taps, [False, True, True])


def test_taps_along_one_axis_with_steps_and_holes():
    window = Window((1, 3), (1, 2), (1, 2))
    # Results start at -3, -1, 1, 3 of 6 elements, each with taps at +0, +2, +4.
    same(
        taps_met(6, 3, 2, window, 1),
        [[False, False, True], [False, True, True], [True] * 3, [True, True, False]],
    )
