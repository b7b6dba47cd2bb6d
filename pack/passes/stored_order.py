# SPDX-License-Identifier: Apache-2.0
"""Element-wise operations on rearranged tensors work in the order in which these are stored.

    f(x[order])        ->  f(x)[order]
    a[order] + b[order]  ->  (a + b)[order]

So what makes x can take f, whatever permute or reshape stands between them.
"""

from dataclasses import replace

import numpy as np

from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import Add, Op, Pointwise, Product, Scale
from bramcast.pack.graph.tensor import FloatArray, IntArray, Tensor, is_whole


def stored_order(graph: Graph) -> Graph:
    """Every such operation but those on the input frame, which takes its shape from its readers."""
    draft = Draft(graph)
    for number in range(len(draft.ops)):
        op = draft.ops[number]  # as those before it have left it
        if not isinstance(op, Pointwise | Add | Product):
            continue
        owners = [draft.owners(view) for view in op.views]
        if all(len(o) == 1 for o in owners):
            tensors = [o[0] for o in owners]
            order = _order(op, tensors)
            if order is not None:
                _reorder(draft, op, tensors, order)
    return draft.done()


def _order(op: Op, tensors: list[Tensor]) -> IntArray | None:
    """In which order all operands show whole tensors of one shape, if not in the stored one."""
    first = tensors[0]
    shape = (first.channels, first.height, first.width)
    if first.index == 0 or any((t.channels, t.height, t.width) != shape for t in tensors):
        return None
    if not all(is_whole(view, t) for view, t in zip(op.views, tensors, strict=True)):
        return None
    order, *others = [v.ravel() - t.first for v, t in zip(op.views, tensors, strict=True)]
    if any((other != order).any() for other in others):
        return None
    stored = op.view.shape == shape and (np.diff(order) == 1).all()
    return None if stored else order


def _reorder(draft: Draft, op: Op, tensors: list[Tensor], order: IntArray) -> None:
    shape = (tensors[0].channels, tensors[0].height, tensors[0].width)
    out = draft.new_tensor(op.out.name, *shape)

    def stored(values: FloatArray) -> FloatArray:
        return np.asanyarray(values.ravel()[np.argsort(order)].reshape(shape))

    moved = replace(op, views=tuple(t.ids for t in tensors), out=out)
    if isinstance(moved, Scale):
        moved = replace(moved, weight=stored(moved.weight), bias=stored(moved.bias))
    draft.put(op, moved)
    draft.substitute(op.out, out.ids.ravel()[order])
