# SPDX-License-Identifier: Apache-2.0
"""A regression's verdicts for continuous integration: JUnit XML and Markdown."""

from collections.abc import Sequence
from pathlib import Path

from junitparser import Failure, JUnitXml, TestCase, TestSuite

from bramcast.pack.bundle import replace_bytes, replace_file
from bramcast.sim.candidates import Outcome


def write_junit(path: Path, outcomes: Sequence[Outcome]) -> None:
    """A test suite for each candidate, a test case for each check; atomic.

    Raises:
        InputError: the file can't be written.
    """
    document = JUnitXml("bramcast regress")
    for outcome in outcomes:
        suite = TestSuite(outcome.new.name)
        for case in _cases(outcome):
            suite.add_testcase(case)
        document.add_testsuite(suite)
    document.update_statistics()
    replace_file(path, lambda file: document.write(file, pretty=True))


def _cases(outcome: Outcome) -> list[TestCase]:
    if outcome.regression is None:
        return [_case("packs", outcome.new.name, outcome.refused)]
    checks = outcome.regression.checks
    where = outcome.reasons[0] if not outcome.passed else ""
    cases = []
    for check in checks:
        told = check.reason
        if told and where not in (told, ""):
            told = f"{where}; {told}"
        output, open_ = f"{check.old} -> {check.new}", bool(check.doubt and not told)
        cases.append(_case(check.name, outcome.new.name, told or check.doubt, output, open_))
    return cases


def _case(
    name: str, suite: str, reason: str, output: str = "", undecided: bool = False
) -> TestCase:
    case = TestCase(name, classname=f"bramcast.{suite}")
    if reason:
        case.result = [Failure(reason, "undecided") if undecided else Failure(reason)]
    if output:
        case.system_out = output
    return case


def write_markdown(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Verdict, checks and what to copy, as a page of Markdown; atomic.

    Raises:
        InputError: the file can't be written.
    """
    text = "\n".join(_markdown(outcomes)) + "\n"
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
            if outcome.passed and outcome.regression.copy:
                lines += ["", f"Copy: {', '.join(f'`{f}`' for f in outcome.regression.copy)}"]
        lines.append("")
    return lines[:-1]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
