# SPDX-License-Identifier: Apache-2.0
"""A dense layer of which products or functions read parts becomes one layer for each part.

    y = W x, f(y[:k]), g(y[k:])  ->  f(W[:k] x), g(W[k:] x)

So each gate of a recurrent cell has an activation and whole words of its own.
"""

from dataclasses import replace

import numpy as np

from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import Dense, Op, Pointwise, Product
from bramcast.pack.graph.tensor import IntArray, Tensor

MOST_EDGES = 4  # for each reader: a layer that is read here and there stays one


def split_by_use(graph: Graph) -> Graph:
    """The first such layer in its parts."""
    for op in graph.ops:
        if isinstance(op, Dense) and op.groups == 1 and not graph.is_output(op.out):
            inner = _edges(op, graph.consumers(op.out))
            if inner:
                return _split(graph, op, [0, *inner, op.out.channels])
    return graph


def _edges(op: Dense, readers: list[Op]) -> list[int]:
    """The channels at which another part of a result begins; none if it should stay one."""
    reads = [(r, _channels_read(op.out, v)) for r in readers for v in r.views]
    if not any(isinstance(r, Pointwise | Product) and c.any() and not c.all() for r, c in reads):
        return []
    used = np.array([channels for _, channels in reads])
    edges = np.flatnonzero((used[:, 1:] != used[:, :-1]).any(axis=0)) + 1
    return edges.tolist() if edges.size < len(readers) * MOST_EDGES else []


def _channels_read(tensor: Tensor, view: IntArray) -> IntArray:
    """Which channels of a tensor a view reads, int64 [C], 0 or 1."""
    mine = view[tensor.mine(view)]
    read = np.zeros(tensor.channels, np.int64)
    read[(mine - tensor.first) // (tensor.height * tensor.width)] = 1
    return read


def _split(graph: Graph, op: Dense, edges: list[int]) -> Graph:
    draft = Draft(graph)
    parts = []
    for number, (first, end) in enumerate(zip(edges[:-1], edges[1:], strict=True), 1):
        name = f"{op.name}.part{number}"
        part = replace(
            op.of_outputs(slice(first, end)),
            name=name,
            out=draft.new_tensor(name, end - first, op.out.height, op.out.width),
            macs=op.macs * (end - first) // op.out.channels,
            twins=tuple(f"{twin} part {number}" for twin in op.twins),
        )
        parts.append(part)
    draft.put(op, *parts)
    draft.substitute(op.out, np.concatenate([part.out.ids.ravel() for part in parts]))
    return draft.done()
