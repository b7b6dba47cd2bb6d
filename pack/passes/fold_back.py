# SPDX-License-Identifier: Apache-2.0
"""Element-wise operations go into the one before them: scales into its weights, limits into its
clamp, functions into its table.

    g (W x + b) + o  ->  (g W) x + (g b + o)
    f(W x + b)       ->  one operation with the activation f
"""

from dataclasses import replace

from bramcast.pack.graph.activations import Activation, Function
from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.grid import on_grid
from bramcast.pack.graph.ops import Op, Pointwise, Scale
from bramcast.pack.graph.tensor import is_whole
from bramcast.pack.graph.window import NO_CLAMP
from bramcast.pack.passes.scaled import scaled


def fold_back(graph: Graph) -> Graph:
    """Every element-wise operation into what alone makes its operand, if that can take it."""
    draft, number = Draft(graph), 0
    while number < len(draft.ops):
        op = draft.ops[number]
        if not isinstance(op, Pointwise) or not _into_source(draft, op):
            number += 1
    return draft.done()


def _into_source(draft: Draft, op: Pointwise) -> bool:
    """An element-wise operation into the one before it; False if that can't take it."""
    source = _sole_source(draft, op)
    merged = None if source is None else _followed(source, op)
    if source is None or merged is None:
        return False
    draft.put(source, merged)
    draft.remove(op)
    draft.substitute(op.out, op.view.ravel())
    return True


def _sole_source(draft: Draft, op: Pointwise) -> Op | None:
    """The producer of what ``op`` reads, if nobody else reads any of it."""
    owners = draft.owners(op.view)
    if len(owners) != 1 or not is_whole(op.view, owners[0]):
        return None
    if draft.is_output(owners[0]) or len(draft.consumers(owners[0])) != 1:
        return None
    return draft.producer(owners[0])


def _followed(source: Op, op: Pointwise) -> Op | None:
    """``source`` with the element-wise operation behind it, if it can take it."""
    merged = scaled(source, op) if isinstance(op, Scale) else source
    if merged is None:
        return None
    if op.clamp != NO_CLAMP:
        if merged.activation is None:
            limits_fit = (op.clamp.lo, op.clamp.hi)
            if merged.rounds is not None and not all(on_grid(v, merged.rounds) for v in limits_fit):
                return None
            merged = replace(merged, clamp=merged.clamp.then(op.clamp))
        else:
            limits = Function("clamp", (op.clamp.lo, op.clamp.hi))
            merged = replace(merged, activation=merged.activation.then(Activation((limits,))))
    if op.activation is not None:
        first = merged.activation
        merged = replace(merged, activation=first.then(op.activation) if first else op.activation)
    passed = len(merged.twins) + op.passed
    return replace(merged, twins=(*merged.twins, *op.twins), passed=passed)
