# SPDX-License-Identifier: Apache-2.0
"""A scale that differs between bands of rows, as a BatchNorm over channels x bands, becomes one
for each band, and so does what alone makes its operand, and what works on each element behind it.

    y = W x,  g[band] y + o[band]     ->     (g[i] W) x[rows i] + o[i],  one below the other

Each band has constants for each channel then, which weights and biases take.
"""

from dataclasses import replace

import numpy as np

from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import Dense, Depthwise, Op, Pointwise, Scale, Weighted
from bramcast.pack.graph.tensor import IntArray, Tensor, is_whole
from bramcast.pack.graph.window import NO_CLAMP

MOST_BANDS = 16

Rows = tuple[int, int]


def split_bands(graph: Graph) -> Graph:
    """Every such scale whose bands are few."""
    draft = Draft(graph)
    parts: set[int] = set()  # tensors that are bands
    number = 0
    while number < len(draft.ops):
        op = draft.ops[number]
        if isinstance(op, Scale):
            bands = _bands(draft, op)
            if bands:
                parts |= _split(draft, op, bands)
                continue  # the first of what is in its place
        if isinstance(op, Pointwise) and _of_bands(draft, op, parts):
            parts |= _by_tensor(draft, op)
        number += 1
    return draft.done()


def _bands(draft: Draft, op: Scale) -> list[Rows]:
    """The rows of each band, first and end; none if all have the same constants, or too many."""
    owners = draft.owners(op.view)
    if len(owners) != 1 or owners[0].index == 0 or not np.array_equal(op.view, owners[0].ids):
        return []
    constants = np.stack([np.asarray(op.weight), np.asarray(op.bias)])
    if (constants != constants[..., :1]).any():
        return []
    changes = (constants[:, :, 1:, 0] != constants[:, :, :-1, 0]).any(axis=(0, 1))
    edges = [0, *(np.flatnonzero(changes) + 1).tolist(), op.view.shape[1]]
    few = 2 < len(edges) <= min(MOST_BANDS, op.view.shape[1] // 2) + 1
    return list(zip(edges[:-1], edges[1:], strict=True)) if few else []


def _split(draft: Draft, op: Scale, bands: list[Rows]) -> set[int]:
    """A scale by bands, and its source if that can be; the tensors that are bands then."""
    tensor = draft.owners(op.view)[0]
    source = draft.producer(tensor)
    made: list[Op] = []
    views = [tensor.ids[:, first:end] for first, end in bands]
    if _divisible(draft, source, tensor):
        assert isinstance(source, Weighted), "a divisible source is"
        parts = [_rows_of(draft, source, n, rows) for n, rows in enumerate(bands, 1)]
        draft.put(source, *parts)
        views = [part.out.ids for part in parts]
        made += parts
    scales: list[Op] = []
    for n, ((first, end), view) in enumerate(zip(bands, views, strict=True), 1):
        name = draft.unique_name(f"{op.name}.band{n}")
        out = draft.new_tensor(name, *view.shape)
        weight, bias = op.weight[:, first:end], op.bias[:, first:end]
        twins = tuple(f"{twin} band {n}" for twin in op.twins)
        scale = replace(
            op, name=name, views=(view,), out=out, weight=weight, bias=bias, twins=twins, layer=name
        )
        scales.append(scale)
    draft.put(op, *scales)
    draft.substitute(op.out, np.concatenate([s.out.ids for s in scales], axis=1))
    return {o.out.index for o in (*made, *scales)}


def _divisible(draft: Draft, source: Op | None, tensor: Tensor) -> bool:
    """Whether rows of a result can be made by themselves, and the scale taken by what does it."""
    if not isinstance(source, Dense | Depthwise) or source.exact or source.tap_bias.size:
        return False
    plain = source.clamp == NO_CLAMP and source.activation is None and source.rounds is None
    return plain and len(draft.consumers(tensor)) == 1 and not draft.is_output(tensor)


def _rows_of(draft: Draft, op: Weighted, number: int, rows: Rows) -> Weighted:
    """What makes some rows of a result, from those that these read."""
    (first, end), window = rows, op.window
    stride, dilation, kernel = window.stride[0], window.dilation[0], window.kernel[0]
    top, left, _, right = window.padding
    low = first * stride - top
    high = (end - 1) * stride - top + (kernel - 1) * dilation + 1
    height = op.view.shape[1]
    view = op.view[:, max(0, low) : min(height, high)]
    padding = (max(0, -low), left, max(0, high - height), right)
    name = draft.unique_name(f"{op.name}.band{number}")
    return replace(
        op, name=name, views=(view,), window=replace(window, padding=padding),
        out=draft.new_tensor(name, op.out.channels, end - first, op.out.width),
        macs=op.macs * (end - first) // op.out.height, layer=name,
        twins=tuple(f"{twin} band {number}" for twin in op.twins),
    )  # fmt: skip


def _of_bands(draft: Draft, op: Pointwise, parts: set[int]) -> bool:
    """Whether an operation alone reads bands, each whole."""
    owners = draft.owners(op.view)
    if len(owners) < 2 or not {t.index for t in owners} <= parts:
        return False
    if op.view.size != sum(t.elements for t in owners):
        return False
    return all(
        is_whole(op.view[t.mine(op.view)], t)
        and draft.consumers(t) == [op]
        and not draft.is_output(t)
        for t in owners
    )


def _by_tensor(draft: Draft, op: Pointwise) -> set[int]:
    """f(a | b) -> f(a) | f(b)"""
    made: list[Op] = []
    numbers: IntArray = np.empty(op.view.size, np.int64)
    for n, tensor in enumerate(draft.owners(op.view), 1):
        place = np.flatnonzero(tensor.mine(op.view).ravel())
        place = place[np.argsort(op.view.ravel()[place])]  # of its elements in their order
        name = draft.unique_name(f"{op.name}.band{n}")
        out = draft.new_tensor(name, tensor.channels, tensor.height, tensor.width)
        twins = tuple(f"{twin} band {n}" for twin in op.twins)
        part: Pointwise = replace(
            op, name=name, views=(tensor.ids,), out=out, twins=twins, layer=name
        )
        if isinstance(part, Scale):
            shape = tensor.ids.shape
            weight, bias = (v.ravel()[place].reshape(shape) for v in (part.weight, part.bias))
            part = replace(part, weight=weight, bias=bias)
        made.append(part)
        numbers[place] = out.ids.ravel()
    draft.put(op, *made)
    draft.substitute(op.out, numbers)
    return {o.out.index for o in made}
