# SPDX-License-Identifier: Apache-2.0
"""Operations that rewrites put in: copies, gathers, the parts of a joined product."""

from dataclasses import replace

import numpy as np

from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.graph import same_objects
from bramcast.pack.graph.ops import Add, Dense, Depthwise, Op, Product, Rearranged
from bramcast.pack.graph.tensor import ZERO, FloatArray, IntArray


def without_pairs(draft: Draft, op: Product) -> None:
    """Take a joined product of four operands apart again: two products and their sum."""
    names = [draft.unique_name(f"{op.name}.{part}") for part in ("first", "second")]
    parts = []
    for name, views in zip(names, (op.views[:2], op.views[2:]), strict=True):
        out = draft.new_tensor(name, *op.view.shape)
        twins = tuple(f"{twin} {name.rsplit('.', 1)[1]}" for twin in op.twins)
        parts.append(
            Product(name=name, label=op.label, source=op.source, views=views, out=out, twins=twins)
        )
    ends = replace(op, views=tuple(p.out.ids for p in parts))
    total = Add(**ends.common, weight=np.array([1.0, 1.0]))
    draft.put(op, *parts, total)


def results_in_order(draft: Draft) -> None:
    """Results leave in the order in which forward() returns them.

    What makes a result that nobody reads waits until the ones before have been made.
    """
    if not draft.parts:
        return
    waiting = {tensor.index: place for place, tensor in enumerate(draft.sent)}
    ops: list[Op] = []
    ready: dict[int, Op] = {}
    next_one = 0
    for op in draft.ops:
        if op.out.index not in waiting:
            ops.append(op)
            continue
        ready[waiting[op.out.index]] = op
        while next_one in ready:
            ops.append(ready.pop(next_one))
            next_one += 1
    if not same_objects(ops, draft.ops):
        draft.ops = ops


def copy_op(draft: Draft, view: IntArray, name: str, source: str) -> Depthwise:
    """A lane-wise copy of a [C, H, W] view into a tensor of its own, in the same format."""
    name = draft.unique_name(name)
    out = draft.new_tensor(name, *view.shape)
    channels = view.shape[0]
    return Depthwise(
        name=name, label="copy", source=source, views=(view,), out=out,
        weight=np.ones((channels, 1, 1, 1)), bias=np.zeros(channels), exact=True,
    )  # fmt: skip


def gather_op(draft: Draft, view: IntArray, name: str, source: str) -> Dense:
    """A dense copy that may put channels in any order and fill others with zeros."""
    name = draft.unique_name(name)
    out = draft.new_tensor(name, *view.shape)
    channels = view.shape[0]
    return without_repeats(
        Dense(
            name=name,
            label="gather",
            source=source,
            views=(view,),
            out=out,
            weight=np.eye(channels)[:, :, None, None],
            bias=np.zeros(channels),
            exact=True,
        )  # fmt: skip
    )


def shown_by(gather: Dense) -> IntArray:
    """The view [C, H, W] that a dense copy makes a tensor of, constant zeros among it."""
    weight = gather.weight[:, :, 0, 0]
    view: IntArray = gather.view[weight.argmax(axis=1)].copy()
    view[~weight.any(axis=1)] = ZERO
    return view


def rearrange(draft: Draft, op: Dense | Rearranged, view: IntArray, by_channel: bool) -> None:
    """Put copies in any order in the place of one, ``op``, of a view [C, H, W].

    Each pixel of a copy is of one tensor: channels that show the same tensors are one copy, or
    each by itself where these mix in a pixel or ``by_channel`` says so.
    """
    kinds = [frozenset(t.index for t in draft.owners(row)) for row in view]
    sets = [[c for c, kind in enumerate(kinds) if kind == k] for k in dict.fromkeys(kinds)]
    parts, numbers = list[Op](), np.full(view.shape, ZERO)
    for chosen in sets:
        if not kinds[chosen[0]]:  # zeros stay what they are
            continue
        split = by_channel or _mixed(draft, view[chosen])
        for part in [[c] for c in chosen] if split else [chosen]:
            name = draft.unique_name(f"{op.name}.moved{len(parts) + 1}")
            out = draft.new_tensor(name, len(part), *view.shape[1:])
            numbers[part] = out.ids
            parts.append(
                Rearranged(
                    name=name,
                    label="rearrange",
                    source=op.source,
                    views=(view[part],),
                    out=out,
                    weight=np.ones((len(part), 1, 1, 1)),
                    bias=np.zeros(len(part)),
                    exact=True,
                )  # fmt: skip
            )
    if draft.leaves(op):  # what leaves has its order from one nest
        make = gather_op if (numbers == ZERO).any() else copy_op
        last = make(draft, numbers, f"{op.name}.ordered", op.source)
        draft.put(op, *parts, replace(last, out=op.out))
        return
    draft.put(op, *parts)
    draft.substitute(op.out, numbers)


def _mixed(draft: Draft, view: IntArray) -> bool:
    """Whether some pixel shows elements of several tensors."""
    owner = np.searchsorted(draft.firsts, view, side="right") - 1
    highest = np.where(view == ZERO, -1, owner).max(axis=0)
    return bool((np.where(view == ZERO, highest, owner) != highest).any())


def without_repeats(op: Dense) -> Dense:
    """A dense operation that reads each channel once: the weights of equal ones are added."""
    rows = op.view.reshape(len(op.view), -1)
    _, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    if len(first) == len(rows):
        return op
    weight = op.weight
    if op.groups > 1:
        weight = _ungrouped(op)
    place = np.argsort(np.argsort(first))[np.asarray(inverse).ravel()]
    columns = [np.flatnonzero(place == channel) for channel in range(len(first))]
    merged = weight[:, [equal[0] for equal in columns]]
    for number in range(1, max(len(equal) for equal in columns)):
        there = np.array([len(equal) > number for equal in columns])
        index = [equal[min(number, len(equal) - 1)] for equal in columns]
        merged = merged + weight[:, index] * there[:, None, None]
    return replace(op, views=(op.view[np.sort(first)],), weight=merged, groups=1)


def _ungrouped(op: Dense) -> FloatArray:
    """A grouped layer's weights for all input channels, zero for those of other groups."""
    outputs, fan_in, *kernel = op.weight.shape
    each = outputs // op.groups
    parts = []
    for group in range(op.groups):
        before, after = group * fan_in, (op.groups - 1 - group) * fan_in
        mine = op.weight[group * each : (group + 1) * each]
        zeros = [np.zeros((each, count, *kernel)) for count in (before, after)]
        parts.append(np.concatenate([zeros[0], mine, zeros[1]], axis=1))
    return np.concatenate(parts)
