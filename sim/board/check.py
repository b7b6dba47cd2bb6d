# SPDX-License-Identifier: Apache-2.0
"""A session with a core on a serial line: load, run samples, compare each with golden."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bramcast.board.line import Line
from bramcast.golden.frames import frames_of
from bramcast.golden.load import load
from bramcast.pack.axi.driver import Driver
from bramcast.pack.axi.registers import mask
from bramcast.pack.bundle.cycles import predict
from bramcast.pack.bundle.errors import DeviceError
from bramcast.pack.bundle.manifest import Core
from bramcast.sim.board.verify import OUTPUT, FrameCheck, LayerCheck, first_difference

Report = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class LayerRow:
    """A layer of all samples.

    Attributes:
        nests: executed nests of a sample; 0 for ``OUTPUT``, what has arrived here.
        checked: those that the ledger knows.
        cycles, predicted: of a sample, where they could be compared.
        different: samples in which the layer is another than golden's.
        crc, golden_crc: as in ``LayerCheck``, of the first sample that differs, or the first one.
    """

    name: str
    op: str
    nests: int
    checked: int
    cycles: int
    predicted: int
    different: int
    crc: int | None = None
    golden_crc: int | None = None


@dataclass(frozen=True, slots=True)
class BoardResult:
    """What ``bramcast board`` says.

    Attributes:
        core: the parameters that the core is built with.
        ledger: nests that its ledger holds; 0: only what arrives is compared.
        written: images that were loaded; the others were there already.
        cycles: of each sample, without waits of results for the line that cost any.
        predicted: what golden predicts.
        first: the first difference, or "".
        repeated: requests that were sent again.
    """

    core: Core
    ledger: int
    written: tuple[str, ...]
    samples: int
    layers: tuple[LayerRow, ...]
    cycles: tuple[int, ...]
    predicted: int
    first: str
    repeated: int

    @property
    def equal(self) -> bool:
        """All that could be compared, and every sample took the cycles that are predicted."""
        return not self.first


def check_board(
    line: Line,
    bundle: Path,
    samples: NDArray[np.generic],
    *,
    reload: bool = False,
    report: Report = lambda what, done, of: None,
) -> BoardResult:
    """Load a bundle into a core, run samples through it, compare all of it with golden.

    Args:
        samples: [n, *shape], real values, or integers in the input's format.
        reload: write every image; else those whose CRC-32 is right stay.

    Raises:
        UserError: broken images, a bundle that does not fit the core, or a core that does not
            answer as it should.
    """
    machine = load(bundle)
    assert machine.manifest is not None
    frames = frames_of(samples, machine.manifest)
    driver = Driver(line)
    end_earlier_run(line, driver)
    line.report = lambda done, of: report("loading", done, of)
    written = driver.load(bundle, keep=not reload)
    line.report = lambda done, of: None
    if line.identity.standing:
        drop_standing_element(line, driver)
    checks: list[LayerCheck] = []
    cycles: list[int] = []
    predicted = predict(machine.program, machine.core).total
    for number, frame in enumerate(frames):
        report("samples", number, len(frames))
        checks += _checked(driver, FrameCheck(driver, line, machine, frame, number))
        last = driver.last()
        # A beat that waits may hold up taps, or not: at most all of its cycles count.
        cycles.append(min(max(predicted, last.cycles - last.waited), last.cycles))
    report("samples", len(frames), len(frames))
    return BoardResult(
        core=driver.core,
        ledger=driver.ledger_depth,
        written=tuple(written),
        samples=len(frames),
        layers=_rows(checks),
        cycles=tuple(cycles),
        predicted=predicted,
        first=_first(checks, cycles, predicted),
        repeated=line.repeated,
    )


def _checked(driver: Driver, frame: FrameCheck) -> list[LayerCheck]:
    """One sample's layers.

    Raises:
        DeviceError: no result comes, with what the core says about it.
    """
    try:
        return frame.checks()
    except DeviceError as lost:
        names = driver.errors()
        raise DeviceError(
            f"sample {frame.sample}: {lost}" + (f" (ERRORS: {', '.join(names)})" if names else "")
        ) from None


def _rows(checks: list[LayerCheck]) -> tuple[LayerRow, ...]:
    """A row for each layer, in their order; the last one is what has arrived."""
    grouped: dict[tuple[str, tuple[int, ...]], list[LayerCheck]] = {}
    for check in checks:
        grouped.setdefault((check.layer, check.nests), []).append(check)
    return tuple(_row(same) for same in grouped.values())


def _row(same: list[LayerCheck]) -> LayerRow:
    """A layer of all samples."""
    shown = next((check for check in same if check.wrong), same[0])
    return LayerRow(
        same[0].layer,
        same[0].op,
        len(same[0].nests),
        same[0].checked,
        same[0].cycles,
        same[0].predicted,
        sum(not check.equal for check in same),
        shown.crc,
        shown.golden_crc,
    )


def _first(checks: list[LayerCheck], cycles: list[int], predicted: int) -> str:
    """The first difference in words, or nothing."""
    check = first_difference(checks)
    if check is not None:
        where = f"sample {check.sample}, " + (
            check.layer if check.layer == OUTPUT else f"layer {check.layer}"
        )
        if check.found:
            return f"{where}: {check.found}"
        if check.wrong:
            return f"{where}: the CRC-32 of nest {check.wrong[0]}"
        return f"{where}: nest {check.late[0]} took another number of cycles"
    for number, taken in enumerate(cycles):
        if taken != predicted:
            return f"sample {number}: {taken:,} cycles, predicted {predicted:,}"
    return ""


def end_earlier_run(line: Line, driver: Driver) -> None:
    """End what an earlier session left: a run, and results that nobody took."""
    driver.write("CONTROL", mask("CONTROL", "RESET"))
    line.drop_results()
    driver.reset()


def drop_standing_element(line: Line, driver: Driver) -> None:
    """Take the element that an earlier session left before the core: in front of a TLAST."""
    driver.start()
    line.send([0])
    end_earlier_run(line, driver)
