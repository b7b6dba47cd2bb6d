# SPDX-License-Identifier: Apache-2.0
"""Folds scales forwards: what nothing before a normalisation can take, the layers behind it do.

A BatchNorm behind a ReLU or a residual add is a gain and an offset for each channel. The layers
that read it multiply their weights by the gain, and the offset adds a constant for each tap that
meets an element: to the bias, and where the layer pads to ``Op.tap_bias``.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from math import inf

import numpy as np

from bramcast.pack.graph.border import Bands
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import AvgPool, MaxPool, Op, Scale, Weighted
from bramcast.pack.graph.tensor import (
    ZERO,
    FloatArray,
    IntArray,
    is_whole,
    seen_through,
    strip_zeros,
)
from bramcast.pack.graph.window import NO_CLAMP

MOST_PARTS = 25  # nests that a layer may become: a window of 5 by 5


def fold_forward(graph: Graph) -> None:
    """Every scale into what reads it, and behind a pool whose readers may take it."""
    while any(
        _behind_pool(graph, op) or _into_readers(graph, op)
        for op in graph.ops
        if isinstance(op, Scale) and _is_plain(op)
    ):
        pass


def _is_plain(op: Op) -> bool:
    """Whether nothing follows an operation: a scale is a gain and an offset for each element."""
    return op.clamp == NO_CLAMP and op.activation is None and op.rounds is None


# --- into the layers behind it -----------------------------------------------------------------


def _into_readers(graph: Graph, scale: Scale) -> bool:
    """A scale into its readers; it stays for those that can't take it."""
    readers = graph.consumers(scale.out)
    mixed = [op.name for op in readers if graph.owners(op.view) != [scale.out]]
    able = any(op.name in mixed and absorbed(graph, op, scale) is not None for op in readers)
    evened = _evened(graph, scale) if able else None
    if evened is not None:
        source, scale = evened
        changed: dict[str, Op] = {source.name: source, scale.name: scale}
        graph.ops = [changed.get(op.name, op) for op in graph.ops]
    made = {
        op.name: absorbed(graph, op, scale)
        for op in readers
        if evened is not None or not able or op.name not in mixed
    }
    taken = {name: op for name, op in made.items() if op is not None}
    stays = graph.is_output(scale.out) or len(taken) < len(readers)
    if not taken or (stays and _unrolled(graph, (scale, *readers))):
        return False
    graph.ops = [taken.get(op.name, op) for op in graph.ops]
    if not stays:
        graph.remove(scale)
    return True


def _unrolled(graph: Graph, ops: Iterable[Op]) -> bool:
    """Whether there are time steps among operations: these share what is folded into them."""
    steps = Counter(twin for op in graph.ops for twin in op.twins)
    return any(steps[twin] > 1 for op in ops for twin in op.twins)


def absorbed(graph: Graph, reader: Op, scale: Scale) -> Weighted | None:
    """A dense or depthwise operation that reads what a scale reads, None if it can't.

    Args:
        scale: per channel of what ``reader`` sees the same gain and the same offset.
    """
    if not isinstance(reader, Weighted) or reader.exact:
        return None
    moves = bool(np.asarray(scale.bias).any())
    view = strip_zeros(reader.view)[0] if moves else reader.view
    channels = _channels(scale, view, zeros=not moves)
    if channels is None:
        return None
    gain, offset = channels
    made = lifted(graph, reader, offset) if moves else reader
    if made is None:
        return None
    weight = reader.weight * gain[reader.inputs][:, :, None, None]
    return replace(made, weight=weight, views=(seen_through(made.view, scale.out, scale.view),))


def lifted(graph: Graph, op: Weighted, offset: FloatArray) -> Weighted | None:
    """A dense or depthwise operation that adds what its view's channels have too little.

    None where it can't: there would be too many nests, or results on the stream out of order.

    Args:
        offset: float64 [C], of every element but padding and a border of zeros.
    """
    view, border = strip_zeros(op.view)
    added = (op.weight * offset[op.inputs][:, :, None, None]).sum(axis=1)
    top, left, bottom, right = op.window.padding
    padding = top + border[0], left + border[1], bottom + border[2], right + border[3]
    if not any(padding) and not op.tap_bias.size:
        return replace(op, bias=op.bias + added.sum(axis=(1, 2)))
    made = replace(
        op,
        views=(view,),
        window=replace(op.window, padding=padding),
        tap_bias=op.tap_bias + added if op.tap_bias.size else added,
    )
    whole = op.rounds is not None or graph.is_output(op.out)
    return None if whole or Bands.of(made).count > MOST_PARTS else made


def _channels(scale: Scale, view: IntArray, zeros: bool) -> tuple[FloatArray, FloatArray] | None:
    """Gain and offset of each channel of a view, float64 [C]; 1 and 0 for others than the scale's.

    None where a channel has several, or beside the scale's elements others.

    Args:
        zeros: there may be constant zeros among the elements.
    """
    out = scale.out
    flat = view.reshape(len(view), -1)
    mine = out.mine(flat)
    others = ~mine & (flat != ZERO) if zeros else ~mine
    partly = mine.any(axis=1)
    if (partly & others.any(axis=1)).any():
        return None
    local = np.where(mine, flat - out.first, 0)
    first = local[np.arange(len(flat)), mine.argmax(axis=1)]
    for values in (scale.weight, scale.bias):
        plain = np.asarray(values).ravel()
        if ((plain[local] != plain[first][:, None]) & mine).any():
            return None
    index = np.where(partly, first, out.elements)
    gain, offset = (
        np.concatenate([values.ravel(), np.array([rest])])[index]
        for values, rest in ((scale.weight, 1.0), (scale.bias, 0.0))
    )
    return gain, offset


def _evened(graph: Graph, scale: Scale) -> tuple[Weighted, Scale] | None:
    """What is before a scale, and the scale, with gains around 1.

    Beside others in a concat, whose parts share a format, a tensor should be of their size. A
    power of two goes back through a ReLU; None where nothing can take it.
    """
    gains = np.abs(np.asarray(scale.weight))
    exponent = int(np.round(np.median(np.log2(gains[gains > 0])))) if gains.any() else 0
    owners = graph.owners(scale.view)
    source = graph.producer(owners[0])
    if not isinstance(source, Weighted) or len(owners) > 1 or not is_whole(scale.view, owners[0]):
        return None
    alone = graph.consumers(owners[0]) == [scale] and not graph.is_output(owners[0])
    free = source.clamp.hi == inf and source.clamp.lo in (0.0, -inf)
    free = free and source.activation is None and source.rounds is None and not source.exact
    shared = sum((op.layer or op.name) == (source.layer or source.name) for op in graph.ops) > 1
    if not (alone and free) or shared or _unrolled(graph, (source, scale)):
        return None
    factor = 2.0**exponent
    larger = replace(
        source,
        weight=source.weight * factor,
        bias=source.bias * factor,
        tap_bias=source.tap_bias * factor,
    )
    return larger, replace(scale, weight=scale.weight * (1.0 / factor))


# --- behind a pool -----------------------------------------------------------------------------


def _behind_pool(graph: Graph, scale: Scale) -> bool:
    """A scale in front of a pool goes behind it: fewer elements, and layers that may take it."""
    if graph.is_output(scale.out):
        return False
    readers = graph.consumers(scale.out)
    pool = readers[0] if len(readers) == 1 else None
    if not isinstance(pool, AvgPool | MaxPool) or not _is_plain(pool):
        return False
    if graph.owners(pool.view) != [scale.out] or (pool.view == ZERO).any():
        return False
    channels = _channels(scale, pool.view, zeros=False)
    if channels is None:
        return False
    if isinstance(pool, MaxPool) and not (np.asarray(channels[0]) > 0).all():
        return False
    if isinstance(pool, AvgPool) and not _averages(pool):
        return False
    raw = graph.new_tensor(pool.out.name, *pool.out.ids.shape)
    gain, offset = (np.broadcast_to(v[:, None, None], raw.ids.shape) for v in channels)
    pooled = replace(pool, views=(seen_through(pool.view, scale.out, scale.view),), out=raw)
    behind = replace(scale, views=(raw.ids,), out=pool.out, weight=gain, bias=offset)
    at = graph.ops.index(pool)
    graph.ops[at : at + 1] = [pooled, behind]
    graph.remove(scale)
    return True


def _averages(pool: AvgPool) -> bool:
    """Whether a pool of ones is ones: its divisors count elements, not padding."""
    bands = Bands.over((pool.view.shape[1], pool.view.shape[2]), pool.window)
    elements = bands.picture(bands.totals(np.ones(pool.window.kernel)))
    return bool((np.abs(pool.weight[0] * elements - 1.0) < 1e-12).all())
