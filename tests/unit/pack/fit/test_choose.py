# SPDX-License-Identifier: Apache-2.0
"""Which shape is chosen, on shapes whose cycles and costs are given."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bramcast.pack.fit.candidates import Use
from bramcast.pack.fit.choose import Wish, choose
from bramcast.pack.fit.shapes import Shape


@dataclass(frozen=True)
class Made:
    """What ``choose`` looks at."""

    shape: Shape
    cycles: int
    luts: int
    units: int = 1
    room: int = 100

    @property
    def lacking(self):
        return (Use("LUT", self.luts, self.room),) if self.luts > self.room else ()

    @property
    def excess(self):
        return self.luts / self.room

    @property
    def memories(self):
        class Fit:
            class part:
                name = "chip"

        return Fit


def made(lanes, cycles, luts, units=1, taps=1):
    return Made(Shape(lanes, taps, 1), cycles, luts, units)


@pytest.mark.parametrize(
    "some, wanted",
    [
        ([made(16, 100, 50), made(8, 200, 20)], 0),
        ([made(16, 100, 150), made(8, 200, 20), made(4, 190, 90)], 2),  # the first does not fit
        ([made(16, 1000, 90), made(8, 1010, 95)], 1),  # equally fast: fewer multipliers
        ([made(16, 1000, 90), made(8, 1011, 95)], 0),
        ([made(16, 1000, 90), made(16, 1005, 80)], 1),  # fewer LUTs
        ([made(16, 1000, 90, 7), made(16, 1009, 90, 6)], 1),  # fewer block RAMs
    ],
)
def test_the_fastest_that_fits_and_the_smallest_of_equally_fast_ones(some, wanted):
    assert choose(some, Wish(100.0)).chosen is some[wanted]


def test_pairs_count_once_among_the_smallest():
    """32 multiplications on 16 multipliers against 32 multipliers, equally fast."""
    some = [Made(Shape(16, 2, 1), 1000, 50), Made(Shape(16, 1, 1, 2, True), 1005, 90)]
    assert choose(some, Wish(100.0)).chosen is some[1]
    some = [some[0], Made(Shape(16, 1, 1, 2), 1005, 90)]
    assert choose(some, Wish(100.0)).chosen is some[0]


@pytest.mark.parametrize("rate, wanted", [(1e6, 0), (5e5, 1), (4.9e5, 1), (1e5, 2), (1, 2)])
def test_a_rate_takes_the_smallest_that_reaches_it(rate, wanted):
    """100, 200 and 1,000 cycles at 100 MHz."""
    some = [made(16, 100, 50), made(8, 200, 20), made(4, 1000, 19)]
    assert choose(some, Wish(100.0, rate)).chosen is some[wanted]


def test_what_does_not_fit_helps_no_rate():
    some = [made(16, 100, 101), made(8, 200, 20)]
    choice = choose(some, Wish(100.0, 1e6))
    assert choice.chosen is None
    assert choice.complaint == (
        "no shape that fits makes 1e+06 inferences per second: the fastest, 8 x 1, RQ 1, makes "
        "500,000.0 at 100 MHz"
    )


def test_the_closest_lacks_the_smallest_share():
    choice = choose([made(16, 100, 300), made(8, 900, 120), made(4, 800, 130)], Wish(100.0))
    assert choice.chosen is None
    assert choice.complaint == (
        "no shape fits chip: the closest, 8 x 1, RQ 1, takes 120 of 100 LUT"
    )


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1),
    st.none() | st.floats(1, 2e8),
)
def test_nothing_that_fits_is_better_than_the_choice(pairs, rate):
    some = [made(4, cycles, 13 * luts) for cycles, luts in pairs]
    fits = [m for m in some if m.luts <= 100]
    chosen = choose(some, Wish(100.0, rate, within=0)).chosen
    if rate is None:
        best = min(((m.cycles, m.luts) for m in fits), default=None)
    else:
        quick = [m for m in fits if 1e8 / m.cycles >= rate]
        least = min((m.luts for m in quick), default=None)
        best = None if least is None else (chosen.cycles, least)
        assert chosen is None or chosen in quick
    assert (None if chosen is None else (chosen.cycles, chosen.luts)) == best
