# SPDX-License-Identifier: Apache-2.0
"""bramcast_axi in a storm: random frames, gaps, aborts, limits and resets, against golden.

What is checked, storm_harness.cpp tells. SEED=n repeats a run; FRAMES=n takes another number.
"""

import os
import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support import ROOT, need, text_recipe

from bramcast.golden.frames import frames_from_arrays
from bramcast.golden.load import load
from bramcast.golden.machine import Machine
from bramcast.hw import FOLDER, sources
from bramcast.pack.axi.registers import address_bits
from bramcast.pack.bundle.cycles import predict
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.sim.run.cosim import image_plusargs
from bramcast.sim.run.fast import build as build_harness

pytestmark = pytest.mark.cosim

MODEL = """
import torch.nn as nn
class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 6))
"""
EXTRA = "[core]\nlanes = 4\n[quantize]\ninput_planes = 1\n"
SAMPLES = 16
EVERY = {
    "whole", "timed", "timed aborts", "marked", "lost", "aborts", "second aborts", "ABORT", "RESET",
    "timeouts", "sinks", "started", "snapshots", "one more frame", "rst", "packets cut by rst",
    "frames cut by rst", "given up", "whole in an abort",
}  # fmt: skip
BORDERS = {"short", "long", "several times too long"}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> tuple[Machine, Path]:
    """A network whose frame takes about a hundred cycles; frames and golden's results as a file."""
    folder = tmp_path_factory.mktemp("storm")
    rng = np.random.default_rng(1)
    shapes = {"0.weight": (10, 12), "0.bias": (10,), "2.weight": (6, 10), "2.bias": (6,)}
    state = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    x = rng.normal(size=(SAMPLES, 12))
    pack(read_recipe(text_recipe(folder, MODEL, x, state, EXTRA)), folder / "b")
    machine = load(folder / "b")
    frames = frames_from_arrays(x.astype(np.float32), machine.manifest.input)
    beats = machine.run(frames).beats
    assert len(np.unique(frames, axis=0)) == len(np.unique(beats, axis=0)) == SAMPLES
    stored = frames & ((1 << machine.core.data_bits) - 1)
    np.hstack([stored, beats]).astype("<i4").tofile(folder / "samples.bin")
    return machine, folder


def storm(
    network: tuple[Machine, Path],
    frames: int,
    *,
    frame_depth: int = 0,
    tlast_ends: int = 1,
    hdl: list[Path] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Build the harness, unless it is there, and run it."""
    machine, data = network
    core = machine.core
    extra = {"FRAME_DEPTH": frame_depth, "TLAST_ENDS": tlast_ends}
    extra["AXI_ADDRESS_BITS"] = address_bits(core)
    folder = ROOT / "tests" / "cosim"
    program = build_harness(
        core,
        folder / "storm_harness.cpp",
        top="bramcast_axi",
        extra=extra,
        sources=[*(hdl or sources()), folder / "storm.vlt"],
    )
    seed = int(os.environ.get("SEED") or random.randrange(2**32))
    frames = int(os.environ.get("FRAMES") or frames)
    numbers = {
        "elements": machine.beats_in,
        "beats": machine.beats_out,
        "count": SAMPLES,
        "cycles": predict(machine.program, core).total,
        "borders": tlast_ends,
        "frames": frames,
        "seed": seed,
    }
    arguments = [f"+{name}={value}" for name, value in numbers.items()]
    arguments += [f"+{name}={path}" for name, path in image_plusargs(data / "b", core).items()]
    arguments += [f"+samples={data / 'samples.bin'}"]
    print(f"SEED={seed}")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    print(done.stdout)
    return done


def check(done: subprocess.CompletedProcess[str], wanted: set[str]) -> None:
    """No check has failed, and all that is wanted has happened."""
    assert done.returncode == 0, done.stderr
    happened = {line.split(":")[0] for line in done.stdout.splitlines() if ":" in line}
    assert wanted <= happened, f"this never happened: {wanted - happened}"


@pytest.mark.parametrize("frame_depth, tlast_ends", [(0, 1), (32, 1), (32, 0)])
def test_a_thousand_frames_in_a_storm(
    frame_depth: int, tlast_ends: int, network: tuple[Machine, Path]
) -> None:
    need("verilator")
    done = storm(network, 1000, frame_depth=frame_depth, tlast_ends=tlast_ends)
    check(done, {"whole", "timed", "marked", "lost", "ABORT", "RESET", "rst", "one more frame"})


@pytest.mark.slow
@pytest.mark.parametrize("tlast_ends", [1, 0])
@pytest.mark.parametrize("frame_depth", [0, 32])
def test_two_hundred_thousand_frames_in_a_storm(
    frame_depth: int, tlast_ends: int, network: tuple[Machine, Path]
) -> None:
    need("verilator")
    done = storm(network, 200_000, frame_depth=frame_depth, tlast_ends=tlast_ends)
    check(done, EVERY | BORDERS if tlast_ends else EVERY)


# What is broken in a module of the core, its old text, the new one, and what the harness says.
BROKEN = {
    "a stream opens for a cycle": (
        "input", " && !(dropped_o && withdraw_i)", "", "a frame begins without RUN and START"
    ),
    "no mark": ("output", "mark_q        <= 1'b1;", "mark_q        <= 1'b0;", "not the result"),
    "an abort takes a beat back": (
        "output", "    if (rst) begin\n      m_axis_tvalid <=",
        "    if (rst || flush_i) begin\n      m_axis_tvalid <=", "a beat that waits must stay",
    ),
    "beats go on without TREADY": (
        "output", "&& (!m_axis_tvalid || m_axis_tready);", ";", "a beat that waits must not change"
    ),
    "results stay in the FIFO": (
        "output", "if (rst || flush_i) begin\n      write_q", "if (rst) begin\n      write_q", ""
    ),
    "frames stay in the FIFO": (
        "frames", "if (rst || flush_i) begin\n      write_q", "if (rst) begin\n      write_q", ""
    ),
    "an abort leaves a frame's rest": (
        "core", "settled_q && !input_open", "settled_q", "in the middle of a frame"
    ),
    "an abort never ends": ("core", "&& !output_busy) aborting", "&& 1'b0) aborting", "hang"),
    "a cycle is counted twice": (
        "sequence", "run_start_q ? 32'd1", "run_start_q ? 32'd2", "more cycles than predicted"
    ),
    "no limit": ("watch", "limited_q && ran_q ==", "1'b0 && ran_q ==", "LIMIT does not end"),
    "a limit too early": (
        "watch", "ran_q == limit_o", "ran_q == (limit_o >> 1)", "an abort without a cause"
    ),
    "CYCLES does not wait for FRAMES": (
        "registers", "if (snap_o) begin\n      snap_cycles_q", "if (1) begin\n      snap_cycles_q",
        "is of another frame than FRAMES",
    ),
    "ABORT is forgotten": (
        "registers", "abort_o       <= soft_abort ||", "abort_o       <= ", "does not abort"
    ),
    "DROPPED counts two": ("registers", "dropped_q + 16'd1", "dropped_q + 16'd2", "DROPPED"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_core_is_found(fault: str, network: tuple[Machine, Path], tmp_path: Path) -> None:
    need("verilator")
    name, old, new, said = BROKEN[fault]
    shutil.copytree(FOLDER, tmp_path / "hw")
    path = tmp_path / "hw" / f"bramcast_{name}.sv"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    copies = [tmp_path / "hw" / source.name for source in sources()]
    done = storm(network, 20_000, frame_depth=32 if name == "frames" else 0, hdl=copies)
    assert done.returncode == 1 and "failed: " in done.stderr and said in done.stderr, done.stderr
