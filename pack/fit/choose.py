# SPDX-License-Identifier: Apache-2.0
"""Chooses one shape of those that fit."""

from collections.abc import Sequence
from dataclasses import dataclass

from bramcast.pack.fit.candidates import Candidate

MEGA = 1e6
WITHIN = 1.0  # percent: the last half percent may cost twice the LUTs


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of the core.

    Attributes:
        clock_mhz: its clock.
        rate: inferences per second that are enough; None: as many as can be.
        within: percent of cycles more than the fastest has that count as equally fast.
    """

    clock_mhz: float
    rate: float | None = None
    within: float = WITHIN

    def per_second(self, cycles: int) -> float:
        """Inferences per second at so many cycles each."""
        return self.clock_mhz * MEGA / cycles

    def granted(self, candidate: Candidate) -> bool:
        """Whether it makes that rate."""
        return self.rate is None or self.per_second(candidate.cycles) >= self.rate


@dataclass(frozen=True, slots=True)
class Choice:
    """The shape that was chosen, or why there is none."""

    chosen: Candidate | None
    complaint: str | None = None


def choose(candidates: Sequence[Candidate], wish: Wish) -> Choice:
    """The fastest shape that fits; where a rate is enough, the smallest that reaches it.

    The smallest has the fewest multipliers, of these the fewest LUTs, then block RAMs. It is also
    taken of those that are equally fast.
    """
    fitting = [c for c in candidates if not c.lacking]
    if not fitting:
        return Choice(None, _nothing_fits(candidates))
    fastest = min(fitting, key=_speed)
    if wish.rate is None:
        most = fastest.cycles * (1 + wish.within / 100)
        return Choice(min((c for c in fitting if c.cycles <= most), key=_size))
    enough = [c for c in fitting if wish.granted(c)]
    if enough:
        return Choice(min(enough, key=_size))
    return Choice(
        None,
        f"no shape that fits makes {wish.rate:,g} inferences per second: the fastest, "
        f"{fastest.shape}, makes {wish.per_second(fastest.cycles):,.1f} at {wish.clock_mhz:g} MHz",
    )


def _size(candidate: Candidate) -> tuple[object, ...]:
    return (candidate.shape.multipliers, candidate.luts, candidate.units, candidate.shape)


def _speed(candidate: Candidate) -> tuple[object, ...]:
    return (candidate.cycles, *_size(candidate))


def _nothing_fits(candidates: Sequence[Candidate]) -> str:
    """Names the shape that lacks the smallest share, and what."""
    closest = min(candidates, key=lambda c: (c.excess, _size(c)))
    lacks = " and ".join(map(str, closest.lacking))
    name = closest.memories.part.name
    return f"no shape fits {name}: the closest, {closest.shape}, takes {lacks}"
