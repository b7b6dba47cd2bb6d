# SPDX-License-Identifier: Apache-2.0
"""How many LUTs, registers and multipliers the core takes: formulas fitted on synthesized cores.

``area.csv`` beside this file has the numbers of Yosys for cores of many shapes (``make area`` of a
checkout measures them). A formula is a sum of what the HDL has: so much for each multiplier, for
each lane that is requantized, for each two-way choice behind the accumulators, and so on.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.bundle.manifest import Core
from bramcast.pack.device.devices import Family, Part
from bramcast.pack.device.memory import core_memories


@dataclass(frozen=True, slots=True)
class Area:
    """What a core takes of a part.

    Attributes:
        luts: LUT6 (AMD), LUT4 (Lattice, Gowin, Cyclone IV), ALMs (Cyclone V), without those that
            hold memories, which ``bramcast.pack.device.memory`` counts.
        ffs: registers.
        dsps: multiplier blocks, ``Family.dsp``.
    """

    luts: int
    ffs: int
    dsps: int


DATA = Path(__file__).with_name("area.csv")
_CORE = ("lanes", "taps", "data_bits", "rq", "program_depth", "weights_depth", "bias_depth",
         "table_depth", "scratch_depth", "narrow", "gates", "tiles", "pairs")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measured:
    """A core that was synthesized: a row of ``DATA``.

    Attributes:
        held: the formula must not be fitted on it.
        luts: without ``lutram``, those that serve as memory or shift register.
        multipliers: cells that multiply.
        rtl: of the HDL's files, the start of their SHA-256.
        yosys: its version.
    """

    family: str
    core: Core
    held: bool
    luts: int
    lutram: int
    ffs: int
    multipliers: int
    rtl: str
    yosys: str


_HEAD = (
    "# SPDX-License-Identifier: Apache-2.0",
    "# Cores through Yosys: written by `make area`; bramcast.pack.device.area says what a row is.",
)
_REST = tuple(f.name for f in fields(Measured) if f.name not in ("family", "core"))


def read_measured() -> list[Measured]:
    """All rows of ``DATA``."""
    with DATA.open(newline="", encoding="utf-8") as file:
        return [_row(row) for row in csv.DictReader(line for line in file if line[0] != "#")]


def write_measured(rows: Sequence[Measured]) -> None:
    """Replace ``DATA``."""
    text = [*_HEAD, ",".join(("family", *_CORE, *_REST))]
    for row in rows:
        values = [row.family, *(int(getattr(row.core, name)) for name in _CORE)]
        values += [int(row.held), row.luts, row.lutram, row.ffs, row.multipliers]
        values += [row.rtl, row.yosys]
        text.append(",".join(map(str, values)))
    part = DATA.with_suffix(".part")
    part.write_text("\n".join(text) + "\n", encoding="utf-8")
    part.replace(DATA)


def _row(row: dict[str, str]) -> Measured:
    n = {name: int(row[name]) for name in (*_CORE, "held", "luts", "lutram", "ffs", "multipliers")}
    core = Core(
        lanes=n["lanes"],
        taps=n["taps"],
        data_bits=n["data_bits"],
        weight_bits=8,
        rq=n["rq"],
        program_depth=n["program_depth"],
        weights_depth=n["weights_depth"],
        bias_depth=n["bias_depth"],
        table_depth=n["table_depth"],
        scratch_depth=n["scratch_depth"],
        narrow=bool(n["narrow"]),
        gates=bool(n["gates"]),
        tiles=n["tiles"],
        pairs=bool(n["pairs"]),
    )
    return Measured(
        family=row["family"],
        core=core,
        held=bool(n["held"]),
        luts=n["luts"],
        lutram=n["lutram"],
        ffs=n["ffs"],
        multipliers=n["multipliers"],
        rtl=row["rtl"],
        yosys=row["yosys"],
    )


# ------------------------------------------------------------------ what the HDL has


def _bits(depth: int) -> int:
    return max(1, (depth - 1).bit_length())


def _terms(core: Core) -> NDArray[np.float64]:
    """How often the core has what takes LUTs and registers, in a fixed order.

    All tiles have lanes, requantizers and tables of their own, but the choice of an element and
    what controls a requantizer are one. The last ``_TILED`` are of tiles and pairs alone.
    """
    taps, data, n, tiles = core.taps, core.data_bits, core.multipliers, core.tiles
    lanes, rq, more = core.lanes * tiles, core.rq * tiles, tiles > 1
    chunks = lanes // rq
    table = rq * (core.table_depth > 0)
    address = 2 * _bits(core.scratch_depth) + _bits(core.weights_depth) + _bits(core.bias_depth)
    return np.array(
        [
            1,  # control, AXI
            address + (core.word - 1).bit_length() + (taps - 1).bit_length(),  # of addresses
            n,
            core.word * data,  # elements: choice, maximum
            lanes * data,  # words put together
            taps * rq * (chunks - 1) * (33 + data),  # two-way choices behind the lanes
            core.rq,
            rq * data,
            rq * (taps - 1),  # sums
            rq * taps * (taps > 1),
            table,
            table * (data == 16),
            core.narrow,
            core.narrow * n,
            core.gates,
            core.gates * n,
            core.gates * n * data,
            sum(memory.bits for memory in core_memories(core) if not memory.block),
            more * _bits(core.scratch_depth),  # rows are added to addresses
            more * tiles,  # masks
            more * n * data,  # words behind the choice of a bank
            n * data * (tiles - 1),  # two-way choices of a bank
            core.pairs * n,  # accumulators, and the repair of a sign
        ],
        dtype=np.float64,
    )


_TILED = 5
_SMALL = -1 - _TILED  # the bits of small memories


def _solve(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """x >= 0 with the least squares of a @ x - b (Lawson and Hanson's active set)."""
    n = a.shape[1]
    x = np.zeros(n)
    free = np.zeros(n, dtype=bool)
    for _ in range(3 * n):
        slope = a.T @ (b - a @ x)
        slope[free] = -np.inf
        best = int(np.argmax(slope))
        if slope[best] <= 1e-9:
            break
        free[best] = True
        while True:
            z = np.zeros(n)
            z[free] = np.linalg.lstsq(a[:, free], b, rcond=None)[0]
            if z[free].min() > 0:
                break
            bad = free & (z <= 0)
            step = np.min(x[bad] / np.maximum(x[bad] - z[bad], 1e-300))
            x = x + step * (z - x)
            free &= x > 1e-12
            x[~free] = 0
            if not free.any():
                break
        x = z
    return x


# ------------------------------------------------------------------ the formulas


@dataclass(frozen=True, slots=True)
class Formula:
    """Of a family: coefficients of ``_terms``, and the largest cores that were measured.

    Attributes:
        most: multiplications of a cycle.
        tiles: of a core, 1 where fewer cores with tiles were measured than there are terms of
            them; ``pairs``: one with pairs was, too.
    """

    luts: NDArray[np.float64]
    ffs: NDArray[np.float64]
    most: int
    tiles: int
    pairs: bool


FIRST = "words"  # the HDL's own bits of gates and registers: the formula that families begin with
_TRUST = 0.05  # a coefficient twice that of the beginning counts as much as a row that is 5 % off

# Where small memories count as LUTs or registers, as bramcast.pack.device.memory counts none there.
_SMALL_MEMORIES = ("gowin", "ice40", "ice40 with SB_MAC16")


def _fit(
    terms: NDArray[np.float64], values: NDArray[np.float64], first: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Coefficients >= 0 with the least squares of the relative errors.

    ``first``: those of FIRST. Brought to this family's size they are where it begins, and each
    costs as much as it moves away, so that a few rows are enough.
    """
    a, b = terms / values[:, None], np.ones(len(values))
    if first is not None:
        shape = a @ first
        first = first * (shape @ b) / (shape @ shape)
        known = first > 0
        a = np.vstack([a, _TRUST * np.eye(len(first))[known] / first[known, None]])
        b = np.concatenate([b, np.full(known.sum(), _TRUST)])
    return _solve(a, b)


def _fit_tiled(
    terms: NDArray[np.float64],
    values: NDArray[np.float64],
    tiled: NDArray[np.bool_],
    first: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """``_fit`` on cores of one tile; what tiles add, on what those leave of the other cores.

    So cores with tiles don't move what is said of the others.
    """
    found = _fit(terms[~tiled], values[~tiled], first)
    if tiled.any():
        a = terms[tiled] / values[tiled, None]
        b = 1 - a[:, :-_TILED] @ found[:-_TILED]
        a, begin = a[:, -_TILED:], found[-_TILED:]
        if first is not None:
            known = (begin > 0) & ~terms[tiled, -_TILED:].any(axis=0)  # of which no row says more
            a = np.vstack([a, _TRUST * np.eye(_TILED)[known] / begin[known, None]])
            b = np.concatenate([b, np.full(known.sum(), _TRUST)])
        found[-_TILED:] = _solve(a, b)
    return found


@cache
def _formulas() -> dict[str, Formula]:
    """Of every family that has rows, fitted on those that are not held out."""
    found: dict[str, Formula] = {}
    rows = [row for row in read_measured() if not row.held]
    for family in sorted({row.family for row in rows}, key=lambda name: name != FIRST):
        mine = [row for row in rows if row.family == family]
        terms = np.array([_terms(row.core) for row in mine])
        if family not in _SMALL_MEMORIES:
            terms[:, _SMALL] = 0
        first = found.get(FIRST)
        luts, ffs = (np.array([getattr(row, key) for row in mine]) for key in ("luts", "ffs"))
        tiled = np.array([row.core.tiles > 1 for row in mine])
        found[family] = Formula(
            luts=_fit_tiled(terms, luts, tiled, first.luts if first else None),
            ffs=_fit_tiled(terms, ffs, tiled, first.ffs if first else None),
            most=max(row.core.multipliers for row in mine),
            tiles=max(row.core.tiles for row in mine) if tiled.sum() >= _TILED else 1,
            pairs=any(row.core.pairs for row in mine),
        )
    return found


def predicted(row: Measured) -> tuple[float, float]:
    """LUTs and registers by the formula of the row's family."""
    formula, terms = _formulas()[row.family], _terms(row.core)
    return float(terms @ formula.luts), float(terms @ formula.ffs)


# Where a family has no rows: the one whose cells are most like its own.
NEAREST = {
    "cyclone4": "ice40 with SB_MAC16",
    "ice40": "gowin",
    "ice40 with SB_MAC16": "gowin",
}


def _measured_as(family: Family, part: Part | None) -> str:
    """The ``Measured.family`` whose formula is the family's, or the nearest."""
    name = family.name
    if name == "ice40" and part is not None and part.dsps:
        name = "ice40 with SB_MAC16"
    while name not in _formulas():
        name = NEAREST.get(name, "7series")
    return name


def area(core: Core, family: Family, part: Part | None = None) -> Area:
    """What ``bramcast_axi`` with this core takes, with default options.

    Args:
        part: only iCE40's matters: those with multipliers use them, the others have LUTs instead.

    >>> from bramcast.pack.device.devices import FAMILIES
    >>> xc7 = area(Core(16, 1, 8, 8, 2, 384, 1393, 304, 0, 1000), FAMILIES["7series"])
    >>> 2600 < xc7.luts < 3200, xc7.dsps
    (True, 16)
    """
    formula = _formulas()[_measured_as(family, part)]
    terms = _terms(core)
    wide = core.data_bits > 8
    shared = core.pairs and family.pairs
    products = core.built_multipliers if shared else core.multipliers
    products += core.rq * core.tiles * (wide and core.table_depth > 0)
    if family.name == "ice40" and not (part is not None and part.dsps):
        products = 0  # in LUTs
    return Area(
        luts=round(float(terms @ formula.luts)),
        ffs=round(float(terms @ formula.ffs)),
        dsps=-(-products // family.products[wide]),
    )


def fitted(core: Core, family: Family) -> bool:
    """Whether the formula was fitted on cores like this one.

    False: the core has more multipliers or tiles than any of those, or pairs and none of those has,
    or the family was not measured and the formula is that of the family with the most similar
    cells.
    """
    formula = _formulas().get(family.name)
    return (
        formula is not None
        and core.multipliers <= formula.most
        and core.tiles <= formula.tiles
        and core.pairs <= formula.pairs
        and core.weight_bits == 8
    )
