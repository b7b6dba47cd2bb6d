# SPDX-License-Identifier: Apache-2.0
"""Multiples of powers of two, against fractions."""

from fractions import Fraction
from math import inf

import numpy as np
import pytest
from graphs import Made, named

from bramcast.pack.graph.grid import (
    FINEST,
    grid_of,
    on_grid,
    power_of_two,
    round_half_up,
    rounds_to,
    uniform,
)


@pytest.mark.parametrize("grid", [-3, 0, 2, 20])
def test_ties_go_up_and_all_else_to_the_nearest(grid):
    unit = Fraction(2) ** -grid
    for eighths in range(-20, 21):
        value = Fraction(eighths, 8) * unit
        floor, rest = divmod(Fraction(eighths, 8), 1)
        expected = (floor + (rest >= Fraction(1, 2))) * unit
        assert Fraction(round_half_up(float(value), grid)) == expected
        assert on_grid(float(value), grid) == (rest == 0)


def test_infinite_limits_are_multiples_of_anything():
    assert (round_half_up(inf, 3), round_half_up(-inf, 3)) == (inf, -inf)
    assert on_grid(inf, 0) and on_grid(-inf, 0)


def test_powers_of_two_are_told_from_their_neighbours():
    for exponent in (-60, -1, 0, 1, 60):
        value = 2.0**exponent
        assert power_of_two(value) == exponent
        assert power_of_two(np.nextafter(value, inf)) is None
        assert power_of_two(np.nextafter(value, 0.0)) is None
        assert power_of_two(-value) is None
    assert power_of_two(0.0) is None


@pytest.mark.parametrize("grid", [-50, -1, 0, 1, 7, FINEST])
def test_the_least_grid_is_that_of_the_finest_value(grid):
    unit = 2.0**-grid
    assert grid_of(np.array([[0.0, 8 * unit], [-3 * unit, 4 * unit]])) == grid
    assert grid_of(np.array([-unit])) == grid


def test_zeros_have_any_grid_and_what_is_finer_than_the_finest_none():
    assert grid_of(np.zeros(3)) == grid_of(np.zeros(0)) == -FINEST
    assert grid_of(np.array([1.0, 2.0 ** -(FINEST + 1)])) is None
    # 1 + 2**-52 uses all the bits of a float64.
    assert grid_of(np.array([np.nextafter(1.0, 2.0)])) is None
    assert grid_of(np.array([np.nextafter(1.0, 2.0) * 2.0**12])) == FINEST


def test_a_scale_is_uniform_only_if_both_its_numbers_are():
    made = Made(2)
    made.scale("same", made.x, 3.0, -1.0)
    made.scale("factors", made.x, [[[3.0]], [[2.0]]], 1.0)
    made.scale("offsets", made.x, 3.0, [[[0.0]], [[1.0]]])
    found = [uniform(op) for op in made.draft.ops]
    assert found == [(3.0, -1.0), None, None]


def test_what_forward_rounds_to_in_words():
    made = Made(1)
    y = made.dense("whole", made.x, [[1.0]], rounds=0)
    y = made.dense("quarters", y, [[1.0]], rounds=2)
    graph = made.graph(made.dense("eights", y, [[1.0]], rounds=-3))
    assert [rounds_to(named(graph, name)) for name in ("whole", "quarters", "eights")] == [
        "integers",
        "multiples of 0.25",
        "multiples of 8",
    ]
