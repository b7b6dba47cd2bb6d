# SPDX-License-Identifier: Apache-2.0
"""bramcast pack: checkpoint and recipe -> bundle."""

import os
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bramcast.api.casting import make
from bramcast.cli.advised import print_trials, tried
from bramcast.cli.judged import judgement_json, judgement_lines
from bramcast.cli.options import (
    Json,
    Lanes,
    Network,
    Samples,
    Settings,
    Weights,
    wanted,
)
from bramcast.cli.output import complain, percent, progress, say, say_json, table
from bramcast.cli.stages import Stopwatch
from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.program import Nest, unrolled
from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.bundle.time_steps import same_descriptors, title
from bramcast.pack.passes.table import VERIFY
from bramcast.pack.recipe.recipe import Recipe

if TYPE_CHECKING:
    from bramcast.pack.quantize.op import QuantizedOp
    from bramcast.pack.train.advise import Trial

BUNDLES = Path("build") / "bundles"


def command(
    network: Network,
    weights: Weights = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="Bundle folder to write; build/bundles/NAME if not given."
        ),
    ] = None,
    inputs: Samples = None,
    lanes: Lanes = None,
    settings: Settings = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Compare golden with the quantized graph on every input."),
    ] = False,
    advise: Annotated[
        bool,
        typer.Option("--advise", help="Try what may lose less, a table; without -o nothing else."),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Print the stages with their times.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the graph behind each pass, for developers.")
    ] = False,
    json: Json = False,
) -> int:
    """Read the checkpoint, fold, quantize, lay out and write the images."""
    read = wanted(network, weights, inputs, lanes, settings)
    if verify:
        os.environ[VERIFY] = "1"
    if output is None and advise:
        with TemporaryDirectory() as folder:
            return _pack(read, Path(folder) / "bundle", check, True, verbose, json)
    return _pack(read, output or _default_folder(read), check, advise, verbose, json)


def _pack(
    recipe: Recipe, output: Path, check: bool, advise: bool, verbose: bool, json: bool
) -> int:
    clock = Stopwatch()
    with progress(json) as report:
        typed = shlex.join(["bramcast", *sys.argv[1:]])
        made = make(recipe, output, report, clock, command=typed)
        packed, cycles, notes = made.packed, made.cycles, list(made.notes)
        agreement = None
        if check:
            from bramcast.sim.regress.agree import compare_with_graph

            agreement = compare_with_graph(packed, output, report)
        trials = tried(packed, output, report) if advise else None
    manifest = packed.manifest
    assert manifest.judgement is not None
    nests = [d for _, d in unrolled(packed.descriptors) if isinstance(d, Nest)]
    of_layer: dict[int, list[Nest]] = {}
    for nest, info in zip(nests, manifest.nests, strict=True):
        of_layer.setdefault(info.layer, []).append(nest)
    layers: list[dict[str, object]] = []
    for index, layer in enumerate(manifest.layers):
        mine = of_layer[index]
        layers.append(
            {
                "name": layer.name,
                "op": layer.op,
                "output_format": str(layer.format.q),
                "weight_formats": _weight_formats(packed.quantized[layer.name]),
                "shape": layer.shape,
                "macs": layer.macs,
                "source": layer.source,
                "nests": len(mine),
                # as result_address in sub-words of LANES elements
                "activation_address": [n.act_base // manifest.core.lanes for n in mine],
                "weight_address": [n.weight_base for n in mine],
                "bias_address": [n.bias_base for n in mine],
                "result_address": [None if n.stream else n.result_base for n in mine],
            }
        )
    images = [
        {"name": i.name, "words": i.words, "used": i.used, "bits": i.bits, "sha256": i.sha256}
        for i in manifest.images
    ]
    if json:
        say_json(
            {
                "bundle": str(output),
                "parameters": manifest.parameters,
                "macs": manifest.macs,
                "cycles": cycles,
                "layers": layers,
                "images": images,
                "input_format": str(manifest.input.format.q),
                "input_planes": manifest.input.planes,
                "scratch_words": manifest.scratch_words,
                "core": {name: getattr(manifest.core, name) for name in _CORE_KEYS},
                "float_accuracy": manifest.float_accuracy,
                "judgement": judgement_json(manifest.judgement),
                "notes": notes,
                "advice": None if trials is None else [_trial_json(trial) for trial in trials],
                "stages": [asdict(stage) for stage in clock.stages] if verbose else None,
                "channels_removed": sum(r.channels for r in packed.removed),
                "accuracy": None if agreement is None else agreement.accuracy,
                "golden_equals_graph": None if agreement is None else agreement.mismatches == 0,
            }
        )
    else:
        if verbose:
            clock.print()
        _print(output, packed, layers, images, cycles)
        if agreement is not None:
            say(agreement.text)
            if agreement.accuracy is not None:
                say(f"accuracy of golden {percent(agreement.accuracy)}")
        if trials is not None:
            print_trials(trials)
    for note in notes:
        complain(note)
    if agreement is not None and agreement.mismatches:
        complain("golden and the quantized graph differ: this is a defect of bramcast")
        return 1
    return 1 if any(broken.given for broken in manifest.judgement.broken) else 0


def _default_folder(recipe: Recipe) -> Path:
    """Where a bundle goes without -o.

    Raises:
        InputError: the network's name is no name of a folder.
    """
    if recipe.name in (".", "..") or Path(recipe.name).name != recipe.name:
        raise InputError(f"{recipe.name!r} is no name of a folder: give one with -o")
    return BUNDLES / recipe.name


def _trial_json(trial: "Trial") -> dict[str, object]:
    judgement = trial.judgement
    return asdict(trial) | {"judgement": None if judgement is None else judgement_json(judgement)}


_CORE_KEYS = (
    "lanes", "taps", "tiles", "pairs", "data_bits", "weight_bits", "rq", "program_depth",
    "weights_depth", "bias_depth", "table_depth", "scratch_depth",
)  # fmt: skip


def _weight_formats(q: "QuantizedOp") -> list[str]:
    """The formats that the output channels' weights have, finest last."""
    return [str(QFormat(q.weight_bits, frac)) for frac in sorted(set(q.weight_frac))]


def _print(output: Path, packed: Any, layers: list[Any], images: list[Any], cycles: int) -> None:
    manifest = packed.manifest
    frame = manifest.input
    formats = ", ".join(f"{f.name} {f.format.q}".strip() for f in manifest.inputs)
    planes = f", {frame.planes} planes {frame.plane_shift} bits apart" if frame.planes > 1 else ""
    scaled = ", less an offset for each feature" if frame.offsets else ""
    scaled += ", a power of two for each feature" if any(frame.exponents) else ""
    say(
        f"{manifest.name}: {manifest.parameters:,} parameters, {manifest.macs:,} multiply-adds, "
        f"input{'s' * (len(manifest.inputs) > 1)} {formats}{planes}{scaled}"
    )
    rows, tiled = [], manifest.core.tiles > 1
    steps = same_descriptors(packed.descriptors, [nest.layer for nest in manifest.nests])
    for same in steps.values():
        layer = layers[same[0]]
        y, x, c = layer["shape"]
        first = layer["result_address"][0]
        name, macs = title(layer["name"], len(same)), sum(layers[i]["macs"] for i in same)
        rows.append(
            (
                name, layer["op"], f"{y}x{x}x{c}",
                *([manifest.layers[same[0]].strips or "-"] if tiled else []),
                layer["output_format"], macs,
                layer["weight_address"][0], "stream" if first is None else f"{first:,}",
                layer["source"],
            )
        )  # fmt: skip
    strips = ["strips"] if tiled else []
    more = ("format", "MACs", "weights at", "result at", "source")
    table("", ("layer", "op", "y x c", *strips, *more), rows)
    core = manifest.core
    scratch_bits = core.multipliers * core.data_bits
    memories = [(i["name"], i["words"], i["bits"]) for i in images]
    memories.append(("scratchpad", core.scratch_depth, scratch_bits))
    sized = [(n, w, b, f"{w * b / 8192:.1f} KiB") for n, w, b in memories]
    say("")
    table("", ("memory", "words", "bits", "holds"), sized)
    if packed.removed:
        count = sum(r.channels for r in packed.removed)
        say(f"shrink: {count:,} channels that compute nothing are left out")
    judgement, right = manifest.judgement, manifest.float_accuracy
    assert judgement is not None
    for line in judgement_lines(manifest, judgement):
        say(line)
    known, every = "", len(packed.inputs.x)
    if right is not None and judgement.samples < every:
        known = f"; accuracy of the float network on all {every:,} samples {percent(right)}"
    say(f"{cycles:,} cycles a frame (predicted){known}")
    say(f"written to {output}")
