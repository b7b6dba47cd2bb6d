# SPDX-License-Identifier: Apache-2.0
"""Removes channels that compute nothing from a folded graph, so that the images get smaller.

    y = act(W x + b),  z = V y     ->     y' = y[kept],  z = V[:, kept] y' + V[:, gone] act(b[gone])

A channel whose weights are all zero is a constant: act(bias). Where a reader sees the same constant
at every tap, it goes into that reader's bias, and neither the channel nor the weights that read it
are stored. What only such readers needed is removed in turn. The function stays what it is: nothing
is removed whose contribution is not known exactly.

What stays as it is: the input frame, the outputs, constants other than zero that a padded layer
reads (at the border it sees zeros beside them), layers whose weights serve in several places, and
the time steps of recurrent cells (they must stay alike to be one loop).
"""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import (
    Add,
    AvgPool,
    Dense,
    Depthwise,
    MaxPool,
    Op,
    Product,
    Weighted,
    weights_of,
)
from bramcast.pack.graph.tensor import ZERO, FloatArray, IntArray, Tensor

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Removed:
    """What ``shrink`` took out of one operation: channels of its result, and inputs per output."""

    op: str
    channels: int
    of: int
    inputs: int
    of_inputs: int


@dataclass(frozen=True, slots=True, eq=False)
class Shrunk:
    """A network without the channels that compute nothing, and what is missing in it."""

    graph: Graph
    removed: tuple[Removed, ...]


@dataclass(slots=True)
class _Plan:
    """Which channels of an operation's result and which of its view's are kept."""

    outputs: IntArray
    inputs: IntArray


def shrink(graph: Graph) -> Shrunk:
    """The same network without the channels that compute nothing.

    Args:
        graph: folded, before the input's planes.
    """
    asked, kept_before = graph, -1
    removed: dict[str, Removed] = {}
    while True:
        values = _constants(graph)
        plans = _plans(graph, values)
        before, removed_before = graph, dict(removed)
        graph = _rebuilt(graph, values, plans, removed)
        if any(not graph.owners(view) for op in graph.ops for view in op.views):
            removed = removed_before  # all that is left to read is padding
            return Shrunk(before if removed else asked, tuple(removed.values()))
        kept = sum(weights_of(op).size + op.out.elements for op in graph.ops)
        if kept == kept_before:
            return Shrunk(graph if removed else asked, tuple(removed.values()))
        kept_before = kept


# --- what is constant --------------------------------------------------------------------------


def _frozen(graph: Graph) -> frozenset[str]:
    """Operations that must stay as they are: weights used in several places, time steps."""
    layers = Counter(op.layer or op.name for op in graph.ops)
    twins = Counter(twin for op in graph.ops for twin in op.twins)
    return frozenset(
        op.name
        for op in graph.ops
        if layers[op.layer or op.name] > 1 or any(twins[t] > 1 for t in op.twins)
    )


def _constants(graph: Graph) -> FloatArray:
    """The value of each stored element that is the same for every sample; NaN for the others."""
    last = graph.tensors[-1]
    values = np.full(last.end, np.nan)
    frozen = _frozen(graph)
    for op in graph.ops:
        if op.name in frozen:
            continue
        result = _constant_results(op, [_of_view(values, view) for view in op.views])
        if isinstance(op, AvgPool | Add) and op.bias.size:
            result = result + op.bias
        if op.rounds is not None:
            result = np.floor(result * 2.0**op.rounds + 0.5) * 2.0**-op.rounds
        result = np.clip(result, op.clamp.lo, op.clamp.hi)
        if op.activation is not None:
            known = ~np.isnan(result)
            result[known] = np.asarray(op.activation.apply(result[known]))
        values[op.out.ids] = result[:, None, None]
    return values


def _of_view(values: FloatArray, view: IntArray) -> FloatArray:
    """The value of each channel of a view if all its elements have it, else NaN; float64 [C]."""
    shown = np.where(view == ZERO, 0.0, values[view]).reshape(len(view), -1)
    first = shown[:, 0]
    return np.where((shown == first[:, None]).all(axis=1), first, np.nan)


def _foldable(op: Weighted, seen: FloatArray) -> BoolArray:
    """Channels of the view whose contribution to a dense or depthwise result is a constant."""
    plain = not any(op.window.padding) and not op.exact  # an exact copy has no bias
    return np.asarray((seen == 0.0) | (~np.isnan(seen) & plain))


def _constant_results(op: Op, seen: list[FloatArray]) -> FloatArray:
    """Each channel's value before the clamp, NaN where it depends on the sample; float64 [C]."""
    x = seen[0]
    if isinstance(op, Weighted):
        known, factor = _foldable(op, x), op.weight.sum(axis=(2, 3))
        used = (op.weight != 0).any(axis=(2, 3))
        index = op.inputs
        open_inputs = (used & ~known[index]).any(axis=1)
        total = (factor * np.where(known, x, 0.0)[index]).sum(axis=1) + op.bias
        if op.tap_bias.any():  # not the same along the border
            open_inputs = open_inputs | op.tap_bias.any(axis=(1, 2))
        return np.where(open_inputs, np.nan, total)
    if isinstance(op, MaxPool):
        return x.copy()  # its padding is no value
    if isinstance(op, AvgPool):
        each = float(op.weight.flat[0]) * op.window.kernel[0] * op.window.kernel[1]
        even = bool((op.weight == op.weight.flat[0]).all()) and not any(op.window.padding)
        return np.where(x == 0.0, 0.0, x * each if even else np.nan)
    if isinstance(op, Add):
        return np.asarray(op.weight[0] * x + op.weight[1] * seen[1])
    assert isinstance(op, Product)
    products: FloatArray = np.zeros(len(x))
    for a, b in zip(seen[::2], seen[1::2], strict=True):  # zero times anything is zero
        products = products + np.where((a == 0.0) | (b == 0.0), 0.0, a * b)
    return products


# --- what is needed ----------------------------------------------------------------------------


def _plans(graph: Graph, values: FloatArray) -> dict[str, _Plan]:
    """Which channels of each operation stay; operations that nobody needs have no plan.

    A lane-wise operation keeps what an operand keeps for others, and a dense one reads it with
    weights of zero: to leave a channel out of the middle of what is read would cost a copy.
    """
    forced: dict[str, BoolArray] = {}
    while True:
        plans = _wanted(graph, values, forced)
        stored = np.zeros(len(values), bool)
        stored[graph.input.ids] = True
        for op in graph.ops:
            if op.name in plans:
                stored[op.out.ids[plans[op.name].outputs]] = True
        more = False
        for op in graph.ops:
            plan = plans.get(op.name)
            if plan is None:
                continue
            there = [_all_stored(stored, view) for view in op.views]
            if isinstance(op, Dense):
                if op.groups == 1:
                    plan.inputs = np.union1d(plan.inputs, np.flatnonzero(there[0]))
                continue
            keeps = np.any(there, axis=0)
            if len(plan.inputs) < keeps.sum():
                forced[op.name] = np.repeat(keeps, op.out.channels // len(op.view))
                more = True
        if not more:
            return plans


def _all_stored(stored: BoolArray, view: IntArray) -> BoolArray:
    """Channels of a view that show something, and nothing that is not stored."""
    shown = view != ZERO
    return np.asarray((stored[view] | ~shown).all(axis=(1, 2)) & shown.any(axis=(1, 2)))


def _wanted(graph: Graph, values: FloatArray, forced: dict[str, BoolArray]) -> dict[str, _Plan]:
    """From the last operation to the first: which channels somebody needs."""
    needed = np.zeros(len(values), bool)  # by element
    needed[graph.output[graph.output != ZERO]] = True
    frozen, plans = _frozen(graph), {}
    for op in reversed(graph.ops):
        wanted: BoolArray = np.asarray(needed[op.out.ids].any(axis=(1, 2)))
        if not wanted.any():
            continue
        if op.name in frozen:
            plan = _Plan(np.arange(len(wanted)), np.arange(len(op.view)))
        elif isinstance(op, Dense):
            plan = _dense_plan(op, wanted, _of_view(values, op.view))
        else:
            wanted = wanted | forced.get(op.name, np.False_)
            inputs = np.unique(np.flatnonzero(wanted) * len(op.view) // len(wanted))
            each = len(wanted) // len(op.view)
            plan = _Plan((inputs[:, None] * each + np.arange(each)).ravel(), inputs)
        plans[op.name] = plan
        for view in op.views:
            read = view[plan.inputs]
            needed[read[read != ZERO]] = True
    return plans


def _dense_plan(op: Dense, wanted: BoolArray, seen: FloatArray) -> _Plan:
    """Groups keep equally many outputs and inputs; each keeps at least one."""
    used = (op.weight != 0).any(axis=(2, 3)) & wanted[:, None]
    used &= ~_foldable(op, seen)[op.inputs]
    per_output, per_input = len(wanted) // op.groups, op.weight.shape[1]
    grouped = wanted.reshape(op.groups, per_output)
    reads = used.reshape(op.groups, per_output, per_input).any(axis=1)
    alive = np.flatnonzero(grouped.any(axis=1))
    moving = np.isnan(seen).reshape(op.groups, per_input)
    outputs = _equally_many(grouped[alive], alive * per_output, grouped[alive])
    inputs = _equally_many(reads[alive], alive * per_input, moving[alive])
    return _Plan(outputs, inputs)


def _equally_many(wanted: BoolArray, first: IntArray, rather: BoolArray) -> IntArray:
    """The wanted places of each row, filled up with others to the longest row, at least one.

    Args:
        rather: the others to take before the rest.
    """
    count = max(1, int(wanted.sum(axis=1).max()))
    order = np.where(wanted, 0, np.where(rather, 1, 2))
    places = np.argsort(order, axis=1, kind="stable")[:, :count]
    return np.asarray((np.sort(places, axis=1) + first[:, None]).ravel())


# --- the smaller graph -------------------------------------------------------------------------


def _rebuilt(
    graph: Graph, values: FloatArray, plans: dict[str, _Plan], removed: dict[str, Removed]
) -> Graph:
    kept = {op.out.index: plans[op.name].outputs for op in graph.ops if op.name in plans}
    kept[graph.input.index] = np.arange(graph.input.channels)
    numbers = np.full(len(values), ZERO, np.int64)  # the new number of each element
    tensors: list[Tensor] = []
    first = 0
    for old in graph.tensors:
        mine = kept.get(old.index, np.arange(0))
        new = replace(old, channels=len(mine), first=first)
        numbers[old.ids[mine]] = new.ids
        first += new.elements
        tensors.append(new)

    def moved(view: IntArray) -> IntArray:
        return np.where(view == ZERO, ZERO, numbers[view])

    ops: list[Op] = []
    for op in graph.ops:
        plan = plans.get(op.name)
        _count(op, plan, removed)
        if plan is None:
            continue
        made = _smaller(op, plan, _of_view(values, op.view))
        views = tuple(moved(view[plan.inputs]) for view in op.views)
        ops.append(replace(made, views=views, out=tensors[op.out.index]))
    return replace(graph, tensors=tuple(tensors), ops=tuple(ops), output=moved(graph.output))


def _smaller(op: Op, plan: _Plan, seen: FloatArray) -> Op:
    """The operation with only the channels of the plan; constants go into its bias."""
    if len(plan.outputs) == op.out.channels and len(plan.inputs) == len(op.view):
        return op
    if isinstance(op, Dense):
        return _smaller_dense(op, plan, seen)
    if isinstance(op, Depthwise):
        made = op.of_outputs(plan.outputs)
        return replace(made, macs=_part(op.macs, made.weight, op.weight))
    if isinstance(op, AvgPool | Add) and op.bias.size:
        op = replace(op, bias=op.bias[plan.outputs])
    return replace(op, macs=op.macs * len(plan.outputs) // op.out.channels)


def _smaller_dense(op: Dense, plan: _Plan, seen: FloatArray) -> Dense:
    """A dense operation with only these outputs and inputs; constant inputs go into its bias."""
    made = op.of_outputs(plan.outputs)
    index = op.inputs[plan.outputs]
    stays = np.isin(index, plan.inputs)
    gone = ~stays & _foldable(op, seen)[index]
    rows = made.weight
    total = rows.sum(axis=(2, 3)) * np.where(np.isnan(seen), 0.0, seen)[index]
    bias = made.bias + np.where(gone, total, 0.0).sum(axis=1)
    fan_in = int(stays[0].sum())
    weight = rows[stays].reshape(len(rows), fan_in, *rows.shape[2:])
    groups = len(plan.inputs) // fan_in
    macs = _part(op.macs, weight, op.weight)
    return replace(made, weight=weight, bias=bias, groups=groups, macs=macs)


def _part(macs: int, weight: FloatArray, of: FloatArray) -> int:
    return macs * weight.size // of.size


def _count(op: Op, plan: _Plan | None, removed: dict[str, Removed]) -> None:
    before = removed.get(op.name)
    of = before.of if before else op.out.channels
    of_inputs = before.of_inputs if before else len(op.view)
    channels = of - (len(plan.outputs) if plan else 0)
    inputs = of_inputs - (len(plan.inputs) if plan else 0)
    if channels or inputs:
        removed[op.name] = Removed(op.name, channels, of, inputs, of_inputs)
