# SPDX-License-Identifier: Apache-2.0
"""bramcast export: tensors of a checkpoint as text, CSV, numpy, C, .wts or memory images."""

from pathlib import Path
from typing import Annotated

import typer

from bramcast.cli.options import Json, ModelName, RecipeFile, StateName
from bramcast.cli.output import give_stdout, say, say_json
from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.folder import named
from bramcast.pack.bundle.formats.table import NAMES
from bramcast.pack.bundle.packages import torch_needed
from bramcast.pack.recipe.recipe import read_recipe


def command(
    checkpoint: Annotated[
        Path, typer.Argument(help="Checkpoint, .safetensors, .onnx, .pt2 or recipe.")
    ],
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Tensors: names, layers, globs, /regular expressions/; else all."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="File to write, else text is printed; a folder for several .npy."
        ),
    ] = None,
    cut: Annotated[
        str | None, typer.Option("--slice", help='Part of each tensor, e.g. "0:4,:,1".')
    ] = None,
    gates: Annotated[
        bool, typer.Option("--gates", help="Split GRU and LSTM tensors into their gates.")
    ] = False,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="text, csv, npy, npz, h, wts, or with --q a memory image: "
            f"{', '.join(n for n in NAMES if n not in ('npz', 'h'))}; else by suffix.",
        ),
    ] = None,
    precision: Annotated[
        int | None,
        typer.Option("--precision", min=0, help="Digits behind the point; else what is needed."),
    ] = None,
    scientific: Annotated[
        bool, typer.Option("--scientific", help="Numbers with an exponent.")
    ] = False,
    columns: Annotated[
        int | None, typer.Option("--columns", min=1, help="Values of a tensor (or gate) in a line.")
    ] = None,
    q: Annotated[
        str | None, typer.Option("--q", help="Integers of this format, e.g. Q1.6, not floats.")
    ] = None,
    word_bits: Annotated[
        int | None,
        typer.Option("--word-bits", min=1, help="Bits of an image's word; else a value a word."),
    ] = None,
    pad_rows: Annotated[
        bool, typer.Option("--pad-rows", help="In an image each row begins with a new word.")
    ] = False,
    recipe: RecipeFile = None,
    model: ModelName = None,
    state: StateName = None,
    json: Json = False,
) -> int:
    """Write chosen tensors, whole, sliced or gate by gate; nothing is abbreviated."""
    if output is None and format in ("npy", "npz", "bin"):
        raise InputError(f"--format {format} is no text: give -o FILE, or -o - for standard output")
    target = Path("-") if output is None else output
    give_stdout([target], json)
    with torch_needed("reading a checkpoint", checkpoint):
        from bramcast.pack.look.export import Integers, NetworkOf, Style, export, integer_format

        done = export(
            checkpoint,
            target,
            names or (),
            cut=cut,
            gates=gates,
            format=format,
            style=Style(precision, scientific, columns),
            integers=Integers(None if q is None else integer_format(q), word_bits, pad_rows),
            network=NetworkOf(state, None if recipe is None else read_recipe(recipe), model),
        )
    spans = done.spans
    if json:
        tensors: list[dict[str, object]] = [
            {"name": n, "shape": list(s)} for n, s in zip(done.names, done.shapes, strict=True)
        ]
        document: dict[str, object] = {"path": str(done.path), "format": done.format}
        document["tensors"] = tensors
        document["notes"] = list(done.notes)
        if spans:
            document |= {"words": done.words, "bits": done.word_bits}
            for tensor, span in zip(tensors, spans, strict=True):
                tensor |= {"address": span.address, "words": span.words}
        say_json(document)
        return 0
    for note in done.notes:
        say(f"note: {note}")
    what = "array" if len(done.names) == 1 else "arrays"
    held = f", {done.words:,} words of {done.word_bits} bits" if spans else ""
    say(f"{len(done.names)} {what} written to {named(done.path)} ({done.format}{held})")
    for name, span in zip(done.names, spans, strict=True) if len(spans) > 1 else ():
        many = "word" if span.words == 1 else "words"
        say(f"{name}: {span.words:,} {many} from address {span.address:,} (0x{span.address:X})")
    return 0
