# SPDX-License-Identifier: Apache-2.0
"""A number times a function of itself is one function: SiLU, Mish, Hardswish as written out.

x * f(x)  ->  gate(x)
"""

from dataclasses import replace

import numpy as np

from bramcast.pack.graph.activations import Activation, Function
from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.grid import uniform
from bramcast.pack.graph.ops import Apply, Pointwise, Product, Scale
from bramcast.pack.graph.tensor import ZERO, IntArray
from bramcast.pack.graph.window import NO_CLAMP
from bramcast.pack.passes.drop_dead import drop_dead


def fold_self_products(graph: Graph) -> Graph:
    """Every such product; what nothing reads then is dropped."""
    draft = Draft(graph)
    for op in graph.ops:  # in their order: f may be made of a gate itself
        gate = _gate(draft, op) if isinstance(op, Product) else None
        if gate is not None:
            draft.put(op, gate)
    made = draft.done()
    return graph if made is graph else drop_dead(made)


def _gate(draft: Draft, product: Product) -> Apply | None:
    """A product as one function of either operand."""
    for x, other in (product.views, product.views[::-1]):
        inner = _function_of(draft, other, x)
        if inner is not None:
            gate = Activation((Function("gate", inner=inner),))
            return Apply(**replace(product, views=(x,), activation=gate).common)
    return None


def _function_of(draft: Draft, view: IntArray, of: IntArray) -> Activation | None:
    """The function that makes ``view`` from ``of``, if element-wise operations do."""
    functions: tuple[Function, ...] = ()
    while not np.array_equal(view, of):
        owners = draft.owners(view)
        source = draft.producer(owners[0]) if len(owners) == 1 and (view != ZERO).all() else None
        if not isinstance(source, Pointwise) or source.rounds is not None:
            return None
        before: tuple[Function, ...] = ()
        if isinstance(source, Scale):
            same = uniform(source)
            if same is None:
                return None
            before = (Function("scale", same),)
        if source.clamp != NO_CLAMP:
            before += (Function("clamp", (source.clamp.lo, source.clamp.hi)),)
        if source.activation is not None:
            before += source.activation.functions
        functions = before + functions
        view = source.view.ravel()[view - owners[0].first]
    return Activation(functions)
