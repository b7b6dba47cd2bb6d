# SPDX-License-Identifier: Apache-2.0
"""The shapes that a core can have."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, get_args

from bramcast.pack.recipe.recipe import CoreSection

_TYPES: dict[str, Any] = {f.name: f.type for f in fields(CoreSection)}
LANES: tuple[int, ...] = get_args(_TYPES["lanes"])
TAPS: tuple[int, ...] = get_args(_TYPES["taps"])
TILES: tuple[int, ...] = get_args(_TYPES["tiles"])
LEAST_TILED = 8  # lanes that a core with tiles has: with fewer, more lanes take less than tiles
MOST_TILED = 512  # multiplications of its cycle: as many as the largest core of one tile makes


@dataclass(frozen=True, slots=True, order=True)
class Shape:
    """What a core's speed and size follow from: in each tile LANES x TAPS multipliers and RQ
    requantizers. ``pairs``: two tiles share their multipliers.

    A further dimension is a field with a default, a loop of ``legal_shapes`` and a line of
    ``section``.

    >>> str(Shape(16, 4, 2)), str(Shape(16, 1, 2, 4)), str(Shape(16, 1, 2, 4, True))
    ('16 x 4, RQ 2', '16 x 1 x 4 tiles, RQ 2', '16 x 1 x 4 tiles in pairs, RQ 2')
    >>> [Shape(16, 4, 2, *more).multipliers for more in [(), (4,), (4, True)]]
    [64, 256, 128]
    """

    lanes: int
    taps: int
    rq: int
    tiles: int = 1
    pairs: bool = False

    @property
    def form(self) -> str:
        """Without RQ."""
        tiles = f" x {self.tiles} tiles" if self.tiles > 1 else ""
        return f"{self.lanes} x {self.taps}{tiles}{' in pairs' * self.pairs}"

    def __str__(self) -> str:
        return f"{self.form}, RQ {self.rq}"

    @property
    def multipliers(self) -> int:
        """Multipliers that are built: of a pair one."""
        return self.lanes * self.taps * self.tiles // (2 if self.pairs else 1)

    def section(self, given: CoreSection) -> CoreSection:
        """[core] with this shape, without depths in numbers if those were for another one.

        >>> section = CoreSection(lanes=16, weights_depth=4096, bias_depth="auto", gates=True)
        >>> made = Shape(8, 2, 1).section(section)
        >>> made.lanes, made.taps, made.weights_depth, made.bias_depth, made.gates
        (8, 2, None, 'auto', True)
        """
        if shape_of(given) == self:
            return given
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(given, **(values | dict.fromkeys(numbers(given))))


def numbers(given: CoreSection) -> list[str]:
    """The keys of depths that are numbers."""
    depths = [f.name for f in fields(CoreSection) if f.name.endswith("_depth")]
    return [key for key in depths if isinstance(getattr(given, key), int)]


def shape_of(section: CoreSection) -> Shape:
    return Shape(section.lanes, section.taps, section.drain, section.tiles, section.pairs)


def legal_shapes(most: int | None = None, tiled: bool = False, pairs: bool = False) -> list[Shape]:
    """Every shape of one tile that the core can be synthesized with, the fewest tiles first.

    Args:
        most: multipliers.
        tiled: those with tiles, too, from LEAST_TILED lanes up to MOST_TILED multiplications.
        pairs: those of them whose tiles share multipliers, too.

    >>> len(legal_shapes()), [str(shape) for shape in legal_shapes(2)]
    (112, ['1 x 1, RQ 1', '1 x 2, RQ 1', '2 x 1, RQ 1', '2 x 1, RQ 2'])
    >>> len(legal_shapes(tiled=True)), len(legal_shapes(tiled=True, pairs=True))
    (311, 510)
    """
    kinds = [(1, False)]
    if tiled:
        kinds += [(n, p) for n in TILES[1:] for p in ((False, True) if pairs else (False,))]
    every = (shape for tiles, shared in kinds for shape in _every(tiles, shared))
    return [s for s in every if most is None or s.multipliers <= most]


def _every(tiles: int, pairs: bool) -> Iterator[Shape]:
    for lanes in LANES:
        for taps in TAPS:
            few = lanes < LEAST_TILED or lanes * taps * tiles > MOST_TILED
            if tiles > 1 and few:
                continue
            for rq in LANES:
                if rq <= lanes:
                    yield Shape(lanes, taps, rq, tiles, pairs)
