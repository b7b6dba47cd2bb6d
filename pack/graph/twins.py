# SPDX-License-Identifier: Apache-2.0
"""Time steps of recurrent networks: operations that do the same."""

from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import Op, Product


def has_gates(graph: Graph) -> bool:
    """Whether there are recurrent cells: products of two tensors, or time steps."""
    return any(isinstance(op, Product) for op in graph.ops) or bool(twins_of(graph))


def twins_of(graph: Graph, passed: bool = True) -> list[list[Op]]:
    """Operations that do the same in different time steps.

    Args:
        passed: also those that do so only up to something that follows in one of them.
    """
    found: dict[str, list[Op]] = {}
    for op in graph.ops:
        for twin in op.twins if passed else op.twins[op.passed :]:
            found.setdefault(twin, []).append(op)
    return [ops for ops in found.values() if len(ops) > 1]
