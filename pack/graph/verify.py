# SPDX-License-Identifier: Apache-2.0
"""What a legal graph is. Passes trust it; between any two of them it may be asked."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import (
    Add,
    AvgPool,
    Dense,
    Depthwise,
    Op,
    Pointwise,
    Product,
    RoundEven,
    Scale,
    Weighted,
    Windowed,
)
from bramcast.pack.graph.tensor import ZERO, is_whole


class IllegalGraph(Exception):
    """A pass has made a graph that is none: a fault of bramcast, not of its user."""


def verify(graph: Graph, behind: str, folded: bool = False) -> None:
    """Refuse a graph that breaks a rule.

    - Tensors are numbered one behind the other, and so are their elements; the first one is the
      input frame. Every other tensor has one operation at most that makes it, and that has the
      tensor's shape.
    - Operations have names of their own, and read elements of tensors that are made before.
    - Weights, biases, windows and numbers of operands are as each kind has them (ops.py).
    - The output shows elements that are made.
    - Behind the folding passes there are only kinds that become loop nests, and each result is one
      tensor of its own, whole, that nobody reads; they are made in their order.

    Args:
        behind: the pass that made it, for the message.
        folded: whether the folding passes are through.

    Raises:
        IllegalGraph: names the pass, the operation and the rule.
    """
    for fault in _faults(graph, folded):
        raise IllegalGraph(f"behind pass {behind!r}: {fault}")


def _faults(graph: Graph, folded: bool) -> Iterator[str]:
    yield from _tensor_faults(graph)
    made = {0}
    for op in graph.ops:
        place = f"{type(op).__name__} {op.name!r}"
        yield from (f"{place}: {fault}" for fault in _reading_faults(graph, op, made))
        yield from (f"{place}: {fault}" for fault in _shape_faults(op))
        if folded and isinstance(op, Pointwise | RoundEven):
            yield f"{place}: is no kind of a folded graph"
        made.add(op.out.index)
    for name, count in Counter(op.name for op in graph.ops).items():
        if count > 1:
            yield f"{count} operations are called {name!r}"
    yield from _output_faults(graph, made, folded)


def _tensor_faults(graph: Graph) -> Iterator[str]:
    first = 0
    for number, tensor in enumerate(graph.tensors):
        if tensor.index != number:
            yield f"tensor {tensor.name!r} has the number {tensor.index}, and stands at {number}"
        if tensor.first != first:
            yield f"tensor {tensor.name!r} begins at element {tensor.first}, not at {first}"
        first = tensor.end


def _reading_faults(graph: Graph, op: Op, made: set[int]) -> Iterator[str]:
    end = graph.tensors[-1].end
    for view in op.views:
        if view.dtype != np.int64 or view.ndim != 3:
            yield f"a view is {view.dtype} with {view.ndim} axes, not int64 [C, H, W]"
        elif view.size and not ZERO <= int(view.min()) <= int(view.max()) < end:
            yield "a view shows elements of no tensor"
        elif late := [t.name for t in graph.owners(view) if t.index not in made]:
            yield f"reads {late[0]!r}, which is not made yet"
    if op.out.index in made:
        yield f"makes {op.out.name!r}, which is there already"
    if op.out.index >= len(graph.tensors) or graph.tensors[op.out.index] != op.out:
        yield f"makes {op.out.name!r}, which is no tensor of the graph"


def _shape_faults(op: Op) -> Iterator[str]:
    out = (op.out.channels, op.out.height, op.out.width)
    operands = len(op.views)
    if operands not in (2, 4) if isinstance(op, Product) else operands != 1 + isinstance(op, Add):
        yield f"has {operands} operands"
        return
    if not 0 <= op.passed <= len(op.twins):
        yield f"passed is {op.passed} of {len(op.twins)} twins"
    match op:
        case Dense() | Depthwise():
            yield from _weight_faults(op)
        case AvgPool():
            if op.weight.shape[1:] != out[1:] and op.weight.shape[1:] != (1, 1):
                yield f"divisors {op.weight.shape} for results {out}"
            if op.bias.shape not in ((0,), out[:1]):
                yield f"a bias {op.bias.shape} for results {out}"
        case Add():
            if op.weight.shape != (2,) or op.bias.shape not in ((0,), out[:1]):
                yield f"weights {op.weight.shape} and bias {op.bias.shape} of a sum of two"
        case Scale():
            if op.weight.shape != op.view.shape or op.bias.shape != op.view.shape:
                yield f"weight {op.weight.shape}, bias {op.bias.shape} for a view {op.view.shape}"
    if isinstance(op, Windowed):
        channels = op.out.channels if isinstance(op, Weighted) else len(op.view)
        if (channels, *_results(op)) != out:
            yield f"a window over {op.view.shape} gives {(channels, *_results(op))}, not {out}"
    elif any(view.shape != out for view in op.views):
        yield f"operands {[view.shape for view in op.views]} for results {out}"


def _weight_faults(op: Weighted) -> Iterator[str]:
    outputs, channels = op.out.channels, len(op.view)
    groups = op.split
    if channels % groups or outputs % groups:
        yield f"{channels} to {outputs} channels in {groups} groups"
        return
    wanted = (outputs, channels // groups, *op.window.kernel)
    if op.weight.shape != wanted:
        yield f"weights {op.weight.shape}, its view and window ask for {wanted}"
    if op.bias.shape != (outputs,):
        yield f"a bias {op.bias.shape} for {outputs} channels"
    if op.tap_bias.size and op.tap_bias.shape != (outputs, *op.window.kernel):
        yield f"a tap_bias {op.tap_bias.shape} for {(outputs, *op.window.kernel)}"
    if isinstance(op, Dense) and len(op.copies) not in (0, channels):
        yield f"{len(op.copies)} copies for {channels} channels"


def _results(op: Windowed) -> tuple[int, int]:
    """Height and width of what a window makes of a view."""
    top, left, bottom, right = op.window.padding
    padded = (op.view.shape[1] + top + bottom, op.view.shape[2] + left + right)
    rows, columns = (
        (size - dilation * (kernel - 1) - 1) // stride + 1
        for size, kernel, stride, dilation in zip(
            padded, op.window.kernel, op.window.stride, op.window.dilation, strict=True
        )
    )
    return rows, columns


def _output_faults(graph: Graph, made: set[int], folded: bool) -> Iterator[str]:
    elements = sum(part.elements for part in graph.parts)
    if graph.parts and graph.output.shape != (elements,):
        yield f"results of {elements} elements in an output of shape {graph.output.shape}"
        return
    owners = [graph.owners(view) for view in graph.results]
    if missing := [t.name for some in owners for t in some if t.index not in made]:
        yield f"the output shows {missing[0]!r}, which nothing makes"
    if not folded:
        return
    for view, some in zip(graph.results, owners, strict=True):
        alone = len(some) == 1 and some[0].index and is_whole(view, some[0])
        if not alone or graph.consumers(some[0]):
            yield "the output is not one whole tensor that nobody reads"
            return
    order = [op.out.index for op in graph.ops if graph.leaves(op)]
    if order != [some[0].index for some in owners]:
        yield "the results are not made one by one in their order"
