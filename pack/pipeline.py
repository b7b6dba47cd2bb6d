# SPDX-License-Identifier: Apache-2.0
"""The whole road from a recipe to a bundle."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.against_float import Judged, judge, judged_samples
from bramcast.pack.bundle import replace_folder
from bramcast.pack.by_hand import Rules, rules_of
from bramcast.pack.calibrate import (
    ONE_PLANE_DB,
    Calibrated,
    FloatRun,
    Progress,
    check_against_module,
    float_run,
    integer_results,
    is_coarse,
    largest_values,
    layer_noise,
    needs_planes,
    silent,
    varying_db,
)
from bramcast.pack.capture import capture
from bramcast.pack.descriptor import MAX_CYCLES, Descriptor, Loop, Nest, encode_program
from bramcast.pack.errors import RangeError, RecipeError, UnsupportedLayer, UserError
from bramcast.pack.exact import exactness_notes
from bramcast.pack.execute import one_thread
from bramcast.pack.float_results import FLOAT_RESULTS_NAME, float_results_bytes
from bramcast.pack.fold import fold
from bramcast.pack.formats import (
    Formats,
    choose_formats,
    has_gates,
    split_products,
)
from bramcast.pack.graph import Graph, IntArray
from bramcast.pack.images import write_image_files
from bramcast.pack.input_offsets import Drift, drift, offset_input, offsets_note
from bramcast.pack.input_scales import input_exponents, scalable, scale_input
from bramcast.pack.inputs import Inputs, read_inputs
from bramcast.pack.layout import make_layout
from bramcast.pack.limits import broken_text, check_limits, within_limits
from bramcast.pack.lower import Program, link, lower
from bramcast.pack.manifest import (
    FORMAT,
    MANIFEST_NAME,
    Core,
    Format,
    Frame,
    LayerInfo,
    Manifest,
    NestInfo,
    manifest_json,
    sha256,
)
from bramcast.pack.memory import MEMORIES, free_depth
from bramcast.pack.planes import Planes, can_split, choose_planes, split_input
from bramcast.pack.qformat import QFormat, parse_format
from bramcast.pack.quantize import QuantizedOp, quantize
from bramcast.pack.reading import Layout
from bramcast.pack.recipe import Recipe
from bramcast.pack.refine import Refined, refine
from bramcast.pack.remedies import Remedy, Situation, advice, remedies
from bramcast.pack.roll import roll
from bramcast.pack.shrink import Removed, shrink
from bramcast.pack.source import Source, read_model
from bramcast.pack.spread import spread_input
from bramcast.pack.weave import weave
from bramcast.pack.words import Words, from_uint32, pack_bias, pack_lanes

WORTH_DB = 3.0  # what an offset must win to be named
NOISE_SAMPLES = 64  # on which the layers' signal to noise is measured


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


FEW_SAMPLES = 16  # of calibration


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A network whose operations and tensors are final; formats and integers are to be chosen.

    Attributes:
        rules: what the recipe says about formats.
        bits: width of an activation.
        input_format: the input's, where it is not chosen with the others.
        floats: what the float network gives; None where it was not asked.
        coarse: two planes of input alone leave too much noise.
        far: a note about features that lie far from zero.
        scales: powers of two would bring the input's features nearer to each other.
        offsets: subtracting constants would bring some of them nearer to zero.
    """

    recipe: Recipe
    graph: Graph
    inputs: Inputs
    planes: Planes | None
    layout: Layout
    rules: Rules
    bits: int
    input_format: QFormat | None
    floats: FloatRun | None
    removed: tuple[Removed, ...] = ()
    coarse: bool = False
    far: str | None = None
    scales: bool = False
    offsets: bool = False


@one_thread()
def prepare(
    recipe: Recipe,
    progress: Progress = silent,
    source: Source | None = None,
    inputs: Inputs | None = None,
    trace: bool = False,
) -> Prepared:
    """Capture and fold a network, split its input where that pays, and lay its tensors out.

    Args:
        source, inputs: the network and its samples; those that the recipe names if absent.
        trace: as ``capture`` takes it; the float network is then not run on the samples.

    Raises:
        UserError: whatever is wrong with recipe, model, checkpoint or inputs.
    """
    if inputs is None:
        inputs = read_inputs(recipe.file(recipe.model.inputs))
    if source is None:
        source = read_model(recipe, inputs.x.shape[1:])
    graph = fold(capture(source.module, inputs.x.shape[1:], recipe.name, source.label, trace))
    removed: list[Removed] = []
    if recipe.model.shrink and trace:
        raise RecipeError(
            f"{recipe.path}: model.shrink: channels that are zero now may not stay so; retrain "
            "without it, and pack with it"
        )
    if recipe.model.shrink:
        graph, removed = shrink(graph)
    weave(graph)
    _check_cycles(recipe, graph)
    check_against_module(graph, source.module, inputs)
    if not graph.ops:
        raise UnsupportedLayer(f"model {graph.name!r} computes nothing: there is no layer to pack")
    chosen = judged_samples(graph, inputs)
    floats = None if trace else float_run(graph, inputs, chosen, progress)
    offsets = recipe.quantize.input_offsets
    if offsets is not None:
        graph = offset_input(graph, offsets, inputs.calibration, str(recipe.path))
    seen = None if trace else drift(graph, inputs.calibration)
    given = recipe.quantize.input_exponents
    scales = given is None and scalable(graph)
    scales = scales and bool(input_exponents(graph, inputs.calibration).any())
    if given is not None:
        graph = scale_input(graph, given, inputs.calibration, str(recipe.path))
    if has_gates(graph):
        known = {op.name for op in graph.ops}
        layers = recipe.quantize.layers.items()
        copies = {name: section.copies for name, section in layers if section.copies is not None}
        largest = largest_values(graph, inputs)
        spread_input(graph, inputs.calibration, largest, copies, str(recipe.path))
        added = next((op for op in graph.ops if op.name not in known), None)
        if trace and added is not None:
            cell = graph.consumers(added.out)[0]
            raise UnsupportedLayer(
                f"{cell.source}: layer {cell.name!r} is recurrent and reads the input: how often "
                "it reads each feature depends on its weights, so it can't be retrained as the "
                "core computes; pack it without retraining"
            )
    planes = _choose_planes(recipe, graph, inputs)
    coarse = planes is not None and is_coarse(graph, inputs, planes.rounded)
    far = _offsets_note(recipe, graph, inputs, planes, seen) if seen else None
    if planes is not None:
        split_input(graph, planes.shift)
    if recipe.quantize.activation_bits > 8:
        split_products(graph)
    layout = make_layout(graph, recipe.core.lanes, recipe.core.taps)
    rules, fixed = rules_of(recipe, graph), _input_format(recipe, graph, inputs, planes)
    bits = recipe.quantize.activation_bits
    return Prepared(
        recipe, graph, inputs, planes, layout, rules, bits, fixed, floats, tuple(removed), coarse,
        far, scales, seen is not None and offsets is None and bool(seen.able.any()),
    )  # fmt: skip


def _check_cycles(recipe: Recipe, graph: Graph) -> None:
    """Refuse what no program can run in time, before it is calibrated; the validator is exact.

    Raises:
        RecipeError: tells how many multipliers may do.
    """
    lanes, taps = recipe.core.lanes, recipe.core.taps
    macs = sum(op.macs for op in graph.ops)
    cycles = macs // (lanes * taps)
    if cycles > MAX_CYCLES:
        raise RecipeError(
            f"{recipe.path}: core.lanes: {macs:,} multiply-adds take {cycles:,} cycles or more "
            f"with {lanes} lanes x {taps} taps, a run has at most {MAX_CYCLES:,}: it needs more "
            f"lanes or taps, lanes x taps of {-(-macs // MAX_CYCLES)} or more"
        )


def settle(
    prepared: Prepared,
    weight_bits: Mapping[str, int],
    progress: Progress = silent,
    formats_only: bool = False,
) -> Refined:
    """Formats, and where the recipe has it so channel scales and biases.

    Args:
        weight_bits: as ``quantize`` takes them.
        formats_only: leave the graph as it is.

    Raises:
        RangeError: no legal weights.
    """
    p = prepared

    def choose(graph: Graph, seen: Calibrated) -> Formats:
        return choose_formats(graph, seen.tensors, p.bits, p.input_format, p.rules, seen.reads)

    wanted = p.recipe.quantize.refine
    return refine(p.graph, p.inputs, p.planes, weight_bits, choose, progress, wanted, formats_only)


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
    if _gates(recipe, descriptors):
        descriptors = roll(descriptors)
    images = _images(program, descriptors, recipe)
    core = _core(recipe, {name: len(words) for name, words in images.items()}, scratch, descriptors)
    packed = Packed(
        recipe=recipe,
        graph=graph,
        layout=layout,
        formats=formats,
        quantized=quantized,
        planes=planes,
        program=program,
        descriptors=descriptors,
        manifest=_manifest(
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
            *_notes(prepared.graph, graph, formats, quantized, planes, inputs),
            *_input_note(prepared),
            *([prepared.far] if prepared.far else []),
            *_calibration_note(prepared),
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


def _input_format(
    recipe: Recipe, graph: Graph, inputs: Inputs, planes: Planes | None
) -> QFormat | None:
    """The input's format where it is not chosen with the others.

    Raises:
        RecipeError: given by hand, unsigned, and there are negative samples.
    """
    given = recipe.quantize.input
    if planes is not None or given is None:
        return None if planes is None else planes.fmt
    fmt = parse_format(given)
    lowest = min(float(graph.framed(some).min()) for some in (inputs.x, inputs.calibration))
    if not fmt.signed and lowest < 0:
        raise RecipeError(
            f"{recipe.path}: quantize.input: {fmt}, but samples of {inputs.path} go down to "
            f"{lowest:.6g}: write {QFormat(fmt.bits, fmt.frac)}"
        )
    return fmt


def _notes(
    asked: Graph,
    graph: Graph,
    formats: Formats,
    quantized: dict[str, QuantizedOp],
    planes: Planes | None,
    inputs: Inputs,
) -> Iterator[str]:
    """What is left out, what hand-given formats cut off, and where integers are not ``asked``'s."""
    if graph.left_out is not None:
        count, length = graph.left_out.groups.shape
        largest = "of which the largest stays the largest"
        if count > 1:
            largest = f"whose order stays within each of the {count:,} groups of {length:,} along "
            largest += "its axis, and not between them"
        yield (
            f"layer {graph.left_out.name!r}: the {graph.left_out.kind} at the end is left out: the "
            f"results are its logits, {largest}"
        )
    yield from _spared_notes(graph, quantized, inputs)
    fmt = formats.of(graph.input)
    if formats.is_fixed(graph.input) and planes is None:
        scaled = np.floor(graph.framed(inputs.x) / fmt.lsb + 0.5)
        cut = int(((scaled < fmt.min) | (scaled > fmt.max)).sum())
        if cut:
            yield f"input: {cut:,} of {scaled.size:,} values of {inputs.path} saturate in {fmt}"
    for op in graph.ops:
        q = quantized[op.name]
        if op.name in formats.rules.weight_fractions and q.saturated:
            yield (
                f"layer {op.name!r}: {q.saturated:,} of {q.weight.size:,} weights saturate in the "
                "format given by hand"
            )
    some = inputs.calibration[:NOISE_SAMPLES]
    yield from exactness_notes(asked, graph, formats, quantized, planes, some)


def _spared_notes(graph: Graph, quantized: dict[str, QuantizedOp], inputs: Inputs) -> Iterator[str]:
    """Weights that saturate as their inputs stand still in calibration, and which of those move."""
    for op in graph.ops:
        count = quantized[op.name].spared
        if not count:
            continue
        text = (
            f"layer {op.name!r}: {count:,} of its {op.weight.size:,} weights are far larger than "
            "the others and saturate, as what they meet hardly moves in the calibration samples"
        )
        if graph.operands(op) == {graph.input.index}:
            seen, tried = graph.framed(inputs.calibration), graph.framed(inputs.x)
            still = (seen == seen[:1]).all(axis=0)
            moving = np.flatnonzero(still & (tried != seen[:1]).any(axis=0))
            text += f"; {int(still.sum()):,} of {still.size:,} input elements never move there"
            if moving.size:
                named = ", ".join(str(i) for i in moving[:8]) + (", .." if moving.size > 8 else "")
                text += (
                    f", but {moving.size:,} of these (elements {named} of the frame) do in x: give "
                    "calibration samples in which they move"
                )
        yield text


def _input_note(prepared: Prepared) -> Iterator[str]:
    """What helps where one plane of input is too coarse and two are not possible."""
    section, graph = prepared.recipe.quantize, prepared.graph
    if prepared.coarse:
        helps = (
            'set quantize.input_exponents = "auto", which scales each by a power of two'
            if scalable(graph)
            else "scale them alike, by powers of two in front of the core and in the samples, and "
            "retrain or divide the first layer's weights"
        )
        yield (
            f"input: even two planes leave less than {ONE_PLANE_DB:g} dB between the output and "
            f"its error, as features differ too much in size for one format: {helps}"
        )
    fixed = section.input is not None or section.input_planes != "auto"
    if fixed or section.activation_bits > 8 or prepared.planes is not None or can_split(graph):
        return
    if needs_planes(graph, prepared.inputs, section.activation_bits):
        yield (
            f"input: 8 bits alone leave less than {ONE_PLANE_DB:g} dB between the output and its "
            "error, and only an input that Linear or ungrouped convolutions read can be sent as "
            "two planes: set quantize.activation_bits = 16, or scale the features alike"
        )


def _offsets_note(
    recipe: Recipe, graph: Graph, inputs: Inputs, planes: Planes | None, seen: Drift
) -> str | None:
    """What helps where features lie so far from zero that the output suffers."""
    if not seen.wanted.any():
        return None
    section = recipe.quantize
    fmt = parse_format(section.input) if section.input and planes is None else None
    shift = None if planes is None else planes.shift
    now = varying_db(graph, inputs, np.zeros(1), section.activation_bits, shift, fmt)
    if now >= ONE_PLANE_DB:
        return None
    wanted = np.repeat(seen.wanted, graph.input.height * graph.input.width)
    if graph.input_exponents.size:
        wanted = np.ldexp(wanted, graph.input_exponents)
    then = varying_db(graph, inputs, wanted, section.activation_bits, shift, None)
    if then < now + WORTH_DB:
        return None
    scales = then < ONE_PLANE_DB and section.input_exponents is None and scalable(graph)
    return offsets_note(seen, now, then, scales)


def _calibration_note(prepared: Prepared) -> Iterator[str]:
    """Whether the samples can tell which values occur."""
    inputs = prepared.inputs
    if prepared.input_format is not None:  # given by hand, as then mostly the others are
        return
    if not inputs.calibration.any():
        yield f"calibration: all samples of {inputs.path} are zero, so the formats mean nothing"
    elif len(inputs.calibration) < FEW_SAMPLES:
        count = f"{len(inputs.calibration)} sample" + "s" * (len(inputs.calibration) > 1)
        yield (
            f"calibration: {count} of {inputs.path} chose the formats; larger values of other "
            "samples saturate: give some hundred of all classes as x_cal"
        )


def _choose_planes(recipe: Recipe, graph: Graph, inputs: Inputs) -> Planes | None:
    wanted = recipe.quantize.input_planes
    if wanted == "auto" and recipe.quantize.input is not None:
        return None
    if wanted == 1 or (wanted == "auto" and recipe.quantize.activation_bits > 8):
        return None
    if not can_split(graph):
        if wanted == 2:
            raise RecipeError(
                f"{recipe.path}: quantize.input_planes: 2 needs a network whose input is read by "
                "Linear or ungrouped convolutions only"
            )
        return None
    if recipe.quantize.input is not None and recipe.quantize.plane_shift is not None:
        return Planes(parse_format(recipe.quantize.input), recipe.quantize.plane_shift)
    # Copies of single features: their one weight counts, not the zeros beside it.
    weights = [
        op.weight.sum(axis=1) if (np.count_nonzero(op.weight, axis=1) == 1).all() else op.weight
        for op in graph.consumers(graph.input)
    ]
    planes = choose_planes(
        graph.framed(inputs.calibration), recipe.quantize.activation_bits, weights
    )
    if wanted == 2:
        return planes
    return planes if needs_planes(graph, inputs, recipe.quantize.activation_bits) else None


# --- images and manifest -----------------------------------------------------------------------


def _images(program: Program, descriptors: list[Descriptor], recipe: Recipe) -> dict[str, Words]:
    entries = program.biases.table(2 * program.rq).reshape(-1, 2)
    weights = program.weights.table(program.word)
    if not len(weights):
        weights = np.zeros((1, program.word), np.int64)
    tables, bits = program.tables.table(1), recipe.quantize.activation_bits
    return {
        "program": from_uint32(encode_program(descriptors)),
        "weights": pack_lanes(weights, recipe.quantize.weight_bits),
        "bias": pack_bias(entries[:, 0].copy(), entries[:, 1].copy(), program.rq),
        **({"table": pack_lanes(tables, bits, signed=False)} if len(tables) else {}),
    }


def _core(
    recipe: Recipe, used: dict[str, int], scratch: int, descriptors: list[Descriptor]
) -> Core:
    section = recipe.core

    def depth(name: str, needed: int, given: int | Literal["auto"] | None, what: str) -> int:
        if given is None or given == "auto":
            return max(2, needed)
        if given < needed:
            raise RangeError(
                f"{recipe.path}: core.{name}_depth = {given}, but the network needs {needed} {what}"
            )
        return given

    auto = [n for n in MEMORIES if getattr(section, f"{n}_depth") == "auto"]
    core = Core(
        lanes=section.lanes,
        taps=section.taps,
        data_bits=recipe.quantize.activation_bits,
        weight_bits=recipe.quantize.weight_bits,
        rq=section.drain,
        program_depth=depth("program", used["program"], section.program_depth, "program words"),
        weights_depth=depth("weights", used["weights"], section.weights_depth, "weight words"),
        bias_depth=depth("bias", used["bias"], section.bias_depth, "bias words"),
        table_depth=depth("table", used["table"], section.table_depth, "table words")
        if "table" in used
        else section.table_depth
        if isinstance(section.table_depth, int)
        else 0,
        scratch_depth=depth("scratch", scratch, section.scratch_depth, "scratchpad words"),
        narrow=_narrow(recipe),
        gates=_gates(recipe, descriptors),
    )
    free: dict[str, Any] = {f"{name}_depth": free_depth(core, name) for name in auto}
    return replace(core, **free)


def _gates(recipe: Recipe, descriptors: list[Descriptor]) -> bool:
    """Whether the core must know products of two tensors and LOOP: said so, or needed."""
    needed = any(isinstance(d, Loop) or (isinstance(d, Nest) and d.product) for d in descriptors)
    if needed and recipe.core.gates is False:
        raise RecipeError(
            f"{recipe.path}: core.gates = false, but the network multiplies tensors by each other"
        )
    return needed or bool(recipe.core.gates)


def _narrow(recipe: Recipe) -> bool:
    """Whether the core must take narrow weights: said so, or needed by a layer."""
    needed = any(layer.bits < 8 for layer in recipe.quantize.layers.values())
    if needed and recipe.core.narrow is False:
        raise RecipeError(f"{recipe.path}: core.narrow = false, but a layer has narrow weights")
    return needed or bool(recipe.core.narrow)


def _format(fmt: QFormat) -> Format:
    return Format(fmt.bits, fmt.frac, fmt.signed)


def _strides(order: IntArray, dims: tuple[int, int, int], what: str) -> list[int]:
    """Strides of an affine order: order[y, x, c] = y * s0 + x * s1 + c * s2."""
    array = order.reshape(dims)
    strides = []
    for axis in range(3):
        index = [0, 0, 0]
        index[axis] = 1
        strides.append(int(array[tuple(index)]) if dims[axis] > 1 else 0)
    grid = np.indices(dims)
    if (array != sum(s * g for s, g in zip(strides, grid, strict=True))).any() or min(strides) < 0:
        raise UnsupportedLayer(
            f"the {what} is rearranged in a way that strides over y, x, c can't describe; "
            "rearrange it outside the network"
        )
    return strides


def _input_frame(graph: Graph, formats: Formats, planes: Planes | None) -> Frame:
    t = graph.input
    count = 2 if planes is not None else 1
    channels = t.channels // count
    order = graph.input_order if graph.input_order.size else np.arange(t.elements // count)
    dims = (t.height, t.width, channels)
    stream = order.reshape(channels, t.height, t.width).transpose(1, 2, 0)
    exponents = graph.input_exponents[:: t.height * t.width]
    offsets = graph.input_offsets[:: t.height * t.width]
    return Frame(
        shape=list(graph.input_shape),
        dims=list(dims),
        strides=_strides(np.ascontiguousarray(stream), dims, "input"),
        format=_format(formats.of(t)),
        planes=count,
        plane_shift=planes.shift if planes is not None else 0,
        exponents=[int(e) for e in exponents],
        offsets=[float(o) for o in offsets],
    )


def _output_frame(graph: Graph, quantized: dict[str, QuantizedOp]) -> Frame:
    last = graph.ops[-1]
    t = last.out
    where = np.empty(t.elements, np.int64)
    where[graph.output.ravel() - t.first] = np.arange(t.elements)
    dims = (t.height, t.width, t.channels)
    stream = where.reshape(t.channels, t.height, t.width).transpose(1, 2, 0)
    return Frame(
        shape=list(graph.output.shape),
        dims=list(dims),
        strides=_strides(np.ascontiguousarray(stream), dims, "output"),
        format=_format(quantized[last.name].out),
    )


def _manifest(
    recipe: Recipe,
    graph: Graph,
    formats: Formats,
    quantized: dict[str, QuantizedOp],
    noise: dict[str, float],
    program: Program,
    planes: Planes | None,
    core: Core,
    scratch: int,
    accuracy: float | None,
    judged: Judged,
) -> Manifest:
    index = {op.name: i for i, op in enumerate(graph.ops)}
    writer = {op.out.index: i for i, op in enumerate(graph.ops)} | {graph.input.index: -1}
    layers = [
        LayerInfo(
            name=op.name,
            op=op.label,
            shape=[op.out.height, op.out.width, op.out.channels],
            format=_format(quantized[op.name].out),
            macs=op.macs,
            source=op.source,
            snr=noise[op.name],
            reads=sorted(writer[t] for t in graph.operands(op)),
            varying=judged.blame.varying[op.name],
            share=judged.blame.share(judged.blame.layers[op.name]),
        )
        for op in graph.ops
    ]
    nests = [
        NestInfo(index[n.op.name], n.channels.tolist(), n.walk.origin, n.walk.stride)
        for n in program.nests
    ]
    return Manifest(
        format=FORMAT,
        name=graph.name,
        bramcast=version("bramcast"),
        core=core,
        images=[],
        input=_input_frame(graph, formats, planes),
        output=_output_frame(graph, quantized),
        layers=layers,
        nests=nests,
        parameters=graph.parameters,
        macs=sum(op.macs for op in graph.ops),
        scratch_words=scratch,
        float_accuracy=accuracy,
        judgement=judged.judgement,
    )
