"""Options that several verbs share."""

from pathlib import Path
from typing import Annotated

import typer

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
