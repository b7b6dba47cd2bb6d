# SPDX-License-Identifier: Apache-2.0
"""Networks that round for themselves: floor(x + 0.5) in forward() is the core's requantize.

An Op with ``rounds`` = g gives integer multiples of 2**-g, ties towards +inf as in the core, so
its tensor's fraction length is g and nothing is approximated. Rounding never changes the order of
numbers, so a clamp may stand on either side of it, with rounded limits.
"""

from dataclasses import replace
from math import inf

import numpy as np

from bramcast.pack.bundle.errors import UnsupportedLayer
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.grid import FINEST, grid_of, on_grid, power_of_two, round_half_up, uniform
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
from bramcast.pack.graph.window import NO_CLAMP, Clamp


def known_grids(graph: Graph) -> dict[int, int]:
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


def settle_rounding(graph: Graph) -> None:
    """Drop rounding of what is rounded already, and refuse torch.round of anything else.

    Raises:
        UnsupportedLayer: ties of torch.round go to even numbers, the core's towards +inf.
    """
    grids = known_grids(graph)
    for op in list(graph.ops):
        if not isinstance(op, RoundEven) and not _may_be_idle(op):
            continue
        wanted = op.rounds if op.rounds is not None else 0
        now = next(o for o in graph.ops if o.name == op.name)  # what it reads may have moved
        if all(grids.get(t.index, FINEST) <= wanted for t in graph.owners(now.view)):
            graph.remove(now)
            graph.substitute(op.out, now.view.ravel())
        elif isinstance(op, RoundEven):
            raise UnsupportedLayer(
                f"{op.source}: layer {op.name!r}: round() rounds ties to even numbers, the core "
                "rounds them towards +inf: write torch.floor(x + 0.5), which the core does exactly"
            )


def _may_be_idle(op: Op) -> bool:
    """Whether a rounding changes nothing about what is a multiple already."""
    if not isinstance(op, Scale) or op.rounds is None or op.clamp != NO_CLAMP:
        return False
    offset = np.floor(op.bias * 2.0**op.rounds + 0.5)
    return op.activation is None and bool((op.weight == 1).all()) and not offset.any()


def scaled_around_rounding(source: Op, scale: Scale, linear: Op) -> Op | None:
    """``source`` with the scale behind it, where one of them rounds or ``source`` clamps.

    Args:
        linear: ``source`` whose weights and bias have taken the scale's, all else as it was.
    """
    same = uniform(scale)
    if source.rounds is None:
        if source.clamp == NO_CLAMP:
            return replace(linear, rounds=scale.rounds)
        if scale.rounds is None or same is None or same[0] <= 0:
            return None
        limits = [
            round_half_up(v * same[0] + same[1], scale.rounds)
            for v in (source.clamp.lo, source.clamp.hi)
        ]
        return replace(linear, clamp=Clamp(*limits), rounds=scale.rounds)
    if scale.rounds is not None or same is None:
        return None
    factor, offset = same
    step = power_of_two(factor)
    if step is None or not on_grid(offset, source.rounds - step):
        return None
    clamp = Clamp(source.clamp.lo * factor + offset, source.clamp.hi * factor + offset)
    return replace(linear, clamp=clamp, rounds=source.rounds - step)
