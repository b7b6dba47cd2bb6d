# SPDX-License-Identifier: Apache-2.0
"""bramcast prune: small weights or channels become zero for good."""

from pathlib import Path
from typing import Annotated

import typer

from bramcast.cli.options import Filter, Json, RecipeFile, StateName
from bramcast.cli.output import give_stdout, percent, progress, say, say_json, table
from bramcast.pack.bundle.folder import is_stdout, named
from bramcast.pack.bundle.packages import torch_needed
from bramcast.pack.recipe.recipe import read_recipe


def command(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint, .safetensors or recipe.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="State dict to write.")],
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="Magnitudes up to this one become zero.")
    ] = None,
    sparsity: Annotated[
        float | None, typer.Option("--sparsity", help="This share becomes zero, e.g. 0.5.")
    ] = None,
    overall: Annotated[
        bool, typer.Option("--global", help="The share of all weights together, not per layer.")
    ] = False,
    channels: Annotated[
        bool, typer.Option("--channels", help="Whole output channels instead of single weights.")
    ] = False,
    filter: Filter = None,
    recipe: RecipeFile = None,
    shrink: Annotated[
        bool,
        typer.Option("--shrink", help="Leave channels that compute nothing out of the images."),
    ] = False,
    state: StateName = None,
    force: Annotated[
        bool, typer.Option("--force", help="OUTPUT may be the checkpoint that is read.")
    ] = False,
    json: Json = False,
) -> int:
    """Magnitude pruning made permanent; with a recipe what it costs and what it saves."""
    give_stdout([output], json)
    with torch_needed("pruning"):
        from bramcast.pack.train.prune import Goal, Measured, prune

        with progress(json) as report:
            done = prune(
                checkpoint,
                output,
                Goal(threshold, sparsity, overall, channels),
                filter or (),
                state=state,
                recipe=read_recipe(recipe) if recipe is not None else None,
                shrink=shrink,
                force=force,
                progress=report,
            )

    def measured(what: Measured | None) -> dict[str, object] | None:
        if what is None:
            return None
        return {
            "float_accuracy": what.float_accuracy,
            "quantized_accuracy": what.quantized_accuracy,
            "words": dict(what.words),
            "channels_removed": what.channels_removed,
        }

    total = sum(t.count for t in done.tensors)
    zeros = sum(t.zeros_before for t in done.tensors), sum(t.zeros_after for t in done.tensors)
    if json:
        say_json(
            {
                "path": str(done.path),
                "output": str(done.output),
                "tensors": [
                    {
                        "name": t.name,
                        "shape": list(t.shape),
                        "zeros_before": t.zeros_before,
                        "zeros_after": t.zeros_after,
                        "zero_channels_before": t.channels_before,
                        "zero_channels_after": t.channels_after,
                    }
                    for t in done.tensors
                ],
                "sparsity_before": zeros[0] / total,
                "sparsity_after": zeros[1] / total,
                "before": measured(done.before),
                "after": measured(done.after),
                "recipe": str(done.recipe) if done.recipe else None,
                "notes": done.notes,
            }
        )
        return 0
    rows: list[tuple[object, ...]] = [
        (
            t.name, "x".join(map(str, t.shape)), t.count, t.zeros_before, t.zeros_after,
            percent(t.zeros_after / t.count), t.channels_after,
        )
        for t in done.tensors
    ]  # fmt: skip
    rows.append(("all", "", total, *zeros, percent(zeros[1] / total), ""))
    columns = ("tensor", "shape", "weights", "zeros before", "after", "share", "zero channels")
    table("", columns, rows, ("share", "zero channels"))
    if done.before is not None and done.after is not None:
        a, b = done.before, done.after
        lines = [
            ("float accuracy", percent(a.float_accuracy), percent(b.float_accuracy)),
            ("8-bit accuracy", percent(a.quantized_accuracy), percent(b.quantized_accuracy)),
        ]
        old = dict(a.words)
        lines += [(f"{n} words", f"{old.get(n, 0):,}", f"{w:,}") for n, w in b.words]
        lines.append(("channels left out", f"{a.channels_removed:,}", f"{b.channels_removed:,}"))
        say("")
        table("", ("packed", "before", "after"), lines, ("before", "after"))
    for note in done.notes:
        say(f"note: {note}")
    say(f"{named(done.output)}: written")
    if done.recipe is not None:
        say(f"next: bramcast pack {done.recipe} -o bundle")
    elif recipe is None and checkpoint.suffix != ".toml" and not is_stdout(done.output):
        say(f"next: bramcast inspect {done.output}")
    return 0
