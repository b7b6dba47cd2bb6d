# SPDX-License-Identifier: Apache-2.0
"""Shapes that no other one beats: the Pareto front."""

from collections.abc import Sequence

from bramcast.pack.fit.candidates import Candidate


def dominates(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Whether ``a`` is nowhere more than ``b``, and somewhere less.

    >>> dominates((1, 2), (1, 3)), dominates((1, 2), (1, 2)), dominates((0, 4), (1, 3))
    (True, False, False)
    """
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))


def front_of(points: Sequence[tuple[int, ...]]) -> list[int]:
    """The places of points that no other one dominates, in the order of the points.

    >>> front_of([(3, 1), (1, 3), (3, 3), (2, 2), (1, 3)])
    [0, 1, 3, 4]
    """
    return [i for i, mine in enumerate(points) if not any(dominates(p, mine) for p in points)]


def pareto(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that are faster or smaller than every other one, the fastest first.

    Smaller is: fewer multiplier blocks, fewer block RAMs, or fewer LUTs.
    """
    points = [(c.cycles, *c.costs) for c in candidates]
    return sorted((candidates[i] for i in front_of(points)), key=lambda c: (c.cycles, c.costs))
