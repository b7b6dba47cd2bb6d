# SPDX-License-Identifier: Apache-2.0
"""What ``bramcast board`` found, as JUnit XML: a test case for each layer."""

from pathlib import Path

from junitparser import TestCase

from bramcast.sim.board.check import BoardResult, LayerRow
from bramcast.sim.run.junit import case_of, write_suites, write_verdict_error


def write_junit(path: Path, bundle: Path, result: BoardResult) -> None:
    """A test suite with a case for each layer, for what arrived, and for the cycles; atomic.

    A layer of which the ledger holds nothing is a test that was skipped.

    Raises:
        InputError: the file can't be written.
    """
    name = bundle.resolve().name
    cases = [_layer(row, name, result) for row in result.layers]
    write_suites(path, "bramcast board", {name: [*cases, _cycles(name, result)]})


def write_error(path: Path, message: str) -> None:
    """There is no verdict, as a test case with an error; atomic.

    Raises:
        InputError: the file can't be written.
    """
    write_verdict_error(path, "board", message)


def _layer(row: LayerRow, suite: str, result: BoardResult) -> TestCase:
    sums = "" if row.crc is None else f"CRC-32 {row.crc:08x}, golden {row.golden_crc:08x}"
    reason = skipped = ""
    if row.different:
        reason = f"differs in {row.different} of {result.samples} samples; "
        reason += f"first of all: {result.first}"
    elif row.nests and not row.checked:
        skipped = f"the core's ledger (LEDGER_DEPTH = {result.ledger}) does not hold it"
    return case_of(row.name, suite, reason, output=sums, skipped=skipped)


def _cycles(suite: str, result: BoardResult) -> TestCase:
    wrong = [n for n, taken in enumerate(result.cycles) if taken != result.predicted]
    reason = ""
    if wrong:
        taken = result.cycles[wrong[0]]
        reason = f"sample {wrong[0]}: {taken:,} cycles, predicted {result.predicted:,}"
    told = f"{result.predicted} cycles predicted for each of {result.samples} samples"
    return case_of("cycles", suite, reason, output=told)
