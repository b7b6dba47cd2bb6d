# SPDX-License-Identifier: Apache-2.0
"""Options that several verbs share."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from bramcast.pack.bundle.errors import ToolError


def _parts() -> list[str]:
    """What --device takes."""
    from bramcast.pack.device.devices import FAMILIES, PARTS

    return [*FAMILIES, *PARTS]


def _simulators() -> list[str]:
    """What --simulator takes."""
    from bramcast.sim.run.runner import SIMULATORS

    return list(SIMULATORS)


Device = Annotated[
    str,
    typer.Option(
        "--device", help="Part, e.g. xc7a35t, or a family, e.g. 7series.", autocompletion=_parts
    ),
]
Simulator = Annotated[
    str,
    typer.Option("--simulator", help="icarus or verilator.", autocompletion=_simulators),
]
ItsSimulator = Annotated[
    str,
    typer.Option(
        "--simulator", help="With --sim: icarus or verilator.", autocompletion=_simulators
    ),
]
Bundle = Annotated[Path, typer.Argument(help="Bundle folder, written by 'bramcast pack'.")]
InputsFile = Annotated[
    Path,
    typer.Option(
        "--inputs",
        help=".npz with x [N, ...] and, for accuracy, labels y [N]; or a recipe, for its inputs.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
AllowModified = Annotated[
    bool,
    typer.Option(
        "--allow-modified", help="Run images whose SHA-256 differs from the manifest's as they are."
    ),
]
RecipeFile = Annotated[
    Path | None, typer.Option("--recipe", help="Recipe of the network: types, its state dict.")
]
ModelName = Annotated[
    str | None, typer.Option("--model", help="FILE:NAME of the network, instead of a recipe.")
]
StateName = Annotated[
    str | None, typer.Option("--state", help="Which state dict, by the keys that lead to it.")
]
Filter = Annotated[
    list[str] | None,
    typer.Option("--filter", help="Name, glob or /regular expression/; repeat for more."),
]


@contextmanager
def torch_needed(what: str) -> Iterator[None]:
    """Say how to install PyTorch where it is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ToolError(
            f"{what} needs PyTorch: pip install '.[torch]' in bramcast's checkout"
        ) from None
