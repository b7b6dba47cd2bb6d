# SPDX-License-Identifier: Apache-2.0
"""What leads to no output goes.

y = f(x),  z = g(y),  w = h(x),  output w  ->  w = h(x)
"""

from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import Op


def drop_dead(graph: Graph) -> Graph:
    """Only the operations whose results are read, or are the output."""
    read = {tensor.index for tensor in graph.owners(graph.output)}
    kept: list[Op] = []
    for op in reversed(graph.ops):
        if op.out.index in read:
            kept.append(op)
            read |= graph.operands(op)
    return graph if len(kept) == len(graph.ops) else graph.with_ops(reversed(kept))
