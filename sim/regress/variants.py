# SPDX-License-Identifier: Apache-2.0
"""The same network laid out for other lanes and taps: fill of the weight memory and cycles."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bramcast.golden.load import load
from bramcast.golden.machine import Machine
from bramcast.pack.bundle.cycles import predict
from bramcast.pack.bundle.errors import RangeError, ToolError, UnsupportedLayer
from bramcast.pack.device.devices import Family, Part
from bramcast.pack.device.memory import DeviceFit, Placed, place_bundle
from bramcast.pack.device.primitive_mix import best_mix
from bramcast.pack.recipe.recipe import CoreSection, Recipe

# Small cores, and those with as many multipliers in another form.
TRIED = ((4, 1), (8, 1), (16, 1), (32, 1), (64, 1), (8, 2), (16, 2), (8, 4), (16, 4))
_ROOM_STEPS = 64


@dataclass(frozen=True, slots=True)
class Variant:
    """A core of LANES x TAPS for the network.

    ``room``: the greatest ``weights_depth`` that takes no more block RAM. ``cycles``: predicted.
    """

    lanes: int
    taps: int
    placement: DeviceFit
    room: int
    cycles: int

    @property
    def weights(self) -> Placed:
        return self.placement.of("weights")


def try_variants(
    recipe: Recipe,
    part: Part,
    images: Family,
    behind: int | None,
    report: Callable[[str, int, int], None] = lambda what, done, of: None,
) -> list[Variant]:
    """Pack a recipe for each of ``TRIED`` in turn, best filled weights first.

    Depths are what is needed; RQ is lanes / 8. Layouts that the network has no nest for are left
    out.

    Raises:
        UserError: the recipe can't be packed at all.
    """
    try:
        from bramcast.pack.pipeline import pack
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ToolError("--suggest packs the recipe, for which it needs PyTorch") from None
    found: list[Variant] = []
    refused: Exception | None = None
    for index, (lanes, taps) in enumerate(TRIED):
        report("layouts", index, len(TRIED))
        section = CoreSection(
            lanes=lanes,  # type: ignore[arg-type]
            taps=taps,  # type: ignore[arg-type]
            narrow=recipe.core.narrow,
            gates=recipe.core.gates,
        )
        with tempfile.TemporaryDirectory() as folder:
            bundle = Path(folder) / "bundle"
            try:
                pack(replace(recipe, core=section), bundle)
            except (UnsupportedLayer, RangeError) as error:
                refused = error
                continue
            found.append(_variant(load(bundle), part, images, behind))
    report("layouts", len(TRIED), len(TRIED))
    if not found and refused is not None:
        raise refused
    return sorted(found, key=lambda v: -(v.weights.fill or 0))


def _variant(machine: Machine, part: Part, images: Family, behind: int | None) -> Variant:
    assert machine.manifest is not None
    core = machine.core
    placement = place_bundle(machine.manifest, machine.program, part, images, behind)
    mix = placement.of("weights").mix
    assert mix is not None
    step = min(words for block in images.blocks for _, words in block.shapes)
    room = core.weights_depth
    for words in range(-(-room // step), -(-room // step) + _ROOM_STEPS):
        if best_mix(images, mix.width, words * step, behind).units > mix.units:
            break
        room = max(room, words * step)
    cycles = predict(machine.program, core).total
    return Variant(core.lanes, core.taps, placement, room, cycles)
