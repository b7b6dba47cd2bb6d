# SPDX-License-Identifier: Apache-2.0
"""Two clamps in a row as one, over all ways that their limits can lie."""

import itertools
from math import inf

import numpy as np

from bramcast.pack.graph.window import NO_CLAMP, Clamp

LIMITS = [-inf, -2.0, -1.0, 0.0, 1.0, 2.0, inf]
RANGES = [(lo, hi) for lo, hi in itertools.product(LIMITS, LIMITS) if lo <= hi and lo < inf > -hi]


def test_one_clamp_does_what_two_do_one_after_the_other():
    values = [-inf, -3.0, -2.0, -1.5, -0.5, 0.0, 0.5, 1.5, 3.0, inf]
    for first, second in itertools.product(RANGES, RANGES):
        joined = Clamp(*first).then(Clamp(*second))
        for value in values:
            once = min(max(value, first[0]), first[1])
            twice = min(max(once, second[0]), second[1])
            assert min(max(value, joined.lo), joined.hi) == twice


def test_no_clamp_changes_nothing():
    values = np.array([-inf, -1.5, 0.0, inf])
    assert NO_CLAMP.apply(values).tolist() == values.tolist()
    assert Clamp(-1.0, 0.5).apply(values).tolist() == [-1.0, -1.0, 0.0, 0.5]
    assert NO_CLAMP.then(Clamp(-1.0, 0.5)) == Clamp(-1.0, 0.5).then(NO_CLAMP) == Clamp(-1.0, 0.5)
