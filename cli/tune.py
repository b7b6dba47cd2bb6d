# SPDX-License-Identifier: Apache-2.0
"""bramcast tune: the fewest weight bits that keep a limit."""

from pathlib import Path
from typing import Annotated

import typer

from bramcast.cli.options import Json
from bramcast.cli.output import give_stdout, percent, progress, say, say_json, table
from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.folder import is_stdout, named, replace_bytes
from bramcast.pack.bundle.packages import torch_needed
from bramcast.pack.recipe.recipe import read_recipe


def command(
    recipe: Annotated[Path, typer.Argument(help="Recipe (TOML).")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Recipe to write; RECIPE_tuned.toml beside RECIPE."),
    ] = None,
    loss: Annotated[
        float, typer.Option(min=0, help="Points of accuracy that may be lost against float.")
    ] = 0.5,
    snr: Annotated[
        float | None,
        typer.Option(help="Least signal to noise at the output, dB; needed without labels."),
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="Pack the tuned recipe into this folder, too.")
    ] = None,
    json: Json = False,
) -> int:
    """Find 8, 4 or 2 bits for each layer's weights and write the recipe that says so."""
    give_stdout([output], json)
    if is_stdout(output) and bundle is not None:
        raise InputError(f"--bundle {bundle} needs a recipe to pack: give -o FILE")
    read = read_recipe(recipe)
    target = output if output is not None else recipe.with_name(f"{recipe.stem}_tuned.toml")
    if target.resolve() == recipe.resolve():
        raise InputError(f"{target}: is the recipe itself; give another file for the tuned one")
    with torch_needed("tuning"):
        from bramcast.pack.pipeline import pack
        from bramcast.pack.prepare import prepare
        from bramcast.pack.train.tune import Limit, tune
    from bramcast.golden.frames import output_order
    from bramcast.golden.load import load
    from bramcast.pack.recipe.edit import with_widths

    with progress(json) as report:
        tuned = tune(prepare(read, report), Limit(loss, snr), report)
        widths = {layer.name: layer.bits for layer in tuned.layers if not layer.given}
        text = with_widths(read, widths, target)
        replace_bytes(target, text.encode())
        if bundle is not None:
            pack(read_recipe(target), bundle, report, lambda folder: output_order(load(folder)))
    scores = list(zip(tuned.reference, tuned.before, tuned.after, strict=True))
    if json:
        say_json(
            {
                "recipe": str(target),
                "bundle": None if bundle is None else str(bundle),
                "layers": [
                    {"name": v.name, "weights": v.weights, "weight_bits": v.bits, "given": v.given}
                    for v in tuned.layers
                ],
                "steps": [
                    {
                        "layer": s.layer, "weight_bits": s.bits, "total_bits": s.weight_bits,
                        "words": s.words, "accuracy": s.score.accuracy, "snr": s.score.snr,
                    }
                    for s in tuned.steps
                ],
                "samples": [
                    {
                        "samples": b.samples, "float_accuracy": a.accuracy,
                        "accuracy_before": b.accuracy, "accuracy": c.accuracy,
                        "snr_before": b.snr, "snr": c.snr,
                    }
                    for a, b, c in scores
                ],
                "weight_bits": tuned.weight_bits,
                "words": tuned.words,
                "word_bits": tuned.word_bits,
            }
        )  # fmt: skip
        return 0
    decides = tuned.before[0].samples
    rows = [
        (
            f"{s.layer} to {s.bits} bits" if s.layer else "as it is", s.weight_bits,
            f"{s.weight_bits / 8192:.1f} KiB", s.words, percent(s.score.accuracy),
            f"{s.score.snr:.1f} dB",
        )
        for s in tuned.steps
    ]  # fmt: skip
    columns = ("narrowed", "weight bits", "hold", "words", f"accuracy on {decides}", "SNR")
    table("", columns, rows)
    found = [(v.name, v.weights, v.bits, "recipe" if v.given else "") for v in tuned.layers]
    table("", ("layer", "weights", "bits", "given by"), found)
    for exact, before, after in scores:
        say(
            f"{after.samples}: accuracy {percent(after.accuracy)} (before "
            f"{percent(before.accuracy)}, float {percent(exact.accuracy)}), "
            f"SNR {after.snr:.1f} dB (before {before.snr:.1f})"
        )
    first = tuned.steps[0]
    say(
        f"weights {first.weight_bits:,} -> {tuned.weight_bits:,} bits, weights.mem "
        f"{first.words:,} -> {tuned.words:,} words of {tuned.word_bits} bits; "
        f"written to {named(target)}"
    )
    return 0
