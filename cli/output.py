# SPDX-License-Identifier: Apache-2.0
"""What the user sees: tables on standard output, progress and errors on standard error."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bramcast.api.bars import Report, rich_bars, silent
from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.folder import is_stdout

stdout = Console(highlight=False, soft_wrap=True)
stderr = Console(stderr=True, highlight=False, soft_wrap=True)

WIDEST = 1000  # characters of a table's line

_given_away = ContextVar("given_away", default=False)


@contextmanager
def own_stdout() -> Iterator[None]:
    """What is said goes to standard output, until ``give_stdout`` says otherwise."""
    token = _given_away.set(False)
    try:
        yield
    finally:
        _given_away.reset(token)


def give_stdout(outputs: Sequence[Path | None], json: bool) -> None:
    """Where an output is standard output, it is alone there: the rest goes to standard error.

    Raises:
        InputError: two outputs, or one and the JSON object, would lie in each other.
    """
    count = sum(is_stdout(output) for output in outputs)
    if count + json > 1 and count:
        raise InputError(
            "two things can't go to standard output: give a file for one of them"
            + (" (--json prints there)" if json else "")
        )
    if count:
        _given_away.set(True)


@contextmanager
def _onto_stdout() -> Iterator[None]:
    """Standard output that takes no more is one line, whatever is said there.

    Raises:
        InputError: it can't be written.
    """
    try:
        yield
        if sys.stdout is not None:  # it is closed
            sys.stdout.flush()
    except BrokenPipeError:  # who reads has enough
        raise
    except OSError as error:
        raise InputError(f"standard output: can't be written: {error.strerror}") from None


def say_json(document: dict[str, object]) -> None:
    """One JSON object on standard output."""
    if sys.stdout is None:
        raise InputError("standard output: can't be written: it is closed")
    with _onto_stdout():
        sys.stdout.write(json.dumps(document) + "\n")


def say(text: str) -> None:
    """A plain line on standard output."""
    if _given_away.get():
        stderr.print(text, markup=False)
        return
    with _onto_stdout():
        stdout.print(text, markup=False)


def complain(text: str) -> None:
    """One line on standard error."""
    stderr.print(f"bramcast: {text}", markup=False)


def table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], right: Sequence[str] = ()
) -> None:
    """A table on standard output, never cut; numbers stand to the right.

    Args:
        right: columns of text that stand to the right, too.
    """
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], (int, float)) for row in rows)
        numeric |= column in right
        made.add_column(column, justify="right" if numeric else "left", no_wrap=True)
    for row in rows:
        made.add_row(*(_cell(value) for value in row))
    wide = Console(highlight=False, width=WIDEST)
    natural = wide.measure(made).maximum
    console = Console(stderr=_given_away.get(), highlight=False, width=max(natural, 40))
    with nullcontext() if console.stderr else _onto_stdout():
        console.print(made)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f}"
    return str(value)


@contextmanager
def telling(write: Callable[[str], None]) -> Iterator[None]:
    """Whatever goes wrong is written, too, and goes on: who reads a report may see nothing else."""
    try:
        yield
    except Exception as error:
        write(str(error) or type(error).__name__)
        raise


@contextmanager
def progress(quiet: bool) -> Iterator[Report]:
    """A progress bar on standard error, one line for each thing that takes long."""
    if quiet or not stderr.is_terminal:
        yield silent
        return
    with rich_bars(stderr) as report:
        yield report


def percent(value: float | None) -> str:
    """A ratio as percent, or a dash."""
    return "-" if value is None else f"{100 * value:.2f} %"
