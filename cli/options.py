# SPDX-License-Identifier: Apache-2.0
"""Options that several verbs share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bramcast.pack.recipe.recipe import Recipe


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
Network = Annotated[
    str,
    typer.Argument(
        metavar="NETWORK",
        help="Recipe (TOML); or with --inputs a .onnx, a .pt2, MODEL.py:NAME with its WEIGHTS, or "
        "the checkpoint of an MLP.",
    ),
]
Weights = Annotated[
    Path | None, typer.Argument(metavar="[WEIGHTS]", help="Checkpoint of a MODEL.py:NAME.")
]
Samples = Annotated[
    Path | None,
    typer.Option("--inputs", help=".npz with x [N, ...], y, x_cal; in place of the recipe's."),
]
Lanes = Annotated[
    int | None, typer.Option("--lanes", help="Outputs computed side by side: core.lanes.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A key as in a recipe, e.g. core.taps=2; repeat for more.",
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


def wanted(
    network: str,
    weights: Path | None,
    inputs: Path | None,
    lanes: int | None,
    settings: list[str] | None,
) -> "Recipe":
    """The recipe that the command line names, or stands for.

    Raises:
        UserError: it is none, or a key is wrong.
    """
    from bramcast.pack.recipe.setting import parse_setting
    from bramcast.pack.recipe.shortcut import lanes_setting, recipe_for

    given = [] if lanes is None else [lanes_setting(lanes)]
    return recipe_for(
        network, weights, inputs, [*given, *(parse_setting(text) for text in settings or ())]
    )
