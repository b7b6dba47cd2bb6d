# SPDX-License-Identifier: Apache-2.0
"""From a recipe to a network whose operations and tensors are final."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bramcast.pack.bundle.errors import InputError, RecipeError, UnsupportedLayer
from bramcast.pack.bundle.program import MAX_CYCLES
from bramcast.pack.bundle.qformat import QFormat, parse_format
from bramcast.pack.capture.capture import capture
from bramcast.pack.graph.graph import Graph, Part
from bramcast.pack.graph.ops import weights_of
from bramcast.pack.graph.twins import has_gates
from bramcast.pack.judge.against_float import judged_samples
from bramcast.pack.lower.copies import plan_layout
from bramcast.pack.lower.layout import LaidOut
from bramcast.pack.passes.copy_inputs import copy_inputs
from bramcast.pack.passes.fold import fold
from bramcast.pack.passes.input_offsets import Drift, drift, offset_input, offsets_note
from bramcast.pack.passes.input_scales import input_exponents, scalable, scale_input
from bramcast.pack.passes.interleave import interleave
from bramcast.pack.passes.level_inputs import level_inputs
from bramcast.pack.passes.shrink import Removed, Shrunk, shrink
from bramcast.pack.passes.split_products import split_products
from bramcast.pack.passes.table import Watch, passed, unwatched
from bramcast.pack.passes.two_planes import Planes, can_split, choose_planes, split_input
from bramcast.pack.quantize.formats import Formats, choose_formats
from bramcast.pack.quantize.integers import quantize
from bramcast.pack.quantize.network import Network
from bramcast.pack.quantize.rules import Rules, rules_of
from bramcast.pack.read.network import LoadedNetwork, input_names, names_of, read_model
from bramcast.pack.recipe.recipe import Recipe
from bramcast.pack.run.calibrate import (
    ONE_PLANE_DB,
    Calibrated,
    FloatRun,
    Progress,
    check_against_module,
    float_run,
    is_coarse,
    largest_values,
    needs_planes,
    silent,
    varying_db,
)
from bramcast.pack.run.execute import one_thread
from bramcast.pack.run.refine import Refined, refine
from bramcast.pack.samples.inputs import Inputs, array_names, read_inputs

WORTH_DB = 3.0  # what an offset must win to be named


@dataclass(frozen=True, slots=True)
class InputAdvice:
    """What would suit the input better.

    Attributes:
        coarse: two planes of input alone leave too much noise.
        far: a note about features that lie far from zero.
        scales: powers of two would bring the input's features nearer to each other.
        offsets: subtracting constants would bring some of them nearer to zero.
    """

    coarse: bool
    far: str | None
    scales: bool
    offsets: bool


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A network whose operations and tensors are final; formats and integers are to be chosen.

    Attributes:
        laid_out: the same with the copies that the recipe's LANES and TAPS need.
        joined: the same before the layout for these has taken any joined product apart.
        rules: what the recipe says about formats.
        bits: width of an activation.
        input_format: the input's, where it is not chosen with the others.
        floats: what the float network gives; None where it was not asked.
        removed: what ``[model] shrink`` took out.
    """

    recipe: Recipe
    graph: Graph
    inputs: Inputs
    planes: Planes | None
    laid_out: LaidOut
    joined: Graph
    rules: Rules
    bits: int
    input_format: QFormat | None
    floats: FloatRun | None
    removed: tuple[Removed, ...]
    advice: InputAdvice


@one_thread()
def prepare(
    recipe: Recipe,
    progress: Progress = silent,
    source: LoadedNetwork | None = None,
    inputs: Inputs | None = None,
    trace: bool = False,
    watch: Watch = unwatched,
    judged: bool = True,
) -> Prepared:
    """Capture and fold a network, split its input where that pays, and lay its tensors out.

    Args:
        source, inputs: the network and its samples; those that the recipe names if absent.
        trace: as ``capture`` takes it; the float network is then not run on the samples.
        watch: called behind each stage.
        judged: the float network is run on the samples that the packed one is judged by.

    Raises:
        UserError: whatever is wrong with recipe, model, checkpoint or inputs.
    """

    def behind(name: str, made: Graph) -> Graph:
        return passed(name, graph, made, watch)

    source, inputs = read_both(recipe, source, inputs)
    watch("read", None, None)
    takes = tuple(Part(name, shape) for name, shape in inputs.parts)
    graph = capture(source.module, inputs.x.shape[1:], recipe.name, source.label, trace, takes)
    graph = behind("capture", graph)
    inputs = inputs.of_outputs([part.name for part in graph.parts])
    graph = fold(graph, watch)
    shrunk = _shrunk(recipe, graph, trace)
    graph = behind("shrink", shrunk.graph)
    graph = behind("interleave", interleave(graph))
    _check(recipe, graph, source, inputs)
    floats = None
    if judged and not trace:
        floats = float_run(graph, inputs, judged_samples(graph, inputs), progress)
    watch("float network", graph, graph)
    graph = behind("input_offsets", _with_offsets(recipe, graph, inputs))
    lies = None if trace or takes else drift(graph, inputs.calibration)
    scales = _could_scale(recipe, graph, inputs)
    graph = behind("input_scales", _with_scales(recipe, graph, inputs))
    graph = behind("level_inputs", _levelled(recipe, graph, inputs))
    graph = behind("copy_inputs", _with_copies(recipe, graph, inputs, trace))
    planes = _choose_planes(recipe, graph, inputs)
    advice = _advice(recipe, graph, inputs, planes, lies, scales)
    if planes is not None:
        graph = behind("two_planes", split_input(graph, planes.shift))
    if recipe.quantize.activation_bits > 8:
        graph = behind("split_products", split_products(graph))
    core = recipe.core
    plan = plan_layout(graph, core.lanes, core.taps, core.tiles, core.pairs)
    laid_out = plan.laid_out
    behind("layout", laid_out.graph)
    rules, fmt = rules_of(recipe, laid_out.graph), _input_format(recipe, graph, inputs, planes)
    return Prepared(
        recipe, plan.graph, inputs, planes, laid_out, graph, rules,
        recipe.quantize.activation_bits, fmt, floats, shrunk.removed, advice,
    )  # fmt: skip


def read_both(
    recipe: Recipe, source: LoadedNetwork | None = None, inputs: Inputs | None = None
) -> tuple[LoadedNetwork, Inputs]:
    """The network and the samples that a recipe names, but for what is given.

    Raises:
        UserError: whatever is wrong with their files.
    """
    path, given = recipe.file(recipe.model.inputs), inputs
    if inputs is None and source is None:
        has = set(array_names(path)) - {"y", "x_cal", "y_cal"}
        if has and {name for name in has if not name.startswith("y_")} != {"x"}:
            # Arrays of several inputs? The network knows.
            names = names_of(recipe)
            if len(names) > 1:
                inputs = read_inputs(path, names)
    if inputs is None:
        names = () if source is None else input_names(source.module)
        inputs = read_inputs(path, names if len(names) > 1 else ())
    if source is None:
        source = read_model(recipe, inputs.x.shape[1:], inputs.parts)
    names = input_names(source.module)
    if len(names) > 1 and given is not None and not given.parts:
        raise InputError(
            f"{given.path}: forward() takes {', '.join(names)}: networks with several inputs are "
            "packed from a recipe, whose .npz has an array for each"
        )
    if len(names) > 1 and not inputs.parts:
        inputs = read_inputs(path, names)  # says what is missing
    return source, inputs


# --- the stages that the recipe decides ----------------------------------------------------------


def _shrunk(recipe: Recipe, graph: Graph, trace: bool) -> Shrunk:
    """Without the channels that compute nothing, where the recipe has it so.

    Raises:
        RecipeError: for retraining.
    """
    if not recipe.model.shrink:
        return Shrunk(graph, ())
    if trace:
        raise RecipeError(
            f"{recipe.path}: model.shrink: channels that are zero now may not stay so; retrain "
            "without it, and pack with it"
        )
    return shrink(graph)


def _with_offsets(recipe: Recipe, graph: Graph, inputs: Inputs) -> Graph:
    wanted = recipe.quantize.input_offsets
    if wanted is None:
        return graph
    if graph.input_parts:
        raise RecipeError(
            f"{recipe.path}: quantize.input_offsets: is for networks with one input; subtract them "
            "from the samples"
        )
    return offset_input(graph, wanted, inputs.calibration, str(recipe.path))


def _could_scale(recipe: Recipe, graph: Graph, inputs: Inputs) -> bool:
    """Whether the recipe gives no powers of two for the input's features, and some would help."""
    given = recipe.quantize.input_exponents is not None
    if given or graph.input_parts or not scalable(graph):
        return False
    return bool(input_exponents(graph, inputs.calibration).any())


def _with_scales(recipe: Recipe, graph: Graph, inputs: Inputs) -> Graph:
    wanted = recipe.quantize.input_exponents
    if wanted is None or graph.input_parts:
        return graph
    return scale_input(graph, wanted, inputs.calibration, str(recipe.path))


def _levelled(recipe: Recipe, graph: Graph, inputs: Inputs) -> Graph:
    """Several inputs as large as each other; ``quantize.input_exponents`` has one for each.

    Raises:
        RecipeError: another number of them.
    """
    wanted, count = recipe.quantize.input_exponents, len(graph.input_parts)
    if wanted is None or wanted == "auto" or not count:
        return level_inputs(graph, inputs.calibration)
    if len(wanted) != count:
        raise RecipeError(
            f"{recipe.path}: quantize.input_exponents: {len(wanted)} numbers, the network has "
            f"{count} inputs: give one for each"
        )
    return level_inputs(graph, inputs.calibration, np.array(wanted, np.int64))


def _with_copies(recipe: Recipe, graph: Graph, inputs: Inputs, trace: bool) -> Graph:
    """With copies of the features that join a recurrent cell's state.

    Raises:
        UnsupportedLayer: for retraining, if there are any.
    """
    if not has_gates(graph):
        return graph
    layers = recipe.quantize.layers.items()
    given = {name: section.copies for name, section in layers if section.copies is not None}
    largest = largest_values(graph, inputs)
    copied = copy_inputs(graph, inputs.calibration, largest, given, str(recipe.path))
    if trace and copied.copies:
        cell = copied.graph.consumers(copied.copies[0].out)[0]
        raise UnsupportedLayer(
            f"{cell.source}: layer {cell.name!r} is recurrent and reads the input: how often "
            "it reads each feature depends on its weights, so it can't be retrained as the "
            "core computes; pack it without retraining"
        )
    return copied.graph


def _check(recipe: Recipe, graph: Graph, source: LoadedNetwork, inputs: Inputs) -> None:
    """Refuse what is no network for the core, or not the author's."""
    _check_cycles(recipe, graph)
    check_against_module(graph, source.module, inputs)
    if not graph.ops:
        raise UnsupportedLayer(f"model {graph.name!r} computes nothing: there is no layer to pack")


def _check_cycles(recipe: Recipe, graph: Graph) -> None:
    """Refuse what no program can run in time, before it is calibrated; the validator is exact.

    Raises:
        RecipeError: tells how many multipliers may do.
    """
    lanes, taps, tiles = recipe.core.lanes, recipe.core.taps, recipe.core.tiles
    macs = sum(op.macs for op in graph.ops)
    cycles = macs // (lanes * taps * tiles)
    if cycles > MAX_CYCLES:
        least = -(-macs // (MAX_CYCLES * tiles))
        shape = f"{lanes} lanes x {taps} taps" + (f" x {tiles} tiles" if tiles > 1 else "")
        raise RecipeError(
            f"{recipe.path}: core.lanes: {macs:,} multiply-adds take {cycles:,} cycles or more "
            f"with {shape}, a run has at most {MAX_CYCLES:,}: it needs more "
            f"lanes or taps, lanes x taps of {least} or more"
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


def in_integers(prepared: Prepared, refined: Refined) -> Network:
    """A network with the formats that it has been given.

    Raises:
        RangeError: no legal weights.
    """
    graph, formats = refined.graph, refined.formats
    ops = quantize(graph, formats, prepared.rules.weight_bits)
    return Network(graph, formats, ops, prepared.planes)


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


def _advice(
    recipe: Recipe,
    graph: Graph,
    inputs: Inputs,
    planes: Planes | None,
    seen: Drift | None,
    scales: bool,
) -> InputAdvice:
    """
    Args:
        seen: where the features lie, None for retraining.
    """
    coarse = planes is not None and is_coarse(graph, inputs, planes.rounded)
    if seen is None:
        return InputAdvice(coarse, None, scales, False)
    far = _offsets_note(recipe, graph, inputs, planes, seen)
    able = recipe.quantize.input_offsets is None and bool(seen.able.any())
    return InputAdvice(coarse, far, scales, able)


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
        weight.sum(axis=1) if (np.count_nonzero(weight, axis=1) == 1).all() else weight
        for weight in map(weights_of, graph.consumers(graph.input))
    ]
    planes = choose_planes(
        graph.framed(inputs.calibration), recipe.quantize.activation_bits, weights
    )
    if wanted == 2:
        return planes
    return planes if needs_planes(graph, inputs, recipe.quantize.activation_bits) else None
