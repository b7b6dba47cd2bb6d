# SPDX-License-Identifier: Apache-2.0
"""Rounding of what is rounded already goes; torch.round of anything else is a table.

round(x)  ->  x      where x is a multiple of 2**-g whatever the input is
round(x)  ->  f(x)   else: ties go to even numbers, the core's go towards +inf
"""

from dataclasses import replace
from math import inf

import numpy as np

from bramcast.pack.graph.activations import Activation, Function
from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.grid import FINEST, grid_of, on_grid
from bramcast.pack.graph.ops import (
    Apply,
    AvgPool,
    Op,
    Product,
    RoundEven,
    Scale,
    biases_of,
    weights_of,
)
from bramcast.pack.graph.window import NO_CLAMP


def settle_rounding(graph: Graph) -> Graph:
    """Drop rounding that has nothing to round, and make a table of torch.round elsewhere."""
    grids = _known_grids(graph)
    draft, number = Draft(graph), 0
    while number < len(draft.ops):
        op = draft.ops[number]
        wanted = op.rounds if op.rounds is not None else 0
        if not isinstance(op, RoundEven) and not _may_be_idle(op):
            number += 1
        elif all(grids.get(t.index, FINEST) <= wanted for t in draft.owners(op.view)):
            draft.remove(op)
            draft.substitute(op.out, op.view.ravel())
        elif isinstance(op, RoundEven):
            even = Activation((Function("round_even"),))
            draft.put(op, Apply(**replace(op, activation=even).common))
            number += 1
        else:
            number += 1
    return draft.done()


def _may_be_idle(op: Op) -> bool:
    """Whether a rounding changes nothing about what is a multiple already."""
    if not isinstance(op, Scale) or op.rounds is None or op.clamp != NO_CLAMP:
        return False
    offset = np.floor(op.bias * 2.0**op.rounds + 0.5)
    return op.activation is None and bool((op.weight == 1).all()) and not offset.any()


def _known_grids(graph: Graph) -> dict[int, int]:
    """Tensors whose values are multiples of 2**-g whatever the input is, by index."""
    grids: dict[int, int] = {}
    for op in graph.ops:
        found = _grid(graph, op, grids)
        if found is not None:
            grids[op.out.index] = found
    return grids


def _grid(graph: Graph, op: Op, grids: dict[int, int]) -> int | None:
    if op.activation is not None:
        return None
    limits = [v for v in (op.clamp.lo, op.clamp.hi) if v not in (inf, -inf)]
    found = op.rounds
    if found is None:
        operands = [grids.get(t.index) for view in op.views for t in graph.owners(view)]
        known = [g for g in operands if g is not None]
        if len(known) < len(operands) or not known or isinstance(op, AvgPool | Apply):
            return None
        found = sum(known) if isinstance(op, Product) else max(known)
        if isinstance(op, Product) and len(op.views) > 2:
            return None
        factors, offsets = weights_of(op), biases_of(op)
        weight = grid_of(factors) if factors.size else 0
        bias = grid_of(offsets) if offsets.size else -FINEST
        if weight is None or bias is None:
            return None
        found = max(found + weight, bias)
    return found if all(on_grid(v, found) for v in limits) else None
