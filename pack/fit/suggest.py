# SPDX-License-Identifier: Apache-2.0
"""The same network in other lanes and taps: fill of the weight memory, and room in it."""

from dataclasses import dataclass

from bramcast.pack.device.devices import Family, Part
from bramcast.pack.device.memory import Placed
from bramcast.pack.device.primitive_mix import best_mix
from bramcast.pack.fit.candidates import Candidate, Place, try_shapes
from bramcast.pack.fit.lowering import Lowering
from bramcast.pack.fit.shapes import Shape
from bramcast.pack.recipe.recipe import Recipe
from bramcast.pack.run.calibrate import Progress, silent

# Small cores, and those with as many multipliers in another form.
LAYOUTS = ((4, 1), (8, 1), (16, 1), (32, 1), (64, 1), (8, 2), (16, 2), (8, 4), (16, 4))
_ROOM_STEPS = 64


@dataclass(frozen=True, slots=True)
class Variant:
    """A shape; ``room``: the greatest ``weights_depth`` that takes no more block RAM."""

    candidate: Candidate
    room: int

    @property
    def weights(self) -> Placed:
        return self.candidate.memories.of("weights")


def suggest(
    recipe: Recipe,
    part: Part,
    images: Family,
    behind: int | None,
    progress: Progress = silent,
) -> list[Variant]:
    """A recipe in each of ``LAYOUTS``, best filled weights first.

    Depths are what is needed; RQ is lanes / 8; tiles and pairs are the recipe's. Layouts that the
    network has no nest for are left out.

    Args:
        images, behind: as in ``place_bundle``.

    Raises:
        UserError: the recipe can't be packed at all.
    """
    lowering, place = Lowering.of(recipe, progress), Place(part, images, behind)
    more = recipe.core.tiles, recipe.core.pairs
    shapes = [Shape(lanes, taps, max(1, lanes // 8), *more) for lanes, taps in LAYOUTS]
    tried = try_shapes(lowering, shapes, place, progress)
    found = [Variant(c, _room(c, place)) for c in tried.candidates]
    return sorted(found, key=lambda v: -(v.weights.fill or 0))


def _room(candidate: Candidate, place: Place) -> int:
    mix = candidate.memories.of("weights").mix
    assert mix is not None
    step = min(words for block in place.images.blocks for _, words in block.shapes)
    room = candidate.core.weights_depth
    for words in range(-(-room // step), -(-room // step) + _ROOM_STEPS):
        if best_mix(place.images, mix.width, words * step, place.behind).units > mix.units:
            break
        room = max(room, words * step)
    return room
