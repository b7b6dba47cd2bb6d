# SPDX-License-Identifier: Apache-2.0
"""Whole test sets through the RTL: the Verilated core in a C++ harness, several processes at once.

``sim/run/cosim.py`` asks more of the core (gaps, backpressure, two simulators, waves); this module
asks the same of many samples. Nothing but C++ runs while the clock does: frames go in as one binary
file, results come back as another (``sim/run/fast_harness.cpp``); both are compared afterwards.
"""

import os
import platform
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bramcast.golden.frames import Output, as_samples, frames_of, outputs_from_beats
from bramcast.golden.groups import Groups
from bramcast.golden.load import load
from bramcast.golden.machine import Machine, NestResult, Results
from bramcast.hw import sources as hw_sources
from bramcast.pack.bundle.cycles import predict
from bramcast.pack.bundle.errors import InputError, ToolError
from bramcast.pack.bundle.manifest import Core
from bramcast.pack.bundle.program import Nest
from bramcast.sim.run.compare import Compared, Comparison, Difference, LayerVerdict, compare
from bramcast.sim.run.cosim import Report, core_parameters, image_plusargs
from bramcast.sim.run.hdl_log import BEAT, DONE, HdlLog, read_log
from bramcast.sim.run.runner import cached, missing_verilator, tool_version, verilator_environment

TOP = "bramcast_core"
HARNESS = Path(__file__).resolve().parent / "fast_harness.cpp"
LOG_BYTES = 1 << 26  # log of one process at a time; more frames run in parts
SPARE_CLOCKS = 10_000  # a frame that takes so many more than twice its time counts as lost
_PROGRAM = "fast_core"
_LOG = "build.log"
_FLAGS = ("-O3", "--x-assign", "fast", "--x-initial", "fast", "--no-timing", "-CFLAGS", "-O3")
_FRAME_LOST = 3  # exit code of the harness


@dataclass(frozen=True, slots=True, eq=False)
class FastResult(Compared):
    """What ``bramcast sim --fast`` says.

    Attributes:
        comparison: verdict on every layer, or on the output alone if not ``all_layers``.
        all_layers: every result word of every nest was compared.
        predicted: cycles per frame that golden predicts.
        wrong_cycles: samples that took another number of cycles.
        lost: why a process stopped before its last frame, or "".
        outputs: what the core sent; 0 where nothing came.
        clocks: simulated clock cycles, of all samples and processes, input included.
        seconds: from the start of the first process to the last result (compared, if all_layers).
    """

    samples: int
    comparison: Comparison
    all_layers: bool
    predicted: int
    wrong_cycles: tuple[int, ...]
    macs: int
    multipliers: int
    lost: str
    outputs: tuple[Output, ...]
    jobs: int
    clocks: int
    seconds: float


def build(
    core: Core,
    harness: Path = HARNESS,
    *,
    top: str = TOP,
    extra: Mapping[str, int] | None = None,
    sources: Sequence[Path] | None = None,
) -> Path:
    """Compile a C++ harness around the core, unless the cache has the result: the program.

    Args:
        top: the module that the harness drives.
        extra: its parameters beside those of the core.
        sources: instead of those of hw/.

    Raises:
        ToolError: Verilator is missing, or it refuses the sources.
    """
    reason = missing_verilator()
    if reason:
        raise ToolError(reason)
    values = core_parameters(core) | dict(extra or {})
    parameters = [f"-G{name}={value}" for name, value in sorted(values.items())]
    sources = [*(sources or hw_sources()), harness]
    command = ["verilator", "--cc", "--exe", "--build", "--top-module", top, "-Wno-fatal"]
    command += [*_FLAGS, *parameters, "-o", _PROGRAM]

    def compile_into(folder: Path) -> None:
        with (folder / _LOG).open("w") as log:
            done = subprocess.run(
                [*command, "-Mdir", str(folder), *(str(source) for source in sources)],
                env=verilator_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=False,
            )
        if done.returncode:
            raise ToolError(
                f"verilator can't build {harness.name} with {' '.join(parameters)}:\n"
                + _tail(folder / _LOG)
            )
        for file in folder.iterdir():
            if file.name not in (_PROGRAM, _LOG):
                file.unlink()

    facts = (tool_version("verilator"), platform.machine(), *command)
    return cached(f"{harness.stem}-{top}", facts, sources, compile_into) / _PROGRAM


def _tail(path: Path, lines: int = 30) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


# ------------------------------------------------------------------------------ processes


@dataclass(frozen=True, slots=True, eq=False)
class _Answer:
    """What one process gave back for its frames.

    Attributes:
        cycles: int64 [frames], cycles_o; 0 for a frame that gave no result.
        counts: int64 [frames], beats until done_o.
        beats: int64 [frames, beats], those that did not come are 0.
        lost: why the simulation stopped early, or "".
    """

    cycles: NDArray[np.int64]
    counts: NDArray[np.int64]
    beats: NDArray[np.int64]
    clocks: int
    lost: str


class _Hardware:
    """A compiled core with a bundle's images, ready to be started several times."""

    def __init__(self, bundle: Path, machine: Machine, report: Report) -> None:
        self.machine = machine
        self.cycles = predict(machine.program, machine.core).total
        report("building for verilator", 0, 1)
        self._program = build(machine.core)
        report("building for verilator", 1, 1)
        limit = 2 * (self.cycles + machine.beats_in + machine.beats_out) + SPARE_CLOCKS
        self._arguments = [
            *(f"+{k}={v}" for k, v in image_plusargs(bundle, machine.core).items()),
            f"+beats_in={machine.beats_in}",
            f"+beats_out={machine.beats_out}",
            f"+limit={limit}",
        ]

    def run(
        self,
        frames: NDArray[np.int64],
        work: Path,
        log: Path | None = None,
        progress: Callable[[int], None] = lambda done: None,
    ) -> _Answer:
        """Send frames [n, beats] through one process; ``work`` is a folder of its own."""
        element = np.uint8 if self.machine.core.data_bits == 8 else np.uint16
        (work / "frames.bin").write_bytes(np.ascontiguousarray(frames, element).data)
        command = [str(self._program), *self._arguments]
        command += [f"+frames={work / 'frames.bin'}", f"+results={work / 'results.bin'}"]
        if log is not None:
            command.append(f"+log={log}")
        clocks = 0
        with (
            (work / "errors.txt").open("w") as errors,
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                errors="replace",
            ) as process,
        ):
            assert process.stdout is not None
            for line in process.stdout:
                words = line.split()
                if words[:1] == ["frames"]:
                    progress(int(words[1]))
                elif words[:1] == ["done"]:
                    clocks = int(words[1])
        said = _tail(work / "errors.txt")
        if process.returncode not in (0, _FRAME_LOST):
            raise ToolError(f"the simulation ended with code {process.returncode}:\n{said}")
        beats_out = self.machine.beats_out
        raw = np.fromfile(work / "results.bin", np.int32).reshape(-1, beats_out + 2)
        found = np.zeros((len(frames), beats_out + 2), np.int64)
        found[: len(raw)] = raw
        progress(len(frames))
        return _Answer(
            found[:, 0], found[:, 1], found[:, 2:], clocks, said if process.returncode else ""
        )


def _slices(total: int, parts: int) -> list[slice]:
    """``total`` samples as ``parts`` slices of nearly the same length.

    >>> _slices(5, 2)
    [slice(0, 3, None), slice(3, 5, None)]
    """
    ends = [total * i // parts + (total * i % parts > 0) for i in range(parts + 1)]
    return [slice(a, b) for a, b in zip(ends, ends[1:], strict=False)]


class _Progress:
    """Adds up what several threads have finished."""

    def __init__(self, report: Report, what: str, total: int) -> None:
        self._report, self._what, self._total = report, what, total
        self._done: dict[int, int] = {}
        self._lock = threading.Lock()
        report(what, 0, total)

    def of(self, part: int) -> Callable[[int], None]:
        def update(done: int) -> None:
            with self._lock:
                self._done[part] = done
                self._report(self._what, sum(self._done.values()), self._total)

        return update


def _processes(jobs: int | None, samples: int) -> int:
    if jobs is not None and jobs < 1:
        raise InputError(f"jobs must be at least 1, got {jobs}")
    return max(1, min(samples, jobs or os.cpu_count() or 1))


# ------------------------------------------------------------------------------ comparison


def _digits(core: Core) -> int:
    """Hex digits of DATA in the log (docs/core.md, "Log")."""
    return max(8, -(-core.lanes * core.data_bits // 4))


def _read_log(path: Path, core: Core) -> HdlLog:
    """The log; without a line if the first frame was lost before its first tap."""
    if path.is_file() and not path.stat().st_size:
        none = np.zeros(0, np.int64)
        return HdlLog(none, none, none, np.zeros((0, _digits(core)), np.uint8))
    return read_log(path)


def _log_bytes(machine: Machine) -> int:
    """Bytes of the log of one frame."""
    nests = [d for d in machine.program if isinstance(d, Nest)]
    words = sum(Groups.of(nest, machine.core).rows for nest in nests if not nest.stream)
    return (words + machine.beats_out + len(nests) + 1) * (15 + _digits(machine.core))


def _stream_nests(machine: Machine) -> list[tuple[int, int]]:
    """(descriptor, beats) of every nest that sends results."""
    found = []
    for index, d in enumerate(machine.program):
        if isinstance(d, Nest) and d.stream:
            found.append((index, Groups.of(d, machine.core).results))
    return found


def _compare_beats(machine: Machine, expected: NDArray[np.int64], answer: _Answer) -> Comparison:
    """The output stream of all frames against golden's beats [frames, beats]."""
    manifest = machine.manifest
    assert manifest is not None
    frames, beats = expected.shape
    common = min(beats, answer.beats.shape[1])
    wrong = np.ones((frames, beats), np.bool_)
    wrong[:, :common] = answer.beats[:, :common] != expected[:, :common]
    wrong |= np.arange(beats) >= answer.counts[:, None]
    extra = np.maximum(0, answer.counts - beats)
    verdicts: dict[int, LayerVerdict] = {}
    position = 0
    nests = _stream_nests(machine)
    for descriptor, count in nests:
        index = manifest.nests[descriptor - 1].layer
        layer = manifest.layers[index]
        old = verdicts.get(index, LayerVerdict(layer.name, layer.op, 0, 0, 0, layer.macs))
        bad = int(wrong[:, position : position + count].sum())
        if descriptor == nests[-1][0]:
            bad += int(extra.sum())
        verdicts[index] = replace(
            old, elements=old.elements + frames * count, mismatches=old.mismatches + bad
        )
        position += count
    bad_samples = np.flatnonzero(np.any(wrong, axis=1) | (extra > 0))
    first = None
    if bad_samples.size:
        sample = int(bad_samples[0])
        sent = np.zeros(int(answer.counts[sample]), np.int64)
        known = min(len(sent), answer.beats.shape[1])
        sent[:known] = answer.beats[sample, :known]
        first = _first_difference(machine, expected[sample], sent, sample)
        if first is not None and not wrong[sample].any():
            first = replace(first, hdl=f"{len(sent)} beats", golden=f"{beats} beats")
    cycles = int(answer.cycles[0]) if frames else 0
    return Comparison(list(verdicts.values()), cycles, first)


def _first_difference(
    machine: Machine, expected: NDArray[np.int64], sent: NDArray[np.int64], sample: int
) -> Difference | None:
    """What compare() says about one sample's beats: written as a log, they are compared as one."""
    nests = _stream_nests(machine)
    of_beat = np.repeat([d for d, _ in nests], [n for _, n in nests])[: len(sent)]
    of_beat = np.concatenate([of_beat, np.full(len(sent) - len(of_beat), nests[-1][0])])
    nest = np.append(of_beat, nests[-1][0]).astype(np.int64)
    kind = np.append(np.full(len(sent), BEAT), DONE).astype(np.int64)
    raw = np.append(sent, 0) & 0xFFFF_FFFF
    digits = (raw[:, None] >> np.arange(28, -1, -4)) & 15
    log = HdlLog(kind, nest, np.arange(len(kind)), digits.astype(np.uint8))
    none = np.zeros((1, 0, machine.core.lanes), np.int32)
    parts = tuple(NestResult(d, np.zeros(0, np.int64), none) for d, _ in nests)
    first = compare(machine, Results(expected[None], parts), log, None).first
    return None if first is None else replace(first, sample=sample)


def _merged(parts: list[Comparison], starts: list[int]) -> Comparison:
    """The verdict on all parts; ``starts`` are the numbers of their first samples."""
    layers = [
        replace(
            same[0],
            elements=sum(layer.elements for layer in same),
            mismatches=sum(layer.mismatches for layer in same),
        )
        for same in zip(*(part.layers for part in parts), strict=True)
    ]
    first = None
    for part, start in zip(parts, starts, strict=True):
        if part.first is not None:
            first = replace(part.first, sample=part.first.sample + start)
            break
    return Comparison(layers, parts[0].cycles, first)


def simulate_fast(
    bundle: Path,
    samples: NDArray[np.floating],
    *,
    layers: bool = False,
    jobs: int | None = None,
    against: Path | None = None,
    allow_modified: bool = False,
    report: Report = lambda what, done, of: None,
) -> FastResult:
    """Run samples through the Verilated core at full speed and compare with golden.

    Args:
        bundle: whose images the core loads.
        samples: [n, *shape], real values.
        layers: compare every result word of every nest, not only the output.
        jobs: processes; as many as the machine has processors if None.
        against: the bundle whose golden is the reference, if it is not the same one.

    Raises:
        UserError: broken images, an illegal program, Verilator missing.
    """
    hardware = load(bundle, allow_modified)  # the validator runs before the HDL
    machine = hardware if against is None else load(against)
    assert machine.manifest is not None
    if machine.core != hardware.core:
        raise InputError(
            f"{bundle} and {against} are packed for cores with different parameters; "
            "only bundles for the same core can be compared"
        )
    frames = frames_of(samples, machine.manifest)
    if frames.shape[1] != hardware.beats_in:
        raise InputError(f"{bundle} takes {hardware.beats_in} elements, {against} another number")
    core = _Hardware(bundle, hardware, report)
    jobs = _processes(jobs, len(frames))
    count = jobs
    if layers:
        fitting = max(1, LOG_BYTES // _log_bytes(hardware))
        count = max(jobs, -(-len(frames) // fitting))
    parts = _slices(len(frames), count)
    expected = None if layers else machine.run(frames).beats
    golden = threading.Lock()  # a machine has one workspace
    progress = _Progress(report, "verilator", len(frames))

    def run_part(number: int) -> tuple[_Answer, Comparison]:
        part = parts[number]
        with tempfile.TemporaryDirectory(prefix="bramcast-") as folder:
            work = Path(folder)
            log = work / "hdl.log" if layers else None
            answer = core.run(frames[part], work, log, progress.of(number))
            if expected is not None:
                return answer, _compare_beats(machine, expected[part], answer)
            assert log is not None
            beats = answer.beats if np.all(answer.counts == machine.beats_out) else None
            if hardware.beats_out != machine.beats_out:
                beats = None
            with golden:
                results = machine.run(frames[part], keep_layers=True)
                return answer, compare(machine, results, _read_log(log, hardware.core), beats)

    begin = time.perf_counter()
    with ThreadPoolExecutor(jobs) as pool:
        done = list(pool.map(run_part, range(len(parts))))
    seconds = time.perf_counter() - begin
    answers = [answer for answer, _ in done]
    cycles = np.concatenate([answer.cycles for answer in answers])
    return FastResult(
        samples=len(frames),
        comparison=_merged([c for _, c in done], [part.start for part in parts]),
        all_layers=layers,
        predicted=core.cycles,
        wrong_cycles=tuple(int(i) for i in np.flatnonzero(cycles != core.cycles)),
        macs=machine.manifest.macs,
        multipliers=machine.core.multipliers,
        lost=next((answer.lost for answer in answers if answer.lost), ""),
        outputs=tuple(outputs_from_beats(np.concatenate([a.beats for a in answers]), hardware)),
        jobs=jobs,
        clocks=sum(answer.clocks for answer in answers),
        seconds=seconds,
    )


def rtl_predict(
    bundle: Path | str,
    x: ArrayLike | Mapping[str, ArrayLike],
    jobs: int | None = None,
    *,
    integers: bool = False,
    allow_modified: bool = False,
) -> NDArray[np.float64] | NDArray[np.int64] | dict[str, NDArray[Any]]:
    """What the hardware answers: the Verilated core with a bundle's images, at full speed.

    Args:
        bundle: folder written by ``bramcast pack``.
        x: [N, *sample shape]; floats are quantized as a driver would do it, integers are taken
            to be in the input's format. Of several inputs such an array for each name.
        jobs: processes; as many as the machine has processors if None.
        integers: the numbers as they leave the core, int64, instead of their real values.

    Returns:
        [N, *output shape]; of several outputs such an array for each name.

    Raises:
        UserError: wrong shape, broken images, Verilator missing, or a frame without an answer.
    """
    machine = load(Path(bundle), allow_modified)
    assert machine.manifest is not None
    frames = frames_of(as_samples(x, machine.manifest), machine.manifest)
    core = _Hardware(Path(bundle), machine, lambda what, done, of: None)
    jobs = _processes(jobs, len(frames))
    parts = _slices(len(frames), jobs)

    def run_part(part: slice) -> NDArray[np.int64]:
        with tempfile.TemporaryDirectory(prefix="bramcast-") as folder:
            answer = core.run(frames[part], Path(folder))
        lost = np.flatnonzero(answer.counts != machine.beats_out)
        if lost.size:
            raise ToolError(
                f"sample {part.start + int(lost[0])}: {answer.counts[lost[0]]} of "
                f"{machine.beats_out} results came {answer.lost}".rstrip()
            )
        return answer.beats

    with ThreadPoolExecutor(jobs) as pool:
        beats = np.concatenate(list(pool.map(run_part, parts)))
    found = {
        one.name: one.integers if integers else one.real
        for one in outputs_from_beats(beats, machine)
    }
    return found if len(found) > 1 else found[""]
