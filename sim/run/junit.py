# SPDX-License-Identifier: Apache-2.0
"""JUnit XML for continuous integration: what the commands that write it have in common."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from bramcast.pack.bundle.folder import replace_file

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_suites(path: Path, name: str, suites: Mapping[str, Sequence[TestCase]]) -> None:
    """A document of test suites, by their names; atomic.

    Raises:
        InputError: the file can't be written.
    """
    document = JUnitXml(plain(name))
    for title, cases in suites.items():
        suite = TestSuite(plain(title))
        for case in cases:
            suite.add_testcase(case)
        document.add_testsuite(suite)
    document.update_statistics()
    replace_file(path, lambda file: document.write(file, pretty=True))


def case_of(
    name: str,
    suite: str,
    reason: str = "",
    *,
    seconds: float | None = None,
    output: str = "",
    kind: str | None = None,
    skipped: str = "",
) -> TestCase:
    """A test case; it fails if there is a reason.

    Args:
        seconds: that it took; None: nobody knows.
        kind: of the failure, in a word.
        skipped: why nothing was looked at, or "".
    """
    time = None if seconds is None else round(seconds, 3)
    case = TestCase(plain(name), classname=f"bramcast.{plain(suite)}", time=time)
    if reason:
        message = plain(reason)
        case.result = [Failure(message) if kind is None else Failure(message, kind)]
    elif skipped:
        case.result = [Skipped(plain(skipped))]
    if output:
        case.system_out = plain(output)
    return case


def write_verdict_error(path: Path, command: str, message: str) -> None:
    """A document that says why there is no verdict: one test case with an error; atomic.

    Raises:
        InputError: the file can't be written.
    """
    case = case_of("verdict", command)
    case.result = [Error(plain(message))]
    write_suites(path, f"bramcast {command}", {command: [case]})


def plain(text: str) -> str:
    r"""Without what XML can't hold: escape sequences, as libraries colour messages, and the like.

    >>> plain("\x1b[31mno\x1b[0m file \udc80\x00.pth"), plain("größer\n")
    ('no file \ufffd\ufffd.pth', 'größer\n')
    """
    return _NO_XML.sub("\ufffd", re.sub(r"\x1b\[[0-9;]*m", "", text))
