# SPDX-License-Identifier: Apache-2.0
"""bramcast golden: integer inference from a bundle's images."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from bramcast.cli.judged import beside_json, beside_line
from bramcast.cli.options import AllowModified, Bundle, InputsFile, Json
from bramcast.cli.output import give_stdout, percent, progress, say, say_json
from bramcast.cli.samples import read_samples
from bramcast.golden.beside_float import beside_float
from bramcast.golden.frames import frames_of, outputs_from_beats
from bramcast.golden.ledger import c_header, ledgers
from bramcast.golden.load import load
from bramcast.golden.metrics import labelled_accuracy
from bramcast.golden.vectors import INDEX, VECTOR_FILES, Vector, index_text, mem_text, vectors
from bramcast.pack.bundle.cycles import predict
from bramcast.pack.bundle.float_results import read_float_results
from bramcast.pack.bundle.folder import named, replace_file, replace_folder


def command(
    bundle: Bundle,
    inputs: InputsFile,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Save out_int and out (.npz).")
    ] = None,
    ledger: Annotated[
        Path | None, typer.Option(help="Write what the core's ledger must hold, as a C header.")
    ] = None,
    vectors_to: Annotated[
        Path | None,
        typer.Option("--vectors", help="Folder for inputs and every layer's results as .mem."),
    ] = None,
    vector_samples: Annotated[
        int, typer.Option("--vector-samples", min=1, help="With --vectors: of so many samples.")
    ] = 1,
    allow_modified: AllowModified = False,
    json: Json = False,
) -> int:
    """Run the integer model on every sample; accuracy where there are labels."""
    give_stdout([output, ledger], json)
    samples = read_samples(inputs, bundle)
    machine = load(bundle, allow_modified)
    assert machine.manifest is not None
    frames = frames_of(samples.x, machine.manifest)
    with progress(json) as report:
        results = machine.run(frames, progress=lambda n: report("golden", n, len(frames)))
    outputs = outputs_from_beats(results.beats, machine)
    if output is not None:
        arrays = dict[str, Any]()
        for one in outputs:
            suffix = f"_{one.name}" if one.name else ""
            arrays |= {f"out_int{suffix}": one.integers, f"out{suffix}": one.real}
        replace_file(output, lambda file: np.savez(file, **arrays))
    if ledger is not None:
        first = frames[:1]
        (entries,) = ledgers(machine, machine.run(first, keep_layers=True))
        text = c_header(machine, first[0], entries)
        replace_file(ledger, lambda file: file.write(text.encode()))
    if vectors_to is not None:
        _write_vectors(vectors_to, list(vectors(machine, frames[:vector_samples])))
    floats = read_float_results(bundle, machine.manifest)
    labelled = outputs[samples.y_of]
    right = labelled_accuracy(labelled.real, samples.y, labelled.signed)
    known = None if right is None else samples.y_of
    beside = beside_float(floats, machine.manifest, samples.x, outputs, known)
    cycles = predict(machine.program, machine.core).total
    if json:
        say_json(
            {
                "samples": len(frames),
                "accuracy": right,
                "cycles": cycles,
                "beside_float": None if beside is None else beside_json(beside),
            }
        )
        return 0
    say(f"{machine.manifest.name}: {len(frames)} samples, {cycles:,} cycles each (predicted)")
    if right is not None:
        say(f"accuracy {percent(right)}, float {percent(machine.manifest.float_accuracy)}")
    if beside is not None:
        say(beside_line(beside, len(frames)))
    if output is not None:
        say(f"results written to {named(output)}")
    if ledger is not None:
        say(f"the ledger of sample 0 written to {named(ledger)}")
    if vectors_to is not None:
        count = min(vector_samples, len(frames))
        say(f"vectors of {count} sample{'s' * (count > 1)} written to {vectors_to}, see {INDEX}")
    return 0


def _write_vectors(folder: Path, written: list[Vector]) -> None:
    def fill(fresh: Path) -> None:
        for one in written:
            (fresh / one.file).write_text(mem_text(one.values, one.format.bits))
        (fresh / INDEX).write_text(index_text(written), encoding="utf-8")

    replace_folder(folder, fill, VECTOR_FILES)
