# SPDX-License-Identifier: Apache-2.0
"""Sentences about numbers that a person should know of."""

import re
from collections import Counter
from collections.abc import Iterator

import numpy as np

from bramcast.pack.bundle.cycles import predict
from bramcast.pack.bundle.program import unrolled
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import Rearranged, weights_of
from bramcast.pack.judge.exact import exactness_notes
from bramcast.pack.judge.functions import function_notes
from bramcast.pack.lower.lowered import Lowered
from bramcast.pack.passes.input_scales import scalable
from bramcast.pack.passes.two_planes import can_split
from bramcast.pack.prepare import Prepared
from bramcast.pack.quantize.formats import only_tables
from bramcast.pack.quantize.network import Network
from bramcast.pack.quantize.op import QuantizedOp
from bramcast.pack.run.calibrate import ONE_PLANE_DB, needs_planes
from bramcast.pack.samples.inputs import Inputs

NOISE_SAMPLES = 64  # on which the layers' signal to noise is measured
FEW_SAMPLES = 16  # of calibration
SHOWN = 4  # layers that a sentence names


def notes_of(prepared: Prepared, network: Network) -> Iterator[str]:
    """Everything that a person should know of before the network is judged.

    Raises:
        UnsupportedLayer: a function that jumps, with 16-bit data.
    """
    yield from _integer_notes(prepared.graph, network, prepared.inputs)
    yield from function_notes(
        network.graph, network.formats, network.ops, network.planes, prepared.inputs.calibration
    )
    yield from _input_note(prepared)
    if prepared.advice.far:
        yield prepared.advice.far
    yield from _calibration_note(prepared)


def movement_notes(made: Lowered) -> Iterator[str]:
    """What copies cost whose elements are read in an order that no single nest takes."""
    cycles = predict([d for _, d in unrolled(made.descriptors)], made.core)
    ends = [n.start for n in cycles.nests[1:]] + [cycles.total]
    spent, count = Counter[str](), 0
    for lowered, nest, end in zip(made.program.nests, cycles.nests, ends, strict=True):
        if isinstance(lowered.op, Rearranged):
            spent[re.sub(r"(\.copy\d+)?\.moved\d+$", "", lowered.op.name)] += end - nest.start
            count += 1
    if not spent:
        return
    named = [repr(name) for name, _ in spent.most_common(SHOWN)] + [".."] * (len(spent) > SHOWN)
    yield (
        f"layer{'s' * (len(spent) > 1)} {', '.join(named)}: what is read lies in an order that no "
        f"steps over y, x and channels reach; copies in {count:,} nests bring it into one, in "
        f"{sum(spent.values()):,} of the {cycles.total:,} cycles a frame"
    )


def _integer_notes(asked: Graph, network: Network, inputs: Inputs) -> Iterator[str]:
    """What is left out, what hand-given formats cut off, and where integers are not ``asked``'s."""
    graph, formats, quantized = network.graph, network.formats, network.ops
    for left in graph.left_out:
        count, length = left.groups.shape
        largest = "of which the largest stays the largest"
        if count > 1:
            largest = f"whose order stays within each of the {count:,} groups of {length:,} along "
            largest += "its axis, and not between them"
        yield (
            f"layer {left.name!r}: the {left.kind} at the end is left out: the "
            f"results are its logits, {largest}"
        )
    yield from _spared_notes(graph, quantized, inputs)
    fmt = formats.of(graph.input)
    if formats.is_fixed(graph.input) and network.planes is None:
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
    yield from exactness_notes(asked, graph, formats, quantized, network.planes, some)


def _spared_notes(graph: Graph, quantized: dict[str, QuantizedOp], inputs: Inputs) -> Iterator[str]:
    """Weights that saturate as their inputs stand still in calibration, and which of those move."""
    for op in graph.ops:
        count, total = quantized[op.name].spared, weights_of(op).size
        if not count:
            continue
        text = (
            f"layer {op.name!r}: {count:,} of its {total:,} weights are far larger than "
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
    if prepared.advice.coarse:
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
    if only_tables(graph, graph.input):  # its format is not the one that is tried here
        return
    if needs_planes(graph, prepared.inputs, section.activation_bits):
        yield (
            f"input: 8 bits alone leave less than {ONE_PLANE_DB:g} dB between the output and its "
            "error, and only an input that Linear or ungrouped convolutions read can be sent as "
            "two planes: set quantize.activation_bits = 16, or scale the features alike"
        )


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
