# SPDX-License-Identifier: Apache-2.0
"""Measures speed as ratios within one run: ``python bench/speed.py``; docs/speed.md explains them.

Ours and theirs are measured in turn, REPEAT times; the table shows the medians.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from bitstring import BitArray, Bits
from numpy.typing import NDArray
from recipes import DIGITS, mlp_recipe, shared_recipe

from bramcast.golden.frames import frames_of
from bramcast.golden.load import load
from bramcast.golden.machine import Machine
from bramcast.hw import sources as hw_sources
from bramcast.pack.bundle.cycles import predict
from bramcast.pack.bundle.formats.binary import bin_bytes, sections
from bramcast.pack.bundle.formats.c_header import header_text
from bramcast.pack.bundle.formats.coe import coe_text
from bramcast.pack.bundle.formats.quartus import mif_text
from bramcast.pack.bundle.formats.readmem import mem_text
from bramcast.pack.bundle.formats.table import TABLE
from bramcast.pack.bundle.images import load_images, write_image_files
from bramcast.pack.bundle.manifest import Core
from bramcast.pack.bundle.words import (
    Words,
    from_uint32,
    pack_bias,
    pack_lanes,
    to_axi,
    to_uint32,
    unpack_bias,
    unpack_lanes,
)
from bramcast.pack.pipeline import pack
from bramcast.pack.read.network import read_model
from bramcast.pack.recipe.recipe import Recipe, read_recipe
from bramcast.pack.samples.inputs import read_inputs
from bramcast.sim.benches.bench_core import CLOCK_NS
from bramcast.sim.run import cosim, fast
from bramcast.sim.run.cosim import core_parameters
from bramcast.sim.run.runner import Tests, build, cached, run, tool_version, verilator_environment

EXAMPLES = [DIGITS / name for name in ("mlp.toml", "dscnn.toml")]
MLP_BATCHES = (64, 256, 1024)
PARTS = ("simulation", "golden", "packing")
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
CLOCKS = 8_000_000  # simulated in one measurement
WRITE_SECONDS = 2
LONG_FRAME = 10_000  # cycles; in shorter ones Python's work for each beat is what cocotb costs


@dataclass(frozen=True, slots=True)
class Measured:
    """Two rates of the same work and their ratio, all three medians over the repetitions."""

    what: str
    network: str
    unit: str
    ours: float
    theirs: float
    ratio: float
    target: float | None  # None: for information


@dataclass(frozen=True, slots=True)
class Case:
    """A packed network."""

    recipe: Recipe
    bundle: Path
    machine: Machine
    x: NDArray[np.floating]

    @property
    def name(self) -> str:
        return self.recipe.name

    def frames(self, count: int) -> NDArray[np.int64]:
        """So many frames, from the front again where the samples end."""
        assert self.machine.manifest is not None
        few = frames_of(self.x[:count], self.machine.manifest)
        return few[np.arange(count) % len(few)]


def measure(
    what: str,
    case: Case,
    unit: str,
    target: float | None,
    repeat: int,
    ours: Callable[[], float],
    theirs: Callable[[], float],
) -> Measured:
    """Call both in turn; each returns a rate."""
    pairs = []
    for _ in range(repeat):
        mine = ours()
        pairs.append((mine, theirs()))
    middle = statistics.median
    return Measured(
        what,
        case.name,
        unit,
        middle(a for a, _ in pairs),
        middle(b for _, b in pairs),
        middle(a / b for a, b in pairs),
        target,
    )


# ------------------------------------------------------------------------------ simulation


def cocotb_rate(case: Case, frames: NDArray[np.int64], folder: Path, work: Path) -> float:
    """Simulated cycles per second of the bench of ``bramcast sim``, start-up not counted."""
    np.save(work / "frames.npy", frames)
    outcome = run(
        folder,
        cosim.TOP,
        "verilator",
        Tests(
            cosim.BENCH,
            env={
                "BRAMCAST_FRAMES": str(work / "frames.npy"),
                "BRAMCAST_BEATS": str(work / "beats.npy"),
                "BRAMCAST_STALL": "0",
                "BRAMCAST_CYCLES": str(1 << 28),
            },
            plusargs={**image_paths(case), "log": work / "cocotb.log"},
        ),
        work=work,
        seed=1,
    )
    outcome.check()
    test = next(ElementTree.parse(work / "simulation.xml").iter("testcase"))
    facts = {p.attrib["name"]: p.attrib["value"] for p in test.iter("property")}
    simulated_ns = float(facts.get("sim_time_duration") or test.attrib["sim_time_ns"])  # cocotb 2.0
    return simulated_ns / CLOCK_NS / float(test.attrib["time"])


def build_hdl_bench(core: Core) -> Path:
    """Compile hdl_bench.sv with the core: ``verilator --binary --timing``."""
    sources = [*hw_sources(), Path(__file__).with_name("hdl_bench.sv")]
    parameters = [f"-G{name}={value}" for name, value in core_parameters(core).items()]
    command = ["verilator", "--binary", "--timing", "--top-module", "hdl_bench", "-Wno-fatal"]
    command += ["-O3", "--x-assign", "fast", "--x-initial", "fast", "-o", "hdl_bench"]
    command += ["-CFLAGS", "-O3 -std=gnu++20 -fcoroutines", *parameters]
    command += ["-Wno-PINMISSING"]  # ports of the core that a frame does not need

    def compile_into(folder: Path) -> None:
        files = [str(source) for source in sources]
        subprocess.run(
            [*command, "-Mdir", str(folder), *files],
            env=verilator_environment(),
            stdout=subprocess.DEVNULL,
            check=True,
        )

    facts = (tool_version("verilator"), platform.machine(), *command)
    return cached("hdl_bench", facts, sources, compile_into) / "hdl_bench"


def hdl_rate(case: Case, frames: NDArray[np.int64], program: Path, work: Path) -> float:
    """Simulated cycles per second of a bench in SystemVerilog alone."""
    mask = (1 << case.machine.core.data_bits) - 1
    text = "".join(f"{int(v) & mask:X}\n" for v in frames.reshape(-1))
    (work / "frames.hex").write_text(text)
    command = [str(program), *plusargs(image_paths(case)), f"+log={work / 'hdl.log'}"]
    command += [f"+frames={work / 'frames.hex'}", f"+beats={frames.shape[1]}"]
    begin = time.perf_counter()
    done = subprocess.run(
        [*command, f"+count={len(frames)}"], capture_output=True, text=True, check=True
    )
    seconds = time.perf_counter() - begin
    (line,) = (li for li in done.stdout.splitlines() if li.startswith("clocks"))
    return int(line.split()[1]) / seconds


def image_paths(case: Case) -> dict[str, object]:
    """The plusargs that load the images, by name."""
    return cosim.image_plusargs(case.bundle, case.machine.core)


def plusargs(values: Mapping[str, object]) -> list[str]:
    return [f"+{name}={value}" for name, value in values.items()]


def cocotb_against_hdl(case: Case, repeat: int, work: Path) -> Measured:
    core = case.machine.core
    folder = build(cosim.TOP, core_parameters(core), "verilator", timing=True, ports_only=True)
    program = build_hdl_bench(core)
    frames = case.frames(frames_for(case))
    result = measure(
        "cocotb bench / SystemVerilog bench",
        case,
        "cycles/s",
        0.4,
        repeat,
        lambda: cocotb_rate(case, frames, folder, work),
        lambda: hdl_rate(case, frames, program, work),
    )
    assert (work / "cocotb.log").read_bytes() == (work / "hdl.log").read_bytes()
    return result


def frames_for(case: Case) -> int:
    most = (1 << 20) // case.machine.beats_in
    return max(1, min(most, CLOCKS // predict(case.machine.program, case.machine.core).total))


def fast_against_bare_loop(case: Case, repeat: int, jobs: int) -> Measured:
    loop = fast.build(case.machine.core, Path(__file__).with_name("bare_loop.cpp"))
    samples = case.x[np.arange(frames_for(case) * jobs) % len(case.x)]

    def ours() -> float:
        result = fast.simulate_fast(case.bundle, samples, jobs=jobs)
        assert result.equal and not result.wrong_cycles
        return result.clocks / result.seconds

    def theirs() -> float:
        command = [str(loop), *plusargs(image_paths(case)), f"+cycles={CLOCKS}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        _, clocks, seconds = done.stdout.split()
        return int(clocks) / float(seconds)

    processes = "1 process" if jobs == 1 else f"{jobs} processes"
    what = f"sim --fast, {processes} / bare C++ loop"
    return measure(what, case, "cycles/s", 0.8 if jobs == 1 else None, repeat, ours, theirs)


# ------------------------------------------------------------------------------ golden


def golden_against_torch(case: Case, repeat: int, batch: int | None = None) -> Measured:
    """Inferences per second: both in batches of this size, or golden on many samples at once.

    Then torch may choose the size of its batches.
    """
    torch.set_num_threads(1)
    module = read_model(case.recipe, case.x.shape[1:]).module.eval()
    count = batch or max(512, len(case.x) // 512 * 512)
    count = 8 * count if batch is None and case.machine.beats_in < 128 else count
    x = torch.from_numpy(case.x[np.arange(count) % len(case.x)].astype(np.float32))
    frames = case.frames(count)

    def rate(call: Callable[[], object]) -> float:
        call()
        calls, begin = 0, time.perf_counter()
        while (spent := time.perf_counter() - begin) < 0.5:
            call()
            calls += 1
        return calls * count / spent

    def forward(batch: int) -> None:
        with torch.inference_mode():
            for start in range(0, count, batch):
                module(x[start : start + batch])

    sizes = (16, 64, 256, count) if batch is None else (batch,)
    batches = {size: rate(lambda s=size: forward(s)) for size in sizes}  # type: ignore[misc]
    best = max(batches, key=lambda size: batches[size])
    both = " both" if batch is not None else ""
    return measure(
        f"golden / torch eager float32,{both} batches of {best}",
        case,
        "inferences/s",
        0.5,
        repeat,
        lambda: rate(lambda: case.machine.run(frames)),
        lambda: rate(lambda: forward(best)),
    )


# ------------------------------------------------------------------------------ packing


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a packer starts from: integers, not yet words."""

    program: NDArray[np.uint32]
    weights: NDArray[np.int64]  # [words, LANES]
    bias: NDArray[np.int64]  # [entries]
    shift: NDArray[np.int64]
    table: NDArray[np.int64]


def packed_arrays(n: Numbers, core: Core) -> dict[str, bytes]:
    """All images in all formats, by bramcast."""
    images = {
        "program": from_uint32(n.program),
        "weights": pack_lanes(n.weights, core.weight_bits),
        "bias": pack_bias(n.bias, n.shift, core.rq),
    }
    if core.table_depth:
        images["table"] = pack_lanes(n.table[:, None], core.word_bits("table"), signed=False)
    files = {"images.bin": bin_bytes(images, core), "header": header_text(images, core)}
    for name, words in images.items():
        for suffix, text in (("mem", mem_text), ("coe", coe_text), ("mif", mif_text)):
            files[f"{name}.{suffix}"] = text(words, core.depth(name))
    return files


def word_by_weights(n: Numbers, core: Core, name: str, address: int) -> int:
    """One memory word, put together number by number."""
    word = 0
    if name == "program" and address < len(n.program):
        word = int(n.program[address])
    elif name == "weights" and address < len(n.weights):
        for lane in range(core.lanes):
            weight = int(n.weights[address, lane]) & ((1 << core.weight_bits) - 1)
            word |= weight << (core.weight_bits * lane)
    elif name == "bias" and address * core.rq < len(n.bias):
        for entry in range(core.rq):
            bias = int(n.bias[address * core.rq + entry]) & 0x7FFF_FFFF
            shift = int(n.shift[address * core.rq + entry])
            word |= (shift << 31 | bias) << (36 * entry)
    elif name == "table" and address < len(n.table):
        word = int(n.table[address])
    return word


def word_by_bitstrings(n: Numbers, core: Core, name: str, address: int) -> int:
    """The same word, every number a string of bits, the lowest one last."""
    word = BitArray()
    if name == "program" and address < len(n.program):
        word.append(Bits(uint=int(n.program[address]), length=32))
    elif name == "weights" and address < len(n.weights):
        for weight in reversed(n.weights[address]):
            word.append(Bits(int=int(weight), length=core.weight_bits))
    elif name == "bias" and address * core.rq < len(n.bias):
        for entry in range((address + 1) * core.rq - 1, address * core.rq - 1, -1):
            word.append(Bits(uint=int(n.shift[entry]), length=5))
            word.append(Bits(int=int(n.bias[entry]), length=31))
    elif name == "table" and address < len(n.table):
        word.append(Bits(uint=int(n.table[address]), length=core.word_bits("table")))
    return int(word.uint) if word else 0


def packed_loop(
    n: Numbers, core: Core, put: Callable[[Numbers, Core, str, int], int]
) -> dict[str, bytes]:
    """The same files from a loop over the weights, which ``put`` puts into words.

    The words are put together once for all formats. Of the header only the arrays.
    """
    files: dict[str, bytes] = {}
    binary, arrays = bytearray(), []
    for s in sections(core):
        word = [put(n, core, s.name, a) for a in range(s.words)]
        digits = -(-s.bits // 4)
        mem = "".join(f"{word[a]:0{digits}X}\n" for a in range(s.words))
        files[f"{s.name}.mem"] = mem.encode()
        coe = ",\n".join(f"{word[a]:0{digits}X}" for a in range(s.words))
        head = "memory_initialization_radix=16;\nmemory_initialization_vector=\n"
        files[f"{s.name}.coe"] = f"{head}{coe};\n".encode()
        wide = -(-max(4, (s.words - 1).bit_length()) // 4)
        mif = "".join(f"{a:0{wide}X} : {word[a]:0{digits}X};\n" for a in range(s.words))
        head = f"WIDTH={s.bits};\nDEPTH={s.words};\nADDRESS_RADIX=HEX;\nDATA_RADIX=HEX;\n"
        files[f"{s.name}.mif"] = f"{head}CONTENT BEGIN\n{mif}END;\n".encode()
        for a in range(s.words):
            binary += word[a].to_bytes(4 * s.axi_words, "little")
        cells = []
        for a in range(s.words):
            value = word[a]
            for part in range(s.axi_words):
                cells.append(f" 0x{value >> (32 * part) & 0xFFFF_FFFF:08X}u,")
        rows = "".join("".join(cells[i : i + 8]) + "\n" for i in range(0, len(cells), 8))
        arrays.append(f"static const uint32_t bramcast_{s.name}[{len(cells)}] = {{\n{rows}}};\n")
    return {**files, "images.bin": bytes(binary), "header": "\n".join(arrays).encode()}


def packing_against_loop(case: Case, repeat: int, bitstring: bool) -> Measured:
    manifest, core = case.machine.manifest, case.machine.core
    assert manifest is not None
    images = load_images(case.bundle, manifest, False)
    none = Words(8, np.zeros((0, 1), np.uint8))
    numbers = Numbers(
        to_uint32(images["program"]),
        unpack_lanes(images["weights"], core.weight_bits),
        *unpack_bias(images["bias"]),
        to_axi(images.get("table", none))[:, 0].astype(np.int64),
    )
    put = word_by_bitstrings if bitstring else word_by_weights
    one, two = packed_arrays(numbers, core), packed_loop(numbers, core, put)
    assert one.keys() == two.keys()
    assert all(one[name] == two[name] for name in one if name != "header")
    assert two["header"] in one["header"]

    def rate(call: Callable[[], object]) -> float:
        calls, begin = 0, time.perf_counter()
        while (spent := time.perf_counter() - begin) < 0.5:
            call()
            calls += 1
        return calls * numbers.weights.size / spent

    loop = "with bitstring" if bitstring else "with shifts of int"
    return measure(
        f"packing, 5 formats / loop {loop}",
        case,
        "weights/s",
        50 if bitstring else None,
        repeat,
        lambda: rate(lambda: packed_arrays(numbers, core)),
        lambda: rate(lambda: packed_loop(numbers, core, put)),
    )


def everything_written(case: Case, repeat: int) -> str:
    """Every image in every format that holds it, read back: what pack does behind calibration."""
    manifest, core = case.machine.manifest, case.machine.core
    assert manifest is not None
    images = load_images(case.bundle, manifest, False)
    formats = [
        fmt.name
        for fmt in TABLE
        if fmt.in_bundle and not any(fmt.complaint(w.bits, len(w)) for w in images.values())
    ]
    seconds = []
    for _ in range(repeat):
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            write_image_files(Path(folder), images, core, formats)
            seconds.append(time.perf_counter() - begin)
    median = statistics.median(seconds)
    verdict = "met" if median <= WRITE_SECONDS else "MISSED"
    return (
        f"{case.name}: all images in {len(formats)} formats written and read back in "
        f"{median:.2f} s (target: {WRITE_SECONDS} s, {verdict})"
    )


# ------------------------------------------------------------------------------ main


def packed(recipe: Path, folder: Path) -> Case:
    read = read_recipe(recipe)
    print(f"packing {read.name}", file=sys.stderr)
    pack(read, folder / read.name)
    return Case(read, folder / read.name, load(folder / read.name), read_inputs(recipe).x)


def show(rows: list[Measured]) -> None:
    print(f"| {'ours / theirs':44} | network | ours | theirs | unit | ratio | target | |")
    print("| --- | --- | ---: | ---: | --- | ---: | ---: | --- |")
    for r in rows:
        target = "-" if r.target is None else f">= {r.target:g}"
        verdict = "-" if r.target is None else "met" if r.ratio >= r.target else "MISSED"
        print(
            f"| {r.what:44} | {r.network} | {r.ours:,.0f} | {r.theirs:,.0f} | {r.unit} "
            f"| {r.ratio:.2f} | {target} | {verdict} |",
            flush=True,
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="*", type=Path, help="networks; those of the page if none")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--only", default=",".join(PARTS), help="a choice of these")
    options = parser.parse_args()
    only = options.only.split(",")
    if not set(only) <= set(PARTS):
        parser.error(f"--only takes a choice of {', '.join(PARTS)}, separated by commas")
    rows: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="bramcast-bench-") as name:
        work = Path(name)
        recipes = options.recipes or [
            *EXAMPLES, *filter(None, [shared_recipe("kws_dscnn_mlperf", work)])
        ]  # fmt: skip
        if "golden" in only and not options.recipes:
            mlp = packed(mlp_recipe(work), work / "bundles")
            print(f"measuring {mlp.name}", file=sys.stderr)
            rows += [golden_against_torch(mlp, options.repeat, batch) for batch in MLP_BATCHES]
        cases = [packed(recipe, work / "bundles") for recipe in recipes]
        large = None if options.recipes else shared_recipe("vww_mobilenet_mlperf", work)
        if large is not None and "packing" in only:  # too long for the simulations of this page
            cases.append(packed(large, work / "bundles"))
        written = []
        for case in cases:
            print(f"measuring {case.name}", file=sys.stderr)
            if "simulation" in only and case.recipe.path != large:
                if predict(case.machine.program, case.machine.core).total >= LONG_FRAME:
                    rows.append(cocotb_against_hdl(case, options.repeat, work))
                rows.append(fast_against_bare_loop(case, options.repeat, 1))
                rows.append(fast_against_bare_loop(case, options.repeat, os.cpu_count() or 1))
            if "golden" in only and case.recipe.path != large:
                rows.append(golden_against_torch(case, options.repeat))
            if "packing" in only:
                rows.append(packing_against_loop(case, options.repeat, bitstring=True))
                rows.append(packing_against_loop(case, options.repeat, bitstring=False))
                written.append(everything_written(case, options.repeat))
    tools = ", ".join(
        f"{name} {version(name)}" for name in ("verilator", "cocotb", "numpy", "torch")
    )
    print(f"{os.cpu_count()} processors, {tools}, medians of {options.repeat}\n")
    show(rows)
    print("", *written, sep="\n")
    return 0


if __name__ == "__main__":
    if any(os.environ.get(name) != "1" for name in ONE_THREAD):  # numpy has read them already
        environment = {**os.environ, **dict.fromkeys(ONE_THREAD, "1")}
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)
    sys.exit(main())
