# SPDX-License-Identifier: Apache-2.0
"""The Pareto front is what its definition says, point by point."""

from hypothesis import given
from hypothesis import strategies as st

from bramcast.pack.fit.front import front_of

POINTS = st.lists(st.tuples(*[st.integers(0, 4)] * 4), max_size=30)


def beaten(mine, other):
    """The other one is at most as much everywhere, and less somewhere."""
    return sum(b <= a for a, b in zip(mine, other, strict=True)) == len(mine) and any(
        b < a for a, b in zip(mine, other, strict=True)
    )


@given(POINTS)
def test_the_front_is_all_that_nobody_beats(points):
    found = front_of(points)
    assert found == [i for i, p in enumerate(points) if sum(beaten(p, q) for q in points) == 0]


@given(POINTS)
def test_whatever_is_not_on_the_front_is_beaten_by_some_of_it(points):
    front = front_of(points)
    for i, point in enumerate(points):
        if i not in front:
            assert any(beaten(point, points[j]) for j in front)
