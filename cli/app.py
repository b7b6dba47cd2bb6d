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
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from bramcast.pack.bundle.errors import ToolError, UserError

# The verbs' modules, with the first lines of their help: so --help and the shell's completion
# import no verb, and with it neither numpy nor anything else that takes long.
# fmt: off
MODULES = {
    "bramcast.cli.init":
        "Write a recipe for a network; on a terminal it asks for what is not given.",
    "bramcast.cli.pack":
        "Read the checkpoint, fold, quantize, lay out and write the images.",
    "bramcast.cli.golden":
        "Run the integer model on every sample; accuracy where there are labels.",
    "bramcast.cli.sim":
        "Run samples through the HDL core and compare every element of every layer with golden.",
    "bramcast.cli.regress":
        "Compare a retrained network with that in use: accuracy, formats, layout, changed words.",
    "bramcast.cli.report":
        "Network with formats, distributions, memory maps, timeline, errors, verdicts as a page.",
    "bramcast.cli.hdl":
        "Write the core with a bundle's parameters as a folder for Vivado, Quartus and others.",
    "bramcast.cli.images":
        "Show, check, convert or compare image files; check all files of a bundle.",
    "bramcast.cli.memory":
        "Which block RAMs the core takes, how full they are, and whether they fit.",
    "bramcast.cli.fit":
        "Try every shape of the core for a network, and choose the one that suits a part.",
    "bramcast.cli.inspect":
        "Every parameter: name, shape, range, statistics, proposed Q format, damage.",
    "bramcast.cli.export":
        "Write chosen tensors, whole, sliced or gate by gate; nothing is abbreviated.",
    "bramcast.cli.prune":
        "Magnitude pruning made permanent; with a recipe what it costs and what it saves.",
    "bramcast.cli.tune":
        "Find 8, 4 or 2 bits for each layer's weights and write the recipe that says so.",
    "bramcast.cli.board":
        "Load a bundle into a core on a board, run samples and compare the results with golden.",
    "bramcast.cli.patch":
        "Put new weights, biases, tables and program into a bitstream: no synthesis, no routing.",
}
# fmt: on
VERBS = {module.rpartition(".")[2]: line for module, line in MODULES.items()}


class Verbs(TyperGroup):
    """The verbs by name and first line; one is imported when it is called."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for name, line in VERBS.items():
            self.add_command(TyperCommand(name, help=line), name)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The verb that is called, with its options, and what follows its name."""
        name, found, rest = super().resolve_command(ctx, args)
        return name, found if name is None else verb(name), rest


app = typer.Typer(
    name="bramcast",
    cls=Verbs,
    help="Cast a trained PyTorch network into block-RAM images and prove them bit for bit.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def verb(name: str) -> Any:
    """The command of a verb, with the module of its name."""
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    alone.command(name)(_leaving(import_module(f"bramcast.cli.{name}").command))
    return typer.main.get_command(alone)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        from bramcast.cli.output import say

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
    def leaving(*arguments: object, **options: object) -> None:
        from bramcast.cli.output import own_stdout

        with own_stdout():
            raise typer.Exit(command(*arguments, **options))

    return leaving


def _one_line(text: str) -> str:
    """Without line ends and escape sequences, whatever a file or a library put into it."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())


def main() -> None:
    """Entry point: run a verb and leave with its exit code; no traceback reaches a user."""

    def complain(text: str) -> None:
        from bramcast.cli.output import complain as on_stderr

        on_stderr(text)

    try:
        app(prog_name="bramcast")
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
