# SPDX-License-Identifier: Apache-2.0
"""Of which tensor a view is a function, element by element, and of which two views both are.

A chain may branch: y * (y > 0), f(y) + g(y), 1 / (1 + exp(-y)) are functions of y.
"""

from collections.abc import Sequence

import numpy as np

from bramcast.pack.graph.activations import Activation, Function
from bramcast.pack.graph.graph import Questions
from bramcast.pack.graph.grid import uniform
from bramcast.pack.graph.ops import Add, Op, Pointwise, Product, RoundEven, Scale
from bramcast.pack.graph.tensor import ZERO, IntArray
from bramcast.pack.graph.window import NO_CLAMP

FARTHEST = 32  # operations back, from a view to what it is a function of
LARGEST = 256  # functions that one is made of
LINEAR = {"scale", "sum"}

View = IntArray


def common_root(graph: Questions, views: Sequence[View]) -> tuple[View, list[Activation]] | None:
    """The nearest view of which all ``views`` are functions, with these; None if there is none."""
    for root in _ancestors(graph, views[0]):
        found = [function_of(graph, view, root) for view in views]
        known = [function for function in found if function is not None]
        if len(known) == len(views):
            return root, known
    return None


def function_of(graph: Questions, view: View, root: View) -> Activation | None:
    """The function that makes ``view`` from ``root``, if element-wise operations do."""
    return _function(graph, view, root, FARTHEST)


def is_linear(activation: Activation) -> bool:
    """Whether a function is nothing but factors, offsets and sums of these."""
    return all(
        f.name in LINEAR and f.operator is None and all(map(is_linear, f.parts))
        for f in activation.functions
    )


def _function(graph: Questions, view: View, root: View, steps: int) -> Activation | None:
    if np.array_equal(view, root):
        return Activation(())
    made = _maker(graph, view) if steps else None
    if made is None:
        return None
    op, operands = made
    parts = []
    for operand in operands:
        part = _function(graph, operand, root, steps - 1)
        if part is None:
            return None
        parts.append(part)
    own = own_functions(op)
    if len(parts) == 1:
        return _small(parts[0].then(Activation(own)))
    return _small(Activation((joining(op, parts), *own)))


def joining(op: Op, parts: Sequence[Activation]) -> Function:
    """What a sum or a product makes of two functions of one number."""
    if isinstance(op, Add):
        return Function("sum", tuple(float(w) for w in op.weight), branches=tuple(parts))
    return Function("product", branches=tuple(parts))


def _small(activation: Activation) -> Activation | None:
    return activation if activation.size <= LARGEST else None


def _ancestors(graph: Questions, view: View) -> list[View]:
    """The view itself and those that it is made of by element-wise operations, nearest first."""
    found, todo = [view], [view]
    for _ in range(FARTHEST):
        if not todo:
            break
        made = _maker(graph, todo.pop(0))
        for operand in () if made is None else made[1]:
            if not any(np.array_equal(operand, other) for other in found):
                found.append(operand)
                todo.append(operand)
    return found


def _maker(graph: Questions, view: View) -> tuple[Op, list[View]] | None:
    """The element-wise operation that alone makes a view, and its operands as the view shows
    them; None where there is none, or where its constants are not the same for all elements."""
    if (view == ZERO).any():
        return None
    owners = graph.owners(view)
    op = graph.producer(owners[0]) if len(owners) == 1 else None
    if op is None or not _by_element(op):
        return None
    return op, [operand.ravel()[view - op.out.first] for operand in op.views]


def _by_element(op: Op) -> bool:
    if isinstance(op, Scale):
        return uniform(op) is not None
    if isinstance(op, Product):
        return len(op.views) == 2
    return isinstance(op, Pointwise | RoundEven) or (isinstance(op, Add) and not op.bias.size)


def own_functions(op: Op) -> tuple[Function, ...]:
    """What an element-wise operation of one operand does, and one of two behind joining them."""
    own: tuple[Function, ...] = ()
    if isinstance(op, Scale):
        same = uniform(op)
        assert same is not None
        own = (Function("scale", same),)
    if isinstance(op, RoundEven):
        own = (Function("round_even"),)
    if op.rounds is not None:
        own += (Function("round", (2.0**op.rounds,)),)
    if op.clamp != NO_CLAMP:
        own += (Function("clamp", (op.clamp.lo, op.clamp.hi)),)
    return own if op.activation is None else own + op.activation.functions
