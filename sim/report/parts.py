# SPDX-License-Identifier: Apache-2.0
"""Which of the known parts a bundle's core fits, and how full each would be."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from bramcast.golden.machine import Machine
from bramcast.pack.bundle.manifest import Manifest
from bramcast.pack.device.area import area, fitted
from bramcast.pack.device.devices import FAMILIES, PARTS, Part
from bramcast.pack.device.memory import DeviceFit, place_bundle


@dataclass(frozen=True, slots=True)
class Taken:
    """How much of a resource the core takes; ``there``: what the part has."""

    name: str
    taken: int
    there: int

    @property
    def share(self) -> float:
        return self.taken / self.there if self.there else (1.01 if self.taken else 0.0)

    @property
    def enough(self) -> bool:
        return self.taken <= self.there


@dataclass(frozen=True, slots=True)
class PartRow:
    """A part and its resources: multiplier blocks, block RAMs, LUTs, registers."""

    name: str
    taken: tuple[Taken, ...]

    @property
    def lacking(self) -> tuple[str, ...]:
        """Names of what the part has too little of."""
        return tuple(one.name for one in self.taken if not one.enough)


@dataclass(frozen=True, slots=True)
class FamilyRows:
    """A family's parts, the smallest first.

    ``estimated``: its formula for LUTs and registers was not fitted on cores like this one.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[PartRow, ...]
    estimated: bool

    @property
    def smallest(self) -> str | None:
        """The first part that the core fits."""
        return next((row.name for row in self.rows if not row.lacking), None)


def family_rows(machine: Machine, manifest: Manifest) -> Iterator[FamilyRows]:
    """Every known part, by family."""
    for family in FAMILIES.values():
        parts = [part for part in PARTS.values() if part.family is family]
        parts.sort(key=lambda part: (part.luts or 0, part.name))
        if not parts:
            continue
        placed = place_bundle(manifest, machine.program, parts[0], family)
        rows = tuple(_row(manifest, part, placed) for part in parts)
        estimated = not fitted(manifest.core, family)
        yield FamilyRows(family.title, tuple(t.name for t in rows[0].taken), rows, estimated)


def _row(manifest: Manifest, part: Part, placed: DeviceFit) -> PartRow:
    needs = area(manifest.core, part.family, part)
    there = replace(placed, part=part)
    luts = needs.luts + sum(p.luts + p.mux_luts for p in there.memories)
    counts = (
        (part.family.dsp, needs.dsps, part.dsps),
        (part.family.unit, there.units, part.count),
        (part.family.lut_ram.unit if part.family.lut_ram else "LUT", luts, part.luts),
        ("FF", needs.ffs, part.ffs),
    )
    return PartRow(part.name, tuple(Taken(n, t, c) for n, t, c in counts if c is not None))
