# SPDX-License-Identifier: Apache-2.0
"""Runs a bundle's images on the HDL core and compares every layer with golden."""

import random
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bramcast.golden.frames import frames_of, output_packets
from bramcast.golden.load import load
from bramcast.golden.machine import Machine
from bramcast.pack.bundle.cycles import predict
from bramcast.pack.bundle.errors import InputError, ToolError
from bramcast.pack.bundle.formats.readmem import read_mem
from bramcast.pack.bundle.images import word_layout
from bramcast.pack.bundle.manifest import IMAGES, Core
from bramcast.sim.run.compare import Compared, Comparison, compare
from bramcast.sim.run.hdl_log import HdlLog, read_log
from bramcast.sim.run.runner import Tests, build, run

TOP = "bramcast_sim_top"
BENCH = "bramcast.sim.benches.bench_core"
STALL = 0.25

Report = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class SimResult(Compared):
    """What ``bramcast sim`` says.

    Attributes:
        samples: frames that went through the HDL.
        comparison: verdict on every layer.
        predicted: cycles per frame that golden predicts.
        utilisation: MACs / multipliers / cycles.
        seed: of the gaps and the backpressure.
        waves: the recorded waves, if asked for.
    """

    simulator: str
    samples: int
    comparison: Comparison
    predicted: int
    macs: int
    multipliers: int
    seed: int
    waves: Path | None


def core_parameters(core: Core) -> dict[str, int]:
    """The HDL parameters of a bundle's core: its fields, in upper case.

    >>> core_parameters(Core(16, 1, 8, 8, 2, 64, 32, 40, 0, 99, gates=True))["GATES"]
    1
    """
    return {field.name.upper(): int(getattr(core, field.name)) for field in fields(core)}


def simulate(
    bundle: Path,
    samples: NDArray[np.floating],
    simulator: str,
    *,
    against: Path | None = None,
    allow_modified: bool = False,
    seed: int | None = None,
    stall: float = STALL,
    waves: Path | None = None,
    report: Report = lambda what, done, of: None,
) -> SimResult:
    """Run samples through the HDL and compare every element of every layer with golden.

    Args:
        bundle: whose images the HDL loads.
        samples: [n, *shape], real values.
        against: the bundle whose golden is the reference, if it is not the same one.
        seed: of random gaps and backpressure; a new one if None.
        stall: their probability.
        waves: where to write an FST file.

    Raises:
        UserError: broken images, an illegal program, a missing simulator.
    """
    hardware = load(bundle, allow_modified)  # the validator runs before the HDL
    machine = hardware if against is None else load(against)
    assert machine.manifest is not None
    if machine.core != hardware.core:
        raise InputError(
            f"{bundle} and {against} are packed for cores with different parameters; "
            "only bundles for the same core can be compared"
        )
    if against is not None and hardware.frame != machine.frame:
        raise InputError(f"{bundle} and {against} take input frames of different shapes")
    seed = random.randrange(1 << 31) if seed is None else seed
    frames = frames_of(samples, machine.manifest)
    report("golden", 0, len(frames))
    results = machine.run(frames, keep_layers=True)
    report("golden", len(frames), len(frames))
    report(f"building for {simulator}", 0, 1)
    folder = build(
        TOP,
        {**core_parameters(machine.core), "TLAST_ENDS": machine.frame.tlast_ends},
        simulator,
        timing=True,
        ports_only=True,
        waves=waves is not None,
    )
    report(f"building for {simulator}", 1, 1)
    work = Path(tempfile.mkdtemp(prefix="bramcast-"))
    try:
        report(f"{simulator}", 0, len(frames))
        log, beats, failure = _run(
            folder, bundle, hardware, frames, work, simulator, seed, stall, waves
        )
        comparison = compare(machine, results, log, beats)
        if failure and not comparison.mismatches:
            raise ToolError(failure)
    except ToolError:
        raise  # its message names a file in that folder
    except BaseException:
        shutil.rmtree(work)
        raise
    shutil.rmtree(work)
    report(f"{simulator}", len(frames), len(frames))
    return SimResult(
        simulator,
        len(frames),
        comparison,
        predict(machine.program, machine.core).total,
        machine.manifest.macs,
        machine.core.multipliers,
        seed,
        waves,
    )


def image_plusargs(bundle: Path, core: Core) -> dict[str, Path]:
    """Plusargs that make the core load a bundle's images."""
    return {name: (bundle / f"{name}.mem").resolve() for name in IMAGES if core.depth(name)}


def _run(
    folder: Path,
    bundle: Path,
    hardware: Machine,
    frames: NDArray[np.int64],
    work: Path,
    simulator: str,
    seed: int,
    stall: float,
    waves: Path | None,
) -> tuple[HdlLog, NDArray[np.int64] | None, str]:
    """Run the bench: (the HDL's log, what the sink took, what failed or "")."""
    np.save(work / "frames.npy", frames)
    # By names in the folder where the simulator runs: Icarus can't read letters beyond ASCII.
    images = image_plusargs(bundle, hardware.core)
    for name, path in images.items():
        (work / f"{name}.mem").symlink_to(path)
    plusargs = {**{name: f"{name}.mem" for name in images}, "log": "hdl.log"}
    cycles = predict(hardware.program, hardware.core).total
    outcome = run(
        folder,
        TOP,
        simulator,
        Tests(
            BENCH,
            env={
                "BRAMCAST_FRAMES": str(work / "frames.npy"),
                "BRAMCAST_BEATS": str(work / "beats.npy"),
                "BRAMCAST_SENT": ",".join(map(str, hardware.frame.packet_elements)),
                "BRAMCAST_TAKEN": ",".join(map(str, output_packets(hardware))),
                "BRAMCAST_STALL": str(stall),
                "BRAMCAST_CYCLES": str(_limit(hardware, cycles, frames.shape[1])),
            },
            plusargs=plusargs,
        ),
        work=work,
        seed=seed,
        waves=waves,
    )
    failure = ""
    if outcome.failures:
        message = outcome.failures[0].message
        failure = f"the simulation failed: {message} (output in {outcome.log})"
    log = work / "hdl.log"
    if failure and not (log.is_file() and log.stat().st_size):
        raise ToolError(failure)
    beats = np.load(work / "beats.npy") if (work / "beats.npy").is_file() else None
    return read_log(log), beats, failure


def _limit(machine: Machine, cycles: int, beats_in: int) -> int:
    """Clock cycles after which a frame counts as lost, gaps and backpressure included."""
    return 4 * (cycles + beats_in + machine.beats_out) + 10_000


def changed_lines(bundle: Path, against: Path, core: Core) -> list[str]:
    """``weights.mem:17`` for every line in which two bundles' images differ."""
    lines = []
    for name in IMAGES:
        if not core.depth(name):
            continue
        bits, depth, what = core.word_bits(name), core.depth(name), word_layout(name, core)
        one, two = (read_mem(b / f"{name}.mem", bits, depth, what) for b in (bundle, against))
        wrong = (one.data != two.data).any(axis=1)
        lines += [f"{name}.mem:{i + 1}" for i in np.flatnonzero(wrong)]
    return lines
