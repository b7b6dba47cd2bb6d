# SPDX-License-Identifier: Apache-2.0
"""The ``bramcast`` program: its verbs and their exit codes.

0: all is well. 1: a mismatch or a regression. 2: wrong input.
"""

import errno
import functools
import os
import re
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated

import typer

from bramcast.cli import (
    board,
    export,
    fit,
    golden,
    hdl,
    images,
    inspect,
    memory,
    pack,
    patch,
    prune,
    regress,
    report,
    sim,
    tune,
)
from bramcast.cli.output import complain, own_stdout, say
from bramcast.pack.bundle.errors import ToolError, UserError

app = typer.Typer(
    name="bramcast",
    help="Cast a trained PyTorch network into block-RAM images and prove them bit for bit.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"bramcast {version('bramcast')}")
        raise typer.Exit


@app.callback()
def _program(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which it is.")
    ] = False,
) -> None:
    pass


def _leaving(command: Callable[..., int]) -> Callable[..., None]:
    """The command with its result as the program's exit code."""

    @functools.wraps(command)
    def verb(*arguments: object, **options: object) -> None:
        with own_stdout():
            raise typer.Exit(command(*arguments, **options))

    return verb


VERBS = (
    pack, golden, sim, regress, report, hdl, images, memory, fit, inspect, export, prune, tune,
    board, patch,
)  # fmt: skip
for module in VERBS:
    app.command(module.__name__.rsplit(".", 1)[-1])(_leaving(module.command))


def _one_line(text: str) -> str:
    """Without line ends and escape sequences, whatever a file or a library put into it."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())


def main() -> None:
    """Entry point: run a verb and leave with its exit code; no traceback reaches a user."""
    try:
        app()
    except UserError as error:
        text = str(error) if isinstance(error, ToolError) else _one_line(str(error))
        complain(f"error: {text}")
    except KeyboardInterrupt:
        complain("interrupted")
        sys.exit(130)
    except MemoryError as error:
        complain(
            f"error: there is not enough memory ({_one_line(str(error)) or 'no size is told'}); "
            "give fewer samples or a smaller network, or close other programs"
        )
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            place = error.filename or f"standard output or {tempfile.gettempdir()}"
            complain(f"error: {place}: can't be written: {error.strerror}; make room there")
            sys.exit(2)
        if os.environ.get("BRAMCAST_TRACEBACK"):
            raise
        complain(
            f"internal error: {type(error).__name__}: {error} "
            "(please report it; BRAMCAST_TRACEBACK=1 shows where)"
        )
    sys.exit(2)
