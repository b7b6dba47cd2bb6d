# SPDX-License-Identifier: Apache-2.0
"""Two functions of the same numbers, added or multiplied, are one function of these.

f(x) * g(x)  ->  h(x)        f(x) + g(x)  ->  h(x)

What is nothing but factors and sums stays: weights take it exactly.
"""

from dataclasses import replace

from bramcast.pack.graph.activations import Activation
from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.functions import common_root, is_linear, joining, own_functions
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import Add, Apply, Op, Product
from bramcast.pack.graph.window import NO_CLAMP
from bramcast.pack.passes.drop_dead import drop_dead


def join_functions(graph: Graph) -> Graph:
    """Every such sum and product; what nothing reads then is dropped."""
    draft = Draft(graph)
    for op in graph.ops:  # in their order: f may be joined itself
        if isinstance(op, Add | Product):
            made = _joined(draft, op)
            if made is not None:
                draft.put(op, made)
    made_graph = draft.done()
    joined = made_graph is not graph or any(_has_branches(op) for op in graph.ops)
    return drop_dead(made_graph) if joined else graph


def _joined(draft: Draft, op: Add | Product) -> Apply | None:
    """A sum or a product of two as one function."""
    if len(op.views) != 2 or (isinstance(op, Add) and op.bias.size):
        return None
    found = common_root(draft, op.views)
    if found is None:
        return None
    root, parts = found
    activation = Activation((joining(op, parts), *own_functions(op)))
    if is_linear(activation):
        return None
    same = replace(op, views=(root,), rounds=None, clamp=NO_CLAMP, activation=activation)
    return Apply(**same.common)


def _has_branches(op: Op) -> bool:
    return op.activation is not None and any(f.branches for f in op.activation.functions)
