# SPDX-License-Identifier: Apache-2.0
"""What a layer takes of a scale in front of it: a gain and an offset for each channel.

    W (g x + o) + b  ->  (W g) x + (b + W o)

A constant that every element of a channel has adds weight times constant for each tap that meets an
element: to the bias, and where the layer pads to ``Weighted.tap_bias``.
"""

from dataclasses import replace

import numpy as np

from bramcast.pack.graph.border import Bands
from bramcast.pack.graph.graph import Questions
from bramcast.pack.graph.ops import Op, Scale, Weighted
from bramcast.pack.graph.tensor import ZERO, FloatArray, IntArray, seen_through, strip_zeros

MOST_PARTS = 25  # nests that a layer may become: a window of 5 by 5


def absorbed(graph: Questions, reader: Op, scale: Scale) -> Weighted | None:
    """A dense or depthwise operation that reads what a scale reads, None if it can't.

    Args:
        scale: per channel of what ``reader`` sees the same gain and the same offset.
    """
    if not isinstance(reader, Weighted) or reader.exact:
        return None
    moves = bool(np.asarray(scale.bias).any())
    view = strip_zeros(reader.view)[0] if moves else reader.view
    channels = by_channel(scale, view, zeros=not moves)
    if channels is None:
        return None
    gain, offset = channels
    made = lifted(graph, reader, offset) if moves else reader
    if made is None:
        return None
    weight = reader.weight * gain[reader.inputs][:, :, None, None]
    return replace(made, weight=weight, views=(seen_through(made.view, scale.out, scale.view),))


def lifted(graph: Questions, op: Weighted, offset: FloatArray) -> Weighted | None:
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


def by_channel(scale: Scale, view: IntArray, zeros: bool) -> tuple[FloatArray, FloatArray] | None:
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
