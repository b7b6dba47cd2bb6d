# SPDX-License-Identifier: Apache-2.0
"""Least and largest values that tables and clamps leave to tensors."""

import numpy as np

from bramcast.pack.graph.graph import Questions
from bramcast.pack.graph.grid import round_half_up
from bramcast.pack.graph.ops import Add, AvgPool, Depthwise, MaxPool, Op, Product, is_exact
from bramcast.pack.graph.window import Window


def known_bounds(graph: Questions) -> dict[int, tuple[float, float]]:
    """Least and largest value of tensors that tables bound, by index, and of what follows."""
    bounds: dict[int, tuple[float, float]] = {}
    for op in graph.ops:
        if op.activation is not None:
            bounds[op.out.index] = op.activation.bounds
            continue
        operands = [bounds.get(t.index) for view in op.views for t in graph.owners(view)]
        known = [b for b in operands if b is not None]
        if len(known) < len(operands) or not known:
            continue
        low, high = min(b[0] for b in known), max(b[1] for b in known)
        if op.rounds is not None:
            continue
        if isinstance(op, AvgPool) and _total(op) > 1.0 + 1e-9:  # a sum
            found = (min(low, 0.0) * _total(op), max(high, 0.0) * _total(op))
        elif isinstance(op, MaxPool | AvgPool) or is_exact(op):
            found = (low, high)
        elif isinstance(op, Depthwise) and op.window == Window() and op.weight[0].size == 1:
            ends = op.weight.ravel()[:, None] * np.array([low, high]) + op.bias[:, None]
            found = (float(ends.min()), float(ends.max()))
        elif isinstance(op, Product) and len(known) == len(op.views):
            found = _product_bounds(known)
        else:
            continue
        lo, hi = (float(v) for v in op.clamp.apply(np.array(found)))
        bounds[op.out.index] = (lo, hi)
    return bounds


def _total(op: AvgPool) -> float:
    """What a pool makes of ones at most."""
    return float(op.weight.max()) * op.window.kernel[0] * op.window.kernel[1]


def _product_bounds(operands: list[tuple[float, float]]) -> tuple[float, float]:
    low = high = 0.0
    for a, b in zip(operands[::2], operands[1::2], strict=True):
        corners = [x * y for x in a for y in b]
        low, high = low + min(corners), high + max(corners)
    return low, high


def never_negative(
    graph: Questions, op: Op, known: dict[int, bool], bounds: dict[int, tuple[float, float]]
) -> bool:
    """Whether an operation's result can't be negative, whatever the input is."""
    if op.out.index in bounds:
        return bounds[op.out.index][0] >= 0
    if op.clamp.lo >= 0:
        return True
    operands = [known[t.index] for view in op.views for t in graph.owners(view)]
    if isinstance(op, AvgPool | Add) and op.bias.size:
        least = float(op.bias.min())
        if (least if op.rounds is None else round_half_up(least, op.rounds)) < 0:
            return False
    if isinstance(op, MaxPool | AvgPool) or is_exact(op):
        return all(operands)
    if isinstance(op, Product):
        return all(operands)
    return isinstance(op, Add) and all(operands) and bool((op.weight > 0).all())
