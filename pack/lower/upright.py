# SPDX-License-Identifier: Apache-2.0
"""A network along one axis, turned so that its rows run along that axis: strips are of rows.

What is [C, L] lies as one row of L pixels; with several tiles it is L rows of one pixel, and each
tile has a stretch of it. The elements and their order are the same.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import AvgPool, Op, Weighted, Windowed
from bramcast.pack.graph.tensor import Tensor
from bramcast.pack.graph.window import Window
from bramcast.pack.quantize.network import Network
from bramcast.pack.quantize.op import QuantizedOp


def upright(graph: Graph) -> Graph:
    """A graph all of whose tensors are one row, with columns; any other as it is."""
    if any(t.height > 1 for t in graph.tensors) or all(t.width == 1 for t in graph.tensors):
        return graph
    tensors = tuple(_turned(t) for t in graph.tensors)
    return replace(graph, tensors=tensors, ops=tuple(_turned_op(op) for op in graph.ops))


def is_turned(laid: Graph, graph: Graph) -> bool:
    """Whether ``laid`` was laid out as ``upright(graph)``."""
    pairs = zip(laid.tensors, graph.tensors, strict=False)
    return any(a.height != b.height for a, b in pairs)


def upright_network(network: Network) -> Network:
    """The network of integers of ``upright(network.graph)``."""
    return replace(
        network,
        graph=upright(network.graph),
        ops={op.name: _turned_integers(op, network.ops[op.name]) for op in network.graph.ops},
    )


def _turned(tensor: Tensor) -> Tensor:
    return replace(tensor, height=tensor.width, width=tensor.height)


def _swapped(values: NDArray[Any]) -> NDArray[Any]:
    """With its last two axes exchanged; nothing stays nothing."""
    return np.swapaxes(values, -1, -2).copy() if values.ndim > 1 else values


def _turned_window(window: Window) -> Window:
    top, left, bottom, right = window.padding
    kernel, stride, dilation = ((x, y) for y, x in (window.kernel, window.stride, window.dilation))
    return Window(kernel, stride, dilation, (left, top, right, bottom))


def _turned_op(op: Op) -> Op:
    views = tuple(_swapped(view) for view in op.views)
    op = replace(op, views=views, out=_turned(op.out))
    if isinstance(op, Windowed):
        op = replace(op, window=_turned_window(op.window))
    if isinstance(op, Weighted):
        return replace(op, weight=_swapped(op.weight), tap_bias=_swapped(op.tap_bias))
    return replace(op, weight=_swapped(op.weight)) if isinstance(op, AvgPool) else op


def _turned_integers(op: Op, q: QuantizedOp) -> QuantizedOp:
    if not isinstance(op, Weighted | AvgPool):
        return q
    return replace(q, weight=_swapped(q.weight), border=_swapped(q.border))
