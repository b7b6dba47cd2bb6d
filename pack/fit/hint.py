# SPDX-License-Identifier: Apache-2.0
"""Whether as many multipliers in another shape would be much faster: one sentence for ``pack``."""

from bramcast.pack.bundle.errors import UserError
from bramcast.pack.fit.lowering import Lowering
from bramcast.pack.fit.shapes import LANES, TAPS, Shape, numbers, shape_of
from bramcast.pack.fit.write_recipe import core_lines
from bramcast.pack.pipeline import Packed

FASTER = 0.8  # of the cycles, or less, is worth a word


def shapes_alike(shape: Shape) -> list[Shape]:
    """Other shapes of as many multipliers, and as many requantizers where they have the lanes.

    >>> [str(s) for s in shapes_alike(Shape(64, 1, 8))]
    ['8 x 8, RQ 8', '16 x 4, RQ 8', '32 x 2, RQ 8']
    """
    found = [Shape(n, t, min(n, shape.rq)) for n in LANES for t in TAPS]
    return [s for s in found if s.multipliers == shape.multipliers and s.lanes != shape.lanes]


def faster_shape(packed: Packed, cycles: int) -> str | None:
    """What to write into the recipe where that makes the network much faster.

    None where nothing does, and where [core] gives depths in numbers: that core is built. Nothing
    is tried where the multipliers are so busy that no shape can be much faster.

    Args:
        cycles: of the packed network.
    """
    now = shape_of(packed.recipe.core)
    if numbers(packed.recipe.core) or packed.manifest.macs > FASTER * cycles * now.multipliers:
        return None
    lowering = Lowering(packed.prepared, packed.network, again=False)
    best: tuple[int, Shape] | None = None
    for shape in shapes_alike(now):
        try:
            found = lowering.at(shape).cycles
        except UserError:  # it has no program in that shape
            continue
        if found <= FASTER * cycles and (best is None or found < best[0]):
            best = found, shape
    if best is None:
        return None
    lines = ", ".join(f"{key} = {value}" for key, value in core_lines(best[1]).items())
    return (
        f"[core] {lines}: as many multipliers take {best[0]:,} cycles a frame in that shape, not "
        f"{cycles:,}; 'bramcast fit' tries all shapes"
    )
