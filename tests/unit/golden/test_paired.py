# SPDX-License-Identifier: Apache-2.0
"""Statistics of two networks on the same samples: published examples, coverage, tails."""

from math import comb

import numpy as np
import pytest

from bramcast.golden.paired import (
    Pairs,
    at_least,
    at_most,
    drawn_at_least,
    growth,
    interval,
    mcnemar,
    samples_needed,
    score,
    share_interval,
    student,
)


def test_the_interval_is_that_of_tangos_sleeping_difficulties():
    # Tango 1998, section 6.2: 32 pairs, 9 and 3 that differ: -0.027 to 0.390 at 95 %.
    low, high = interval(Pairs(9, 3, 32))
    assert (round(low, 3), round(high, 3)) == (-0.027, 0.390)


def test_the_score_is_that_of_tangos_contact_lenses():
    # Tango 1998, section 6.1: 44 pairs, 0 and 1 that differ: Z = 1.709 for 10 points, and -0.096
    # as the lower end at 90 %.
    assert round(-score(Pairs(1, 0, 44), 0.1), 3) == 1.709
    low, _ = interval(Pairs(0, 1, 44), 0.90)
    assert round(low, 3) == -0.096


def test_the_p_value_is_that_of_the_exact_binomial_test():
    # 9 and 3: 2 * (1 + 12 + 66 + 220) / 4096.
    assert mcnemar(Pairs(9, 3, 32)) == pytest.approx(2 * 299 / 4096)
    assert mcnemar(Pairs(0, 0, 32)) == 1


def test_better_and_worse_are_mirrored():
    low, high = interval(Pairs(7, 2, 60))
    assert interval(Pairs(2, 7, 60)) == pytest.approx((-high, -low))


@pytest.mark.parametrize(
    "rates", [(0.01, 0.01), (0.02, 0.01), (0.05, 0.05), (0.15, 0.05), (0.3, 0)]
)
@pytest.mark.parametrize("n", [20, 60, 600])
def test_the_interval_holds_the_true_loss_as_often_as_it_says(rates, n):
    rng = np.random.default_rng(7)
    draws = rng.multinomial(n, [*rates, 1 - sum(rates)], size=4000)
    seen, times = np.unique(draws[:, :2], axis=0, return_counts=True)
    inside = too_high = 0
    for (b, c), count in zip(seen.tolist(), times.tolist(), strict=True):
        low, high = interval(Pairs(b, c, n))
        inside += count * (low <= rates[0] - rates[1] <= high)
        too_high += count * (low > rates[0] - rates[1])
    assert inside / 4000 > 0.925
    assert too_high / 4000 < 0.05  # "worse" without being so, 2.5 % in theory


def test_what_is_needed_decides_and_one_sample_less_does_not():
    for pairs, decides in (
        (Pairs(1, 1, 50), lambda p: interval(p)[1] < 0.02),
        (Pairs(0, 0, 1), lambda p: interval(p)[1] < 0.02),
        (Pairs(4, 1, 50), lambda p: interval(p)[0] > 0.005),
    ):
        n = samples_needed(pairs, 0.005, 0.02)
        assert n > pairs.n
        assert decides(pairs.scaled(n)) and not decides(pairs.scaled(n - 1))
    assert samples_needed(Pairs(0, 0, 1000), 0.005, 0.02) == 1000
    assert samples_needed(Pairs(1, 0, 50), 0.02, 0.02) is None  # the loss is the margin itself


def test_tails_are_sums_of_exact_terms():
    exact = sum(comb(20, i) * 0.3**i * 0.7 ** (20 - i) for i in range(4))
    assert at_most(3, 20, 0.3) == pytest.approx(exact)
    assert at_least(4, 20, 0.3) == pytest.approx(1 - exact)
    assert at_most(2, 600, 0.95) < 1e-300
    # Fisher's tea: all four cups of eight, 1 in 70.
    assert drawn_at_least(4, 4, 4, 8) == pytest.approx(1 / 70)
    assert drawn_at_least(3, 4, 4, 8) == pytest.approx(17 / 70)


def test_the_interval_of_a_share_is_wilsons():
    # Newcombe 1998, Statistics in Medicine 17, 857-872, table I, method 3: 81 of 263, 0 of 20.
    low, high = share_interval(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    low, high = share_interval(0, 20)
    assert (round(low, 4), round(high, 4)) == (0.0, 0.1611)


def test_students_quantiles_are_those_of_the_tables():
    for freedom, value in ((4, 2.776), (5, 2.571), (9, 2.262), (30, 2.042)):
        assert student(0.975, freedom) == pytest.approx(value, rel=0.01)


def test_the_growth_of_an_error_is_covered_by_its_interval():
    rng = np.random.default_rng(3)
    inside = 0
    for _ in range(1000):
        old = rng.gamma(2.0, 1.0, 60)
        new = old * rng.gamma(50.0, 1.1 / 50, 60)  # 10 % more in the mean
        found = growth(old, new)
        inside += found.low <= 0.1 <= found.high
    assert 0.92 < inside / 1000 < 0.98
    few = growth(np.ones(4), np.ones(4))
    assert few.low <= 0 and few.high == np.inf
