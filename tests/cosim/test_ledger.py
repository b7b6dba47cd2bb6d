# SPDX-License-Identifier: Apache-2.0
"""The ledger of the core: what it says of every nest is what golden predicts."""

import os
import random
import re
import shutil

import numpy as np
import pytest
from cosim.test_core_smoke import Shape, machine_of, random_case
from support import common_core, need, write_recipe

from bramcast.golden.frames import frames_from_arrays
from bramcast.golden.ledger import ledgers
from bramcast.golden.load import load
from bramcast.hw import FOLDER
from bramcast.pack.axi.registers import address_bits
from bramcast.pack.bundle.manifest import IMAGES
from bramcast.pack.bundle.program import Nest
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.sim.run.cosim import core_parameters
from bramcast.sim.run.runner import Tests, build, run

pytestmark = pytest.mark.cosim

TOP = "bramcast_axi"
BENCH = "bramcast.sim.benches.bench_ledger"


def packed(folder, name, core="", samples=2):
    """A bundle of a network of tests/networks.py, and its frames."""
    recipe = write_recipe(folder, name, core or common_core("GruNet", 16), samples=samples)
    pack(read_recipe(recipe), folder / "bundle")
    machine = load(folder / "bundle")
    x = np.load(folder / "inputs.npz")["x"]
    np.save(folder / "frames.npy", frames_from_arrays(x, machine.manifest.input))
    return machine


def simulate(folder, machine, bench, simulator, *, depth=1024, frame_depth=0, word=0, images=None):
    """Run a bench on the core with a ledger; what it wrote into the file of findings."""
    core = machine.core
    parameters = core_parameters(core) | {
        "AXI_ADDRESS_BITS": address_bits(core, depth, peek=True),
        "LEDGER_DEPTH": depth,
        "PEEK": 1,
        "FRAME_DEPTH": frame_depth,
    }
    env = {"LEDGER_BUNDLE": str(folder / "bundle"), "LEDGER_FRAMES": str(folder / "frames.npy"),
           "LEDGER_FOUND": str(folder / "found.txt"), "LEDGER_WORD": str(word)}  # fmt: skip
    env["LEDGER_GOLDEN"] = str(folder / "golden.npz")
    plusargs = images or {n: folder / "bundle" / f"{n}.mem" for n in IMAGES if core.depth(n)}
    built = build(TOP, parameters, simulator, ports_only=True)
    outcome = run(
        built, TOP, simulator, Tests(BENCH, testcase=bench, env=env, plusargs=plusargs),
        work=folder,
    )  # fmt: skip
    outcome.check()
    assert outcome.tests == 1
    found = folder / "found.txt"
    return found.read_text().splitlines() if found.exists() else []


NETWORKS = ("Mlp96", "VggCeil", "Averages", "SmoothActivations", "TensorProducts", "GruNet",
            "TwoHeads", "LanewiseLast")  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_every_entry_is_what_golden_predicts(name, tmp_path):
    need("verilator")
    machine = packed(tmp_path, name)
    simulate(tmp_path, machine, "every_entry_is_goldens", "verilator")


SHAPES = {
    "TAPS = 4, frame FIFO": ("VggCeil", "lanes = 8\ntaps = 4\nrq = 2\n", "", 32),
    "RQ = LANES, 16 bits": ("UnalignedConcat", "lanes = 4\nrq = 4\n", "activation_bits = 16\n", 0),
    "RQ = 1, narrow words": ("SignedUnsignedAdd", "lanes = 2\nrq = 1\n", "", 0),
    "TILES = 4, frame FIFO": ("VggCeil", "lanes = 4\ntaps = 2\ntiles = 4\nrq = 2\n", "", 32),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_entry_of_other_cores_is_what_golden_predicts(shape, tmp_path):
    need("verilator")
    name, core, formats, frame_depth = SHAPES[shape]
    machine = packed(tmp_path, name, f"[core]\n{core}[quantize]\n{formats}")
    bench = "every_entry_is_goldens"
    simulate(tmp_path, machine, bench, "verilator", depth=256, frame_depth=frame_depth)


def test_every_entry_is_what_golden_predicts_on_icarus(tmp_path):
    need("icarus")
    machine = packed(tmp_path, "TwoHeads", "[core]\nlanes = 8\nrq = 4\n", samples=1)
    simulate(tmp_path, machine, "every_entry_is_goldens", "icarus", depth=64, frame_depth=16)


HELD = {
    "VggCeil": "",
    "TwoHeads": "",
    "Averages": "lanes = 4\ntaps = 2\ntiles = 4\nscratch_depth = 300\n",
}


@pytest.mark.parametrize("name", HELD)
def test_a_run_holds_behind_any_nest(name, tmp_path):
    need("verilator")
    machine = packed(tmp_path, name, HELD[name] and f"[core]\n{HELD[name]}")
    simulate(tmp_path, machine, "a_run_holds_behind_any_nest", "verilator")


def first_words(machine):
    """The first weight word of each layer, by its name."""
    found = {}
    for nest, info in zip(machine.program[1:], machine.manifest.nests, strict=True):
        if not nest.max:
            found.setdefault(machine.manifest.layers[info.layer].name, nest.weight_base)
    return found


# With two entries the last fault lies in a layer that the ledger knows nothing of, and whatever
# arrives wrong may be the last layer's fault.
@pytest.mark.parametrize("name, depth", [("TwoHeads", 2), ("VggCeil", 1024)])
def test_faults_are_found_and_named_by_layer(name, depth, tmp_path):
    need("verilator")
    machine = packed(tmp_path, name)
    words = first_words(machine)
    layers = list(words)[: 3 if depth == 2 else None]
    word = words[layers[-1]]
    lines = simulate(tmp_path, machine, "faults_are_found", "verilator", depth=depth, word=word)
    good, sent, received, first, mended, last, whole = lines
    way = "output stream: beat 1: arrived" if depth > 2 else "output: output[channel"
    assert (good, mended, whole) == ("equal", "equal", "equal")
    assert sent.startswith(f"{layers[0]}: {layers[0]}[channel")
    assert received.startswith(way)
    assert first.startswith(f"{layers[0]}: {layers[0]}[channel 0, ")
    assert "weights in weights.mem:1" in first
    assert last.startswith(f"{layers[-1]}: {layers[-1]}[channel 0, ")
    assert f"weights in weights.mem:{word + 1}" in last


def test_a_stuck_lane_is_found_and_named(tmp_path, monkeypatch):
    """A copy of the core in which a bit of one lane's weights is stuck."""
    need("verilator")
    machine = packed(tmp_path, "Mlp96")
    shutil.copytree(FOLDER, tmp_path / "hw")
    array = tmp_path / "hw" / "bramcast_lane_array.sv"
    good = ".weight_i(weight_word_i[WEIGHT_BITS*M +: WEIGHT_BITS])"
    text = array.read_text()
    assert text.count(good) == 2  # of lanes, and of pairs of them
    stuck = good.replace("])", "] & ((M == 5) ? 8'hDF : 8'hFF))")
    array.write_text(text.replace(good, stuck))
    monkeypatch.setattr("bramcast.hw.FOLDER", tmp_path / "hw")
    (line,) = simulate(tmp_path, machine, "a_fault_of_the_core_is_found", "verilator")
    layer = machine.manifest.layers[0].name
    found = re.fullmatch(rf"{layer}: {layer}\[channel (\d+), .* lane 5, .*", line)
    assert found and int(found[1]) % 16 == 5, line


def test_what_lies_beyond_the_ledger_is_not_written(tmp_path):
    """Two entries for three nests: the first two are right, and the counter goes on."""
    need("icarus")
    machine = packed(tmp_path, "Mlp96", "[core]\nlanes = 16\n")
    simulate(tmp_path, machine, "entries_beyond_are_not_written", "icarus", depth=2)


# Stream nests stand anywhere in these programs, and LOOPs.
PROGRAMS = (
    Shape(LANES=8, RQ=2, GATES=1),
    Shape(LANES=4, RQ=2, TAPS=2, DATA_BITS=16, GATES=1, FRAME_DEPTH=32),
    Shape(LANES=4, RQ=4, FRAME_DEPTH=16),
    Shape(LANES=1, RQ=1),
    Shape(LANES=2, RQ=2, TAPS=2, SCRATCH_DEPTH=90, GATES=1, TILES=4),
    Shape(LANES=4, RQ=1, SCRATCH_DEPTH=90, FRAME_DEPTH=16, TILES=8),
)


@pytest.mark.parametrize("shape", PROGRAMS, ids=lambda s: s.name)
def test_every_entry_of_random_programs_is_what_golden_predicts(shape, tmp_path):
    need("verilator")
    seed = int(os.environ.get("SEED") or random.randrange(2**32))
    print(f"SEED={seed}")
    rng = random.Random(seed)
    for number in range(4):
        case = random_case(rng, shape)
        while sum(isinstance(d, Nest) and d.stream for d in case.program) < 1 + number % 3:
            case = random_case(rng, shape)
        machine = machine_of(case)
        frames = np.array(case.frames, np.int64)
        results = machine.run(frames, keep_layers=True)
        entries = ledgers(machine, results)
        work = tmp_path / str(number)
        work.mkdir()
        np.save(work / "frames.npy", frames)
        np.savez(
            work / "golden.npz",
            crcs=np.array([[e.crc for e in of_frame] for of_frame in entries]),
            cycles=np.array([e.cycles for e in entries[0]]),
            beats=results.beats,
        )
        bench = "every_entry_of_a_program_is_goldens"
        simulate(
            work, machine, bench, "verilator",
            frame_depth=shape.FRAME_DEPTH, images=case.write(work),
        )  # fmt: skip
