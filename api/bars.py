# SPDX-License-Identifier: Apache-2.0
"""How far a call is: rich's bars, tqdm's, or a function that is told."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from bramcast.pack.bundle.errors import InputError, ToolError
from bramcast.pack.bundle.packages import needed

if TYPE_CHECKING:
    from rich.console import Console

Report = Callable[[str, int, int], None]  # what, how many are done, of how many
Progress = bool | Literal["rich", "tqdm"] | Report | None


def silent(what: str, done: int, of: int) -> None:
    """Nobody is told."""


@contextmanager
def reporting(progress: Progress) -> Iterator[Report]:
    """What a call tells how far it is.

    Args:
        progress: None or False: nothing is shown; True: tqdm's bars where it is installed, else
            rich's; "tqdm" and "rich": those; or a function of what is done, how many, of how many.

    Raises:
        InputError: it is something else.
        ToolError: tqdm is not installed.
    """
    if progress is None or progress is False:
        yield silent
    elif callable(progress):
        yield progress
    elif progress in (True, "rich", "tqdm"):
        tqdm = None if progress == "rich" else _tqdm(progress == "tqdm")
        with rich_bars(None) if tqdm is None else _tqdm_bars(tqdm) as report:
            yield report
    else:
        raise InputError(f'progress: {progress!r} is none of True, "rich", "tqdm" and a function')


def _tqdm(asked: bool) -> Any:
    """tqdm's bars, or None where it is not installed.

    Raises:
        ToolError: it is not, and was asked for.
    """
    try:
        with needed("progress with tqdm", "tqdm", "notebook"):
            from tqdm.auto import tqdm
    except ToolError:
        if asked:
            raise
        return None
    return tqdm


@contextmanager
def rich_bars(console: "Console | None") -> Iterator[Report]:
    """A bar for each thing that takes long, on a console or where rich would write."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def report(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=of)
            bars.update(tasks[what], completed=done, total=of)

        yield report


@contextmanager
def _tqdm_bars(tqdm: Any) -> Iterator[Report]:
    """The same with tqdm, whose bars stay."""
    bars: dict[str, Any] = {}

    def report(what: str, done: int, of: int) -> None:
        if what not in bars:
            bars[what] = tqdm(desc=what, total=of)
        bars[what].total = of
        bars[what].update(done - bars[what].n)

    try:
        yield report
    finally:
        for bar in bars.values():
            bar.close()
