# SPDX-License-Identifier: Apache-2.0
"""Element-wise operations on a part of a tensor, or on repeated elements, take all of it once.

    f(x[part])  ->  f(x)[part]      where nothing else reads x

The elements that nobody reads may be anything; what makes x can take f then.
"""

from dataclasses import replace

import numpy as np

from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import Pointwise, Scale
from bramcast.pack.graph.tensor import ZERO, FloatArray, IntArray, Tensor, is_whole


def whole_tensors(graph: Graph) -> Graph:
    """Every such operation whose constants, if it has any, are one for each channel."""
    draft = Draft(graph)
    for number in range(len(draft.ops)):
        op = draft.ops[number]  # as those before it have left it
        tensor = _shown_in_part(draft, op) if isinstance(op, Pointwise) else None
        if tensor is None:
            continue
        whole = op
        if isinstance(op, Scale):
            weight, bias = (_by_channel(tensor, op.view, values) for values in (op.weight, op.bias))
            if weight is None or bias is None:
                continue
            whole = replace(op, weight=weight, bias=bias)
        out = draft.new_tensor(op.out.name, tensor.channels, tensor.height, tensor.width)
        draft.put(op, replace(whole, views=(tensor.ids,), out=out))
        draft.substitute(op.out, op.view - tensor.first + out.first)
    return draft.done()


def _shown_in_part(draft: Draft, op: Pointwise) -> Tensor | None:
    """The tensor that an operation alone reads, but not each element once."""
    owners = draft.owners(op.view)
    if len(owners) != 1 or owners[0].index == 0 or (op.view == ZERO).any():
        return None
    tensor = owners[0]
    if is_whole(op.view, tensor) or draft.is_output(tensor):
        return None
    return tensor if draft.consumers(tensor) == [op] else None


def _by_channel(tensor: Tensor, view: IntArray, values: FloatArray) -> FloatArray | None:
    """A scale's constants for all elements of a tensor, if each channel has one constant."""
    channel = ((view - tensor.first) // (tensor.height * tensor.width)).ravel()
    shown, first = np.unique(channel, return_index=True)
    if (np.asarray(values.ravel() != values.ravel()[first][np.searchsorted(shown, channel)])).any():
        return None
    nearest = np.minimum(np.searchsorted(shown, np.arange(tensor.channels)), len(shown) - 1)
    rows = values.ravel()[first][nearest][:, None, None]
    result: FloatArray = np.broadcast_to(rows, tensor.ids.shape).copy()
    return result
