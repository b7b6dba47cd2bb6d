# SPDX-License-Identifier: Apache-2.0
"""The manifest's contents: what a packed network looks like to people and tools."""

from dataclasses import dataclass, replace
from importlib.metadata import version

import numpy as np

from bramcast.pack.bundle.manifest import FORMAT, Format, Frame, LayerInfo, Manifest, NestInfo
from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.tensor import IntArray, as_pixels
from bramcast.pack.graph.views import places_of, strides_of
from bramcast.pack.judge.against_float import Judged
from bramcast.pack.lower.lowered import Lowered
from bramcast.pack.passes.two_planes import Planes
from bramcast.pack.quantize.formats import Formats
from bramcast.pack.quantize.op import QuantizedOp


def _format(fmt: QFormat) -> Format:
    return Format(fmt.bits, fmt.frac, fmt.signed)


def _strides(order: IntArray, dims: tuple[int, int, int]) -> list[int]:
    """Strides of the order of the input's elements, which the passes have made affine."""
    strides = strides_of(order.reshape(dims))
    assert strides is not None, "the input is stored in an order that strides describe"
    return strides


def _input_frames(graph: Graph, formats: Formats, planes: Planes | None) -> list[Frame]:
    """Of each input, in the order in which they come."""
    if not graph.input_parts:
        return [_input_frame(graph, formats, planes)]
    fmt, frames = formats.of(graph.input), []
    count = 2 if planes is not None else 1
    order = (
        graph.input_order if graph.input_order.size else np.arange(graph.input.elements // count)
    )
    exponents = graph.input_exponents
    for part, mine in zip(graph.input_parts, graph.input_slices, strict=True):
        stream = order[mine] - mine.start
        dims = (1, 1, part.elements)
        if not np.array_equal(stream, np.arange(part.elements)):  # pixel by pixel
            channels, height, width = as_pixels(part.shape)
            dims = (height, width, channels)
        exponent = int(exponents[mine.start]) if exponents.size else 0
        frame = Frame(
            shape=list(part.shape),
            dims=list(dims),
            strides=_strides(np.ascontiguousarray(stream), dims),
            format=_format(replace(fmt, frac=fmt.frac + exponent)),
            planes=count,
            plane_shift=planes.shift if planes is not None else 0,
            name=part.name,
        )
        frames.append(frame)
    return frames


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
        strides=_strides(np.ascontiguousarray(stream), dims),
        format=_format(formats.of(t)),
        planes=count,
        plane_shift=planes.shift if planes is not None else 0,
        exponents=[int(e) for e in exponents],
        offsets=[float(o) for o in offsets],
    )


def _output_frames(graph: Graph, quantized: dict[str, QuantizedOp]) -> list[Frame]:
    """Of each result, in the order in which they leave."""
    frames = []
    names = [part.name for part in graph.parts] or [""]
    for name, view, t in zip(names, graph.results, graph.sent, strict=True):
        op = graph.producer(t)
        assert op is not None
        where = np.empty(t.elements, np.int64)
        where[view.ravel() - t.first] = np.arange(t.elements)
        dims = (t.height, t.width, t.channels)
        stream = where.reshape(t.channels, t.height, t.width).transpose(1, 2, 0)
        found = places_of(stream)
        assert found is not None, "the output is in an order that strides and places describe"
        frame = Frame(
            shape=list(view.shape),
            dims=list(dims),
            strides=found[0],
            format=_format(quantized[op.name].out),
            name=name,
            places=found[1],
        )
        frames.append(frame)
    return frames


@dataclass(frozen=True, slots=True, eq=False)
class Measures:
    """How near a network of integers comes to the float one.

    Attributes:
        noise: signal to noise of each operation's results, decibels, by its name.
        float_accuracy: None where it was not asked or there are no labels.
    """

    noise: dict[str, float]
    float_accuracy: float | None
    judged: Judged


def manifest_of(made: Lowered, measures: Measures | None = None) -> Manifest:
    """What is known before the images are written; where nothing was measured, without that."""
    network, graph, quantized = made.network, made.network.graph, made.network.ops
    output, *more_outputs = _output_frames(graph, quantized)
    first, *more_inputs = _input_frames(graph, network.formats, network.planes)
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
            reads=sorted(writer[t] for t in graph.operands(op)),
            strip_rows=made.layout.strips.get(op.out.index, 0),
        )
        for op in graph.ops
    ]
    if measures is not None:
        layers = [_measured(layer, measures) for layer in layers]
    nests = [
        NestInfo(index[n.op.name], n.channels.tolist(), n.origin, n.stride, list(n.columns))
        for n in made.program.nests
    ]
    return Manifest(
        format=FORMAT,
        name=graph.name,
        bramcast=version("bramcast"),
        core=made.core,
        images=[],
        input=first,
        output=output,
        more_outputs=more_outputs,
        more_inputs=more_inputs,
        layers=layers,
        nests=nests,
        parameters=graph.parameters,
        macs=sum(op.macs for op in graph.ops),
        scratch_words=made.scratch,
        float_accuracy=None if measures is None else measures.float_accuracy,
        judgement=None if measures is None else measures.judged.judgement,
    )


def _measured(layer: LayerInfo, measures: Measures) -> LayerInfo:
    """A layer with how near it comes to the float network's."""
    blame = measures.judged.blame
    return replace(
        layer,
        snr=measures.noise[layer.name],
        varying=blame.varying[layer.name],
        share=blame.share(blame.layers[layer.name]),
    )
