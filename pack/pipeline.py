# SPDX-License-Identifier: Apache-2.0
"""The whole road from a recipe to a bundle."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.bundle.errors import UserError
from bramcast.pack.bundle.float_results import FLOAT_RESULTS_NAME, float_results_bytes
from bramcast.pack.bundle.folder import replace_folder
from bramcast.pack.bundle.images import write_image_files
from bramcast.pack.bundle.judgement import broken_text
from bramcast.pack.bundle.manifest import (
    MANIFEST_NAME,
    Core,
    Manifest,
    manifest_json,
    sha256,
)
from bramcast.pack.bundle.program import Descriptor
from bramcast.pack.bundle.provenance import PROVENANCE_NAME, provenance_bytes
from bramcast.pack.contents import Measures, manifest_of
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.tensor import IntArray
from bramcast.pack.judge.against_float import judge
from bramcast.pack.judge.limits import check_limits, within_limits
from bramcast.pack.judge.remedies import Remedy, Situation, advice, remedies
from bramcast.pack.lower.copies import with_copies
from bramcast.pack.lower.core import images_of
from bramcast.pack.lower.lowered import Lowered, lowered
from bramcast.pack.lower.nests import Program
from bramcast.pack.lower.walks import Layout
from bramcast.pack.notes import NOISE_SAMPLES, movement_notes, notes_of
from bramcast.pack.origin import origin
from bramcast.pack.passes.shrink import Removed
from bramcast.pack.passes.table import Watch, unwatched
from bramcast.pack.passes.two_planes import Planes
from bramcast.pack.prepare import Prepared, in_integers, prepare, settle
from bramcast.pack.quantize.formats import Formats
from bramcast.pack.quantize.network import Network
from bramcast.pack.quantize.op import QuantizedOp
from bramcast.pack.read.network import LoadedNetwork
from bramcast.pack.recipe.recipe import Recipe
from bramcast.pack.run.calibrate import (
    FloatRun,
    Progress,
    integer_results,
    layer_noise,
    silent,
)
from bramcast.pack.run.execute import one_thread
from bramcast.pack.run.refine import Refined
from bramcast.pack.samples.inputs import Inputs


@dataclass(slots=True)
class Packed:
    """Everything that is known after packing; the bundle holds what the core needs of it.

    ``prepared`` and ``network`` are what was quantized, the same for every core; ``graph``,
    ``formats`` and ``quantized`` have the layout's copies, too. ``notes`` are sentences about
    numbers that a person should know of, ``remedies`` what the recipe could say to lose less.
    """

    recipe: Recipe
    prepared: Prepared
    network: Network
    graph: Graph
    layout: Layout
    formats: Formats
    quantized: dict[str, QuantizedOp]
    planes: Planes | None
    program: Program
    descriptors: list[Descriptor]
    manifest: Manifest
    inputs: Inputs
    notes: tuple[str, ...] = ()
    removed: tuple[Removed, ...] = ()
    remedies: tuple[Remedy, ...] = ()


def run_integers(packed: Packed, samples: NDArray[np.floating]) -> dict[str, IntArray]:
    """The quantized graph on real samples: every layer's result, int64 [N, C, H, W], by name."""
    fmt = packed.formats.of(packed.graph.input)
    return integer_results(packed.graph, packed.quantized, fmt, packed.planes, samples)


@one_thread()
def pack(
    recipe: Recipe,
    bundle: Path,
    progress: Progress = silent,
    verify: Callable[[Path], object] = lambda folder: None,
    watch: Watch = unwatched,
    source: LoadedNetwork | None = None,
    inputs: Inputs | None = None,
    command: str | None = None,
) -> Packed:
    """Pack a recipe into a bundle folder.

    Args:
        command: as it was typed, for the bundle's provenance.
        source, inputs: as ``prepare`` takes them.
        verify: called with the complete new folder; what it raises keeps the old bundle in place.
        watch: called behind each stage.

    Raises:
        UserError: whatever is wrong with recipe, model, checkpoint, inputs or numbers.
    """
    prepared = prepare(recipe, progress, source, inputs, watch=watch)
    floats = prepared.floats
    assert floats is not None, "nothing is traced"
    check_limits(recipe, prepared.graph, prepared.inputs, floats)
    refined = settle(prepared, prepared.rules.weight_bits, progress)
    watch("calibrate, refine", prepared.graph, refined.graph)
    network = in_integers(prepared, refined)
    watch("quantize", network.graph, network.graph)
    made = lowered(network, prepared.laid_out, recipe)
    watch("lower", network.graph, made.network.graph)
    measures = _measured(prepared, refined, made.network, floats)
    watch("judge", made.network.graph, made.network.graph)
    packed = _packed(prepared, refined, network, measures, made)

    def fill(folder: Path) -> None:
        packed.manifest = _write(folder, packed, made.core, floats)
        told = origin(recipe, command, source is not None or inputs is not None)
        (folder / PROVENANCE_NAME).write_bytes(provenance_bytes(told))
        try:
            verify(folder)
        except UserError as error:  # of a folder that nobody will find
            raise type(error)(str(error).replace(str(folder), str(bundle))) from None

    replace_folder(bundle, fill)
    watch("write, validate", packed.graph, packed.graph)
    return packed


# --- stages --------------------------------------------------------------------------------------


def _measured(prepared: Prepared, refined: Refined, network: Network, floats: FloatRun) -> Measures:
    """The network of integers beside the real one."""
    exact = with_copies(network.graph, refined.exact)
    ops, planes, inputs = network.ops, network.planes, prepared.inputs
    fmt = network.input_format
    noise = layer_noise(exact, ops, fmt, planes, inputs.calibration[:NOISE_SAMPLES])
    judged = judge(exact, ops, fmt, planes, inputs, floats)
    return Measures(noise, floats.accuracy, within_limits(prepared.recipe, judged))


def _packed(
    prepared: Prepared,
    refined: Refined,
    network: Network,
    measures: Measures,
    made: Lowered,
) -> Packed:
    """All of it, with what a person should know of; no image is written yet."""
    situation = Situation(
        prepared.recipe, made.network.graph, prepared.inputs, measures.judged,
        network.planes is not None, prepared.advice.scales, prepared.advice.offsets,
        refined.tried, made.program.nests,
    )  # fmt: skip
    helps = remedies(situation)
    return Packed(
        recipe=prepared.recipe,
        prepared=prepared,
        network=network,
        graph=made.network.graph,
        layout=made.layout,
        formats=made.network.formats,
        quantized=made.network.ops,
        planes=network.planes,
        program=made.program,
        descriptors=made.descriptors,
        manifest=manifest_of(made, measures),
        inputs=prepared.inputs,
        notes=(
            *notes_of(prepared, network),
            *movement_notes(made),
            *(broken_text(broken) for broken in measures.judged.judgement.broken),
            *advice(situation, helps),
        ),
        removed=prepared.removed,
        remedies=tuple(helps),
    )


def _write(folder: Path, packed: Packed, core: Core, floats: FloatRun) -> Manifest:
    """Write all files of a bundle; the manifest with the images' checksums."""
    wanted = packed.recipe.images
    images = images_of(packed.program, packed.descriptors, packed.recipe)
    infos = write_image_files(
        folder, images, core, wanted.formats, wanted.bank_bits, wanted.pad_depth
    )
    results = float_results_bytes(packed.inputs.x[floats.chosen], floats.outputs)
    (folder / FLOAT_RESULTS_NAME).write_bytes(results)
    manifest = replace(packed.manifest, images=infos, float_results=sha256(results))
    (folder / MANIFEST_NAME).write_text(manifest_json(manifest), encoding="utf-8")
    return manifest
