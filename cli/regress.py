"""bramcast regress: is a retrained network a drop-in?"""

from pathlib import Path
from typing import Annotated

import typer

from bramcast.cli.options import AllowModified, InputsFile, Json
from bramcast.cli.output import percent, progress, say, say_json, table
from bramcast.pack.inputs import read_inputs
from bramcast.pack.recipe import read_recipe
from bramcast.sim.regress import regress

DEFAULT_POINTS = 0.5


def command(
    old: Annotated[Path, typer.Argument(help="Bundle that is in use.")],
    new: Annotated[Path, typer.Argument(help="Bundle of the retrained network.")],
    inputs: InputsFile,
    points: Annotated[
        float | None, typer.Option("--points", min=0, help="Points of accuracy it may lose.")
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", help="Recipe whose [regress] limits hold.")
    ] = None,
    allow_modified: AllowModified = False,
    json: Json = False,
) -> int:
    """Compare two bundles: accuracy, formats, layout, changed words."""
    limit = points
    if limit is None:
        limit = DEFAULT_POINTS if recipe is None else read_recipe(recipe).regress.accuracy_points
    samples = read_inputs(inputs)
    with progress(json) as report:
        result = regress(old, new, samples, limit, allow_modified, report)
    if json:
        say_json(
            {
                "verdict": result.verdict,
                "reasons": result.reasons,
                "accuracy_old": result.accuracy_old,
                "accuracy_new": result.accuracy_new,
                "agreement": result.agreement,
                "changed_words": result.changed_words,
                "moved_formats": [
                    {"layer": m.layer, "old": m.old, "new": m.new} for m in result.moved
                ],
            }
        )
        return 0 if result.passed else 1
    if result.moved:
        table(
            "",
            ("layer", "old format", "new format"),
            [(m.layer, m.old, m.new) for m in result.moved],
        )
    table("", ("image", "changed words"), list(result.changed_words.items()))
    say(
        f"accuracy {percent(result.accuracy_old)} -> {percent(result.accuracy_new)}; "
        f"same class on {percent(result.agreement)} of {len(samples.x)} samples"
    )
    say(f"{result.verdict}: {'; '.join(result.reasons)}")
    return 0 if result.passed else 1
