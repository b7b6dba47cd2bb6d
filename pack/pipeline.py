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
    Manifest,
    manifest_json,
    sha256,
)
from bramcast.pack.bundle.program import Descriptor
from bramcast.pack.contents import manifest_of
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.tensor import IntArray
from bramcast.pack.judge.against_float import judge
from bramcast.pack.judge.limits import check_limits, within_limits
from bramcast.pack.judge.remedies import Remedy, Situation, advice, remedies
from bramcast.pack.lower.core import core_of, images_of, needs_gates
from bramcast.pack.lower.loops import roll
from bramcast.pack.lower.nests import Program, link, lower
from bramcast.pack.lower.walks import Layout
from bramcast.pack.notes import NOISE_SAMPLES, calibration_note, input_note, notes_of
from bramcast.pack.passes.shrink import Removed
from bramcast.pack.passes.two_planes import Planes
from bramcast.pack.prepare import prepare, settle
from bramcast.pack.quantize.formats import Formats
from bramcast.pack.quantize.integers import quantize
from bramcast.pack.quantize.op import QuantizedOp
from bramcast.pack.recipe.recipe import Recipe
from bramcast.pack.run.calibrate import (
    Progress,
    integer_results,
    layer_noise,
    silent,
)
from bramcast.pack.run.execute import one_thread
from bramcast.pack.samples.inputs import Inputs


@dataclass(slots=True)
class Packed:
    """Everything that is known after packing; the bundle holds what the core needs of it.

    ``notes`` are sentences about numbers that a person should know of, ``remedies`` what the
    recipe could say to lose less.
    """

    recipe: Recipe
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
) -> Packed:
    """Pack a recipe into a bundle folder.

    Args:
        verify: called with the complete new folder; what it raises keeps the old bundle in place.

    Raises:
        UserError: whatever is wrong with recipe, model, checkpoint, inputs or numbers.
    """
    prepared = prepare(recipe, progress)
    inputs, layout, planes = prepared.inputs, prepared.layout, prepared.planes
    floats = prepared.floats
    assert floats is not None
    check_limits(recipe, prepared.graph, inputs, floats)
    refined = settle(prepared, prepared.rules.weight_bits, progress)
    graph, formats = refined.graph, refined.formats
    quantized = quantize(graph, formats, prepared.rules.weight_bits, graph.ops[-1])
    noise = layer_noise(
        refined.exact,
        quantized,
        formats.of(graph.input),
        planes,
        inputs.calibration[:NOISE_SAMPLES],
    )
    judged = judge(refined.exact, quantized, formats.of(graph.input), planes, inputs, floats)
    judged = within_limits(recipe, judged)
    program = lower(graph, layout, formats, quantized, recipe.core.drain)
    situation = Situation(
        recipe, graph, inputs, judged, planes is not None, prepared.scales, prepared.offsets,
        refined.tried, program.nests,
    )  # fmt: skip
    helps = remedies(situation)
    descriptors, scratch = link(graph, layout, program)
    if needs_gates(recipe, descriptors):
        descriptors = roll(descriptors)
    images = images_of(program, descriptors, recipe)
    core = core_of(
        recipe, {name: len(words) for name, words in images.items()}, scratch, descriptors
    )
    packed = Packed(
        recipe=recipe,
        graph=graph,
        layout=layout,
        formats=formats,
        quantized=quantized,
        planes=planes,
        program=program,
        descriptors=descriptors,
        manifest=manifest_of(
            recipe,
            graph,
            formats,
            quantized,
            noise,
            program,
            planes,
            core,
            scratch,
            floats.accuracy,
            judged,
        ),
        inputs=inputs,
        notes=(
            *notes_of(prepared.graph, graph, formats, quantized, planes, inputs),
            *input_note(prepared),
            *([prepared.far] if prepared.far else []),
            *calibration_note(prepared),
            *(broken_text(broken) for broken in judged.judgement.broken),
            *advice(situation, helps),
        ),
        remedies=tuple(helps),
        removed=prepared.removed,
    )

    def fill(folder: Path) -> None:
        wanted = recipe.images
        infos = write_image_files(
            folder, images, core, wanted.formats, wanted.bank_bits, wanted.pad_depth
        )
        results = float_results_bytes(inputs.x[floats.chosen], floats.outputs)
        (folder / FLOAT_RESULTS_NAME).write_bytes(results)
        packed.manifest = replace(packed.manifest, images=infos, float_results=sha256(results))
        (folder / MANIFEST_NAME).write_text(manifest_json(packed.manifest), encoding="utf-8")
        try:
            verify(folder)
        except UserError as error:  # of a folder that nobody will find
            raise type(error)(str(error).replace(str(folder), str(bundle))) from None

    replace_folder(bundle, fill)
    return packed


# --- calibration -------------------------------------------------------------------------------


# --- images and manifest -----------------------------------------------------------------------
