# SPDX-License-Identifier: Apache-2.0
"""The nests of a dense layer: of all ways to walk its operand the one with the fewest cycles."""

from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import Dense
from bramcast.pack.graph.views import is_flat
from bramcast.pack.lower.parted import parted_walks
from bramcast.pack.lower.walks import (
    DenseWalk,
    Layout,
    flat_walk,
    merged_walks,
    nest_inputs,
    read_view,
    walk_cycles,
    window_axes,
    window_walks,
    written_blocks,
)


def dense_walks(graph: Graph, layout: Layout, op: Dense, inputs: slice) -> list[DenseWalk] | None:
    """The nests that compute a dense layer from some of its input channels.

    None where its operand can't be read where it lies.
    """
    if is_flat(op):
        return flat_walk(graph, layout, op)
    view = op.view[inputs]
    reading = read_view(graph, layout, view)
    if reading is None:
        return None
    found = [window_walks(graph, layout, op, reading)]
    if layout.taps > 1:
        found += [merged_walks(graph, layout, op, view, reading, along) for along in ("x", "y")]
    written = written_blocks(graph, layout, op, reading.buffer)
    found += parted_walks(layout, reading, *window_axes(op, reading), written)
    fitting = [walks for walks in found if walks is not None]
    return min(fitting, key=walk_cycles, default=None)


def dense_cycles(graph: Graph, layout: Layout, op: Dense) -> int:
    """About the cycles of a dense layer; very many where its operand needs a copy."""
    total = 0
    for inputs in nest_inputs(op, layout.lanes):
        walks = dense_walks(graph, layout, op, inputs)
        if walks is None:
            return 1 << 40
        total += walk_cycles(walks) * -(-len(op.weight) // (op.groups * layout.lanes))
    return total
