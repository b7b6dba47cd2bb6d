# SPDX-License-Identifier: Apache-2.0
"""Whether as many multipliers in another shape would be much faster: one sentence for ``pack``."""

from bramcast.pack.bundle.errors import UserError
from bramcast.pack.fit.lowering import Lowering
from bramcast.pack.fit.shapes import (
    LANES,
    LEAST_TILED,
    TAPS,
    TILES,
    Shape,
    numbers,
    shape_of,
)
from bramcast.pack.fit.write_recipe import core_lines, in_toml
from bramcast.pack.pipeline import Packed

FASTER = 0.8  # of the cycles, or less, is worth a word


def shapes_alike(shape: Shape, tiled: bool = False) -> list[Shape]:
    """Other shapes of as many multipliers, and as many requantizers where they have the lanes.

    Args:
        tiled: with other tiles, too; those of a core with pairs share their multipliers as well.

    >>> [str(s) for s in shapes_alike(Shape(64, 1, 8))]
    ['8 x 8, RQ 8', '16 x 4, RQ 8', '32 x 2, RQ 8']
    >>> [str(s) for s in shapes_alike(Shape(32, 1, 4), tiled=True)][3:]
    ['8 x 2 x 2 tiles, RQ 2', '16 x 1 x 2 tiles, RQ 2', '8 x 1 x 4 tiles, RQ 1']
    """
    all_rq = shape.rq * shape.tiles
    found = []
    for tiles in TILES if tiled else (shape.tiles,):
        pairs, rq = shape.pairs and tiles > 1, max(1, all_rq // tiles)
        found += [Shape(n, t, min(n, rq), tiles, pairs) for n in LANES for t in TAPS]
    found = [s for s in found if s.multipliers == shape.multipliers]
    found = [s for s in found if s.tiles in (1, shape.tiles) or s.lanes >= LEAST_TILED]
    return sorted(
        (s for s in found if (s.lanes, s.tiles) != (shape.lanes, shape.tiles)),
        key=lambda s: (s.tiles, s.lanes),
    )


def faster_shape(packed: Packed, cycles: int) -> str | None:
    """What to write into the recipe where that makes the network much faster.

    None where nothing does, and where [core] gives depths in numbers: that core is built. Nothing
    is tried where the multipliers are so busy that no shape can be much faster.

    Args:
        cycles: of the packed network.
    """
    now = shape_of(packed.recipe.core)
    products = packed.manifest.core.multipliers
    if numbers(packed.recipe.core) or packed.manifest.macs > FASTER * cycles * products:
        return None
    lowering = Lowering(packed.prepared, packed.network, again=False)
    best: tuple[int, Shape] | None = None
    for shape in shapes_alike(now, lowering.has_pictures):
        try:
            found = lowering.at(shape).cycles
        except UserError:  # it has no program in that shape
            continue
        if found <= FASTER * cycles and (best is None or found < best[0]):
            best = found, shape
    if best is None:
        return None
    lines = core_lines(best[1])
    if now.tiles > 1:
        lines |= {"tiles": best[1].tiles, "pairs": best[1].pairs}
    return (
        f"[core] {in_toml(lines)}: as many multipliers take {best[0]:,} cycles a frame in that "
        f"shape, not {cycles:,}; 'bramcast fit' tries all shapes"
    )
