# SPDX-License-Identifier: Apache-2.0
"""A regression's verdicts for continuous integration: JUnit XML and Markdown."""

from collections.abc import Sequence
from pathlib import Path

from junitparser import TestCase

from bramcast.pack.bundle.folder import replace_bytes
from bramcast.sim.regress.candidates import Outcome
from bramcast.sim.regress.regress import HDL_CHECK
from bramcast.sim.run.junit import case_of, plain, write_suites, write_verdict_error


def write_junit(path: Path, outcomes: Sequence[Outcome]) -> None:
    """A test suite for each candidate, a test case for each check; atomic.

    Raises:
        InputError: the file can't be written.
    """
    cases = {outcome.new.name: _cases(outcome) for outcome in outcomes}
    write_suites(path, "bramcast regress", cases)


def write_error(junit: Path | None, markdown: Path | None, message: str) -> None:
    """Reports that there is no verdict, as a test case with an error and as a page; atomic.

    Raises:
        InputError: a file can't be written.
    """
    if junit is not None:
        write_verdict_error(junit, "regress", message)
    if markdown is not None:
        replace_bytes(markdown, f"## no verdict\n\n- {_cell(plain(message))}\n".encode())


def _cases(outcome: Outcome) -> list[TestCase]:
    """A case for the packing, if there was one, and for each check.

    The simulator's time is that of its check; the others share the comparison's.
    """
    seconds = outcome.seconds
    packs = _case("packs", outcome.new.name, outcome.refused, seconds.pack)
    if outcome.regression is None:
        return [packs]
    checks = outcome.regression.checks
    where = outcome.reasons[0] if not outcome.passed else ""
    share = seconds.compare / sum(check.name != HDL_CHECK for check in checks)
    cases = [packs] if seconds.pack else []
    for check in checks:
        told = check.reason
        if told and where not in (told, ""):
            told = f"{where}; {told}"
        output, open_ = f"{check.old} -> {check.new}", bool(check.doubt and not told)
        took = seconds.hdl if check.name == HDL_CHECK else share
        reason = told or check.doubt
        cases.append(_case(check.name, outcome.new.name, reason, took, output, open_))
    return cases


def _case(
    name: str, suite: str, reason: str, seconds: float, output: str = "", undecided: bool = False
) -> TestCase:
    kind = "undecided" if undecided else None
    return case_of(name, suite, reason, seconds=seconds, output=output, kind=kind)


def write_markdown(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Verdict, checks and what to copy, as a page of Markdown; atomic.

    Raises:
        InputError: the file can't be written.
    """
    text = plain("\n".join(_markdown(outcomes)) + "\n")
    replace_bytes(path, text.encode())


def _markdown(outcomes: Sequence[Outcome]) -> list[str]:
    lines = []
    if len(outcomes) > 1:
        lines += ["| rank | candidate | verdict | accuracy |", "| ---: | --- | --- | ---: |"]
        for rank, outcome in enumerate(outcomes, 1):
            result = outcome.regression
            right = None if result is None else result.accuracy_new
            shown = "-" if right is None else f"{100 * right:.2f} %"
            lines.append(f"| {rank} | {_cell(str(outcome.new))} | {outcome.verdict} | {shown} |")
        lines.append("")
    for outcome in outcomes:
        lines += [f"## {_cell(str(outcome.new))}: {outcome.verdict}", ""]
        lines += [f"- {_cell(reason)}" for reason in outcome.reasons]
        if outcome.regression is not None:
            lines += ["", "| check | old | new | limit | |", "| --- | ---: | ---: | ---: | --- |"]
            for check in outcome.regression.checks:
                cells = (check.name, check.old, check.new, check.limit, check.state)
                lines.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
            lines += ["", "| image | lines | changed |", "| --- | ---: | ---: |"]
            for image in outcome.regression.images:
                lines.append(f"| {image.name} | {image.lines:,} | {image.changed:,} |")
            if outcome.copy:
                lines += ["", f"Copy: {', '.join(f'`{file}`' for file in outcome.copy)}"]
        lines.append("")
    return lines[:-1]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
