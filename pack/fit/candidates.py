# SPDX-License-Identifier: Apache-2.0
"""What a network costs in each shape of the core, and why some shapes do not fit a part."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from bramcast.pack.bundle.errors import RangeError, UnsupportedLayer
from bramcast.pack.bundle.manifest import Core, ImageInfo, Manifest
from bramcast.pack.bundle.program import unrolled
from bramcast.pack.contents import manifest_of
from bramcast.pack.device.area import Area, area, fitted
from bramcast.pack.device.devices import Family, Part
from bramcast.pack.device.memory import DeviceFit, place_bundle
from bramcast.pack.fit.lowering import Lowering
from bramcast.pack.fit.shapes import Shape
from bramcast.pack.lower.lowered import Lowered
from bramcast.pack.run.calibrate import Progress, silent


@dataclass(frozen=True, slots=True)
class Use:
    """What a core takes of one resource; ``there``: what the part has, None if not known."""

    name: str
    taken: int
    there: int | None

    @property
    def lacks(self) -> bool:
        return self.there is not None and self.taken > self.there

    def __str__(self) -> str:
        of = "" if self.there is None else f" of {self.there:,}"
        return f"{self.taken:,}{of} {self.name}"


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A shape and what it makes of the network.

    Attributes:
        cycles: of a frame, predicted.
        estimated: the area formula was not fitted on such a core.
    """

    shape: Shape
    core: Core
    cycles: int
    memories: DeviceFit
    area: Area
    estimated: bool

    @property
    def units(self) -> int:
        """Block RAMs, in what the part's count counts."""
        return self.memories.units

    @property
    def luts(self) -> int:
        """Of the logic, of memories in LUTs, and of the multiplexers behind block RAMs."""
        return self.area.luts + sum(p.luts + p.mux_luts for p in self.memories.memories)

    @property
    def costs(self) -> tuple[int, int, int]:
        """Multiplier blocks, block RAMs, LUTs."""
        return self.area.dsps, self.units, self.luts

    @property
    def uses(self) -> tuple[Use, ...]:
        part, family = self.memories.part, self.memories.part.family
        lut = family.lut_ram.unit if family.lut_ram else "LUT"
        return (
            Use(family.dsp, self.area.dsps, part.dsps),
            Use(family.unit, self.units, part.count),
            Use(lut, self.luts, part.luts),
            Use("flip-flops", self.area.ffs, part.ffs),
        )

    @property
    def lacking(self) -> tuple[Use, ...]:
        """The resources of which the part has too few."""
        return tuple(use for use in self.uses if use.lacks)

    @property
    def excess(self) -> float:
        """The largest share of a resource that is taken."""
        shares = [use.taken / max(1, use.there) for use in self.uses if use.there is not None]
        return max(shares, default=0.0)


@dataclass(frozen=True, slots=True)
class Refused:
    """A shape that the network has no program for, and why."""

    shape: Shape
    why: str


@dataclass(frozen=True, slots=True)
class Tried:
    """All shapes that were tried; ``skipped``: others that can't be better than these."""

    candidates: tuple[Candidate, ...]
    refused: tuple[Refused, ...]
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """A part, and how memories lie in it: ``images`` and ``behind`` as in ``place_bundle``."""

    part: Part
    images: Family
    behind: int | None = None

    @classmethod
    def of(cls, part: Part) -> "Place":
        return cls(part, part.family)


def try_shapes(
    lowering: Lowering, shapes: Iterable[Shape], place: Place, progress: Progress = silent
) -> Tried:
    """What each shape makes of the network.

    Of shapes with tiles those are skipped that a smaller one beats at the best that they can do.

    Raises:
        RangeError, UnsupportedLayer: there is no program in any of them.
    """
    found: list[Candidate] = []
    refused: list[Refused] = []
    first: RangeError | UnsupportedLayer | None = None
    every = list(shapes)
    hopes, skipped = _Hopes(place), 0
    for done, shape in enumerate(every):
        progress("shapes", done, len(every))
        if hopes.none(shape):
            skipped += 1
            continue
        try:
            made = lowering.at(shape)
        except (RangeError, UnsupportedLayer) as error:
            first = first or error
            refused.append(Refused(shape, str(error)))
            continue
        found.append(candidate(shape, made, place))
        hopes.note(found[-1])
    progress("shapes", len(every), len(every))
    if not found and first is not None:
        raise first
    return Tried(tuple(found), tuple(refused), skipped)


class _Hopes:
    """The fewest cycles that a shape with tiles can hope for, and what others take already.

    Twice the tiles are at best twice as fast.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.least: dict[tuple[int, int, int, int], int] = {}  # lanes, taps, RQ, tiles
        self.sizes: dict[tuple[int, int, int], Core] = {}  # cores of one tile
        self.reached: dict[int, int] = {}  # the fewest cycles of what fits, by multiplier blocks

    def note(self, candidate: Candidate) -> None:
        shape, dsps = candidate.shape, _blocks(candidate.area, candidate.shape)
        self.least[shape.lanes, shape.taps, shape.rq, shape.tiles] = candidate.cycles
        if shape.tiles == 1:
            self.sizes[shape.lanes, shape.taps, shape.rq] = candidate.core
        if not candidate.lacking:
            self.reached[dsps] = min(candidate.cycles, self.reached.get(dsps, candidate.cycles))

    def none(self, shape: Shape) -> bool:
        """Whether it has too many multiplier blocks, or one with no more of them is as fast."""
        core = self.sizes.get((shape.lanes, shape.taps, shape.rq))
        if shape.tiles == 1 or core is None:
            return False
        part = self.place.part
        took = area(replace(core, tiles=shape.tiles, pairs=shape.pairs), part.family, part)
        if part.dsps is not None and took.dsps > part.dsps:
            return True
        here = (shape.lanes, shape.taps, shape.rq, shape.tiles)
        before = (shape.lanes, shape.taps, shape.rq, shape.tiles // 2)
        if here not in self.least and before in self.least:
            self.least[here] = self.least[before] // 2
        hope, dsps = self.least.get(here), _blocks(took, shape)
        return hope is not None and any(
            taken <= dsps and cycles <= hope for taken, cycles in self.reached.items()
        )


def _blocks(took: Area, shape: Shape) -> int:
    """Multiplier blocks; where they are of LUTs, multipliers."""
    return took.dsps or shape.multipliers


def candidate(shape: Shape, made: Lowered, place: Place) -> Candidate:
    """What a lowered network takes in a part."""
    manifest, program = sized(made), [d for _, d in unrolled(made.descriptors)]
    memories = place_bundle(manifest, program, place.part, place.images, place.behind)
    took = area(made.core, place.part.family, place.part)
    estimated = not fitted(made.core, place.part.family)
    return Candidate(shape, made.core, made.cycles, memories, took, estimated)


def sized(made: Lowered) -> Manifest:
    """The manifest with the images' depths, which are not written."""
    images = [
        ImageInfo(name, made.core.depth(name), words, made.core.word_bits(name), "", {})
        for name, words in made.used.items()
    ]
    return replace(manifest_of(made), images=images)
