# SPDX-License-Identifier: Apache-2.0
"""The shapes that a core can have."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, get_args

from bramcast.pack.recipe.recipe import CoreSection

_TYPES: dict[str, Any] = {f.name: f.type for f in fields(CoreSection)}
LANES: tuple[int, ...] = get_args(_TYPES["lanes"])
TAPS: tuple[int, ...] = get_args(_TYPES["taps"])


@dataclass(frozen=True, slots=True, order=True)
class Shape:
    """What a core's speed and size follow from: LANES x TAPS multipliers, RQ requantizers.

    A further dimension is a field with a default, a loop of ``legal_shapes`` and a line of
    ``section``.

    >>> str(Shape(16, 4, 2)), str(Shape(16, 1, 2)), Shape(16, 4, 2).multipliers
    ('16 x 4, RQ 2', '16 x 1, RQ 2', 64)
    """

    lanes: int
    taps: int
    rq: int

    def __str__(self) -> str:
        return f"{self.lanes} x {self.taps}, RQ {self.rq}"

    @property
    def multipliers(self) -> int:
        return self.lanes * self.taps

    def section(self, given: CoreSection) -> CoreSection:
        """[core] with this shape, without depths in numbers if those were for another one.

        >>> section = CoreSection(lanes=16, weights_depth=4096, bias_depth="auto", gates=True)
        >>> made = Shape(8, 2, 1).section(section)
        >>> made.lanes, made.taps, made.weights_depth, made.bias_depth, made.gates
        (8, 2, None, 'auto', True)
        """
        if shape_of(given) == self:
            return given
        values: dict[str, Any] = {k: getattr(self, k) for k in ("lanes", "taps", "rq")}
        return replace(given, **(values | dict.fromkeys(numbers(given))))


def numbers(given: CoreSection) -> list[str]:
    """The keys of depths that are numbers."""
    depths = [f.name for f in fields(CoreSection) if f.name.endswith("_depth")]
    return [key for key in depths if isinstance(getattr(given, key), int)]


def shape_of(section: CoreSection) -> Shape:
    return Shape(section.lanes, section.taps, section.drain)


def legal_shapes(most: int | None = None) -> list[Shape]:
    """Every shape that the core can be synthesized with.

    Args:
        most: multipliers.

    >>> len(legal_shapes()), [str(shape) for shape in legal_shapes(2)]
    (112, ['1 x 1, RQ 1', '1 x 2, RQ 1', '2 x 1, RQ 1', '2 x 1, RQ 2'])
    """
    return [s for s in _every() if most is None or s.multipliers <= most]


def _every() -> Iterator[Shape]:
    for lanes in LANES:
        for taps in TAPS:
            for rq in LANES:
                if rq <= lanes:
                    yield Shape(lanes, taps, rq)
