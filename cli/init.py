# SPDX-License-Identifier: Apache-2.0
"""bramcast init: a recipe for a network, asked for or told."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from bramcast.cli.options import Json, Lanes, Samples, Settings, Weights, wanted
from bramcast.cli.output import complain, give_stdout, say, say_json
from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.folder import is_stdout, named, replace_bytes
from bramcast.pack.recipe.found import files, networks
from bramcast.pack.recipe.shortcut import CHECKPOINTS, is_python
from bramcast.pack.recipe.starter import starter_text
from bramcast.pack.samples.inputs import Inputs, read_inputs

SHOWN = 9  # answers that are listed


def command(
    network: Annotated[
        str | None,
        typer.Argument(
            metavar="[NETWORK]",
            help="MODEL.py:NAME with its WEIGHTS, .onnx, .pt2, or the checkpoint of an MLP.",
        ),
    ] = None,
    weights: Weights = None,
    inputs: Samples = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Recipe to write.")] = Path(
        "recipe.toml"
    ),
    lanes: Lanes = None,
    settings: Settings = None,
    force: Annotated[
        bool, typer.Option("--force", help="OUTPUT may be there; it is replaced.")
    ] = False,
    json: Json = False,
) -> int:
    """Write a recipe for a network; on a terminal it asks for what is not given."""
    give_stdout([output], json)
    if output.exists() and not force and not is_stdout(output):
        raise InputError(f"{output}: is there already; give another file with -o, or --force")
    if network is not None and network.endswith(".toml"):
        raise InputError(f"{network}: is a recipe already: bramcast pack {network}")
    asks = not json and sys.stdin is not None and sys.stdin.isatty()
    here = Path()
    if network is None:
        network = _asked("network", networks(here) + files(here, *CHECKPOINTS), asks, "NETWORK")
    if weights is None and is_python(network):
        weights = Path(_asked("checkpoint", files(here, *CHECKPOINTS), asks, "WEIGHTS"))
    if inputs is None:
        inputs = Path(_asked("samples (.npz)", files(here, ".npz"), asks, "--inputs X.npz"))
    recipe = wanted(network, weights, inputs, lanes, settings)
    for path in (weights, None if is_python(network) else Path(network)):
        if path is not None and not path.is_file():
            raise InputError(f"{path}: no such file; give the network's file or its checkpoint")
    read = read_inputs(inputs)
    replace_bytes(output, starter_text(recipe, output).encode())
    if json:
        labels = None if read.y is None else int(read.y.max()) + 1
        say_json(
            {
                "recipe": str(output),
                "name": recipe.name,
                "samples": len(read.x),
                "shape": list(read.x.shape[1:]),
                "classes": labels,
            }
        )
        return 0
    say(f"{named(output)}: {recipe.name}, {_described(read)}")
    if read.calibration is read.x and read.y is not None:
        complain(
            f"{inputs}: has no x_cal: formats are chosen by the samples that judge them; other "
            "samples for it, some hundred of the training set, make the accuracy believable"
        )
    if not is_stdout(output):
        say(f"next: bramcast pack {output} -o bundle --check")
    return 0


def _asked(what: str, there: Sequence[str], asks: bool, option: str) -> str:
    """What the user chooses or types; the first of what is there is offered.

    Raises:
        InputError: nobody can be asked.
    """
    if not asks:
        seen = f" (there are {', '.join(there[:SHOWN])})" if there else ""
        raise InputError(f"the {what} is missing: give {option}{seen}")
    for number, name in enumerate(there[:SHOWN], 1):
        typer.echo(f"  {number}  {name}", err=True)
    answer: str = typer.prompt(
        f"{what}: number or file" if there else what, default="1" if there else None, err=True
    )
    if answer.isdecimal() and 1 <= int(answer) <= min(len(there), SHOWN):
        return there[int(answer) - 1]
    return answer.strip()


def _described(read: Inputs) -> str:
    """The samples in words."""
    shape = "x".join(map(str, read.x.shape[1:]))
    labels = "no labels" if read.y is None else f"labels {read.y.min()} to {read.y.max()}"
    return f"{len(read.x):,} samples of {shape}, {labels}"
