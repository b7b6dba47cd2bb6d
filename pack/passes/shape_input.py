# SPDX-License-Identifier: Apache-2.0
"""The input frame is stored in the shape (c, y, x) in which its first reader takes it.

f(x[order])  ->  f(x'),  x' = x[order]      the sample is sent in that order
"""

import numpy as np

from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.tensor import IntArray, Tensor, as_pixels, is_whole, strip_zeros
from bramcast.pack.graph.views import strides_of


def shape_input(graph: Graph) -> Graph:
    """The frame in the shape of a picture; as it is where all read single elements of it."""
    if graph.input_parts:
        return _parts_shaped(graph)
    old, shaped = graph.input, _shaped(graph)
    if shaped is None:
        return graph
    channels, height, width = shaped.shape
    tensor = Tensor(0, old.name, channels, height, width, 0)
    numbers = np.empty(old.elements, np.int64)
    numbers[shaped.ravel()] = tensor.ids.ravel()
    draft = Draft(graph)
    draft.substitute(old, numbers)
    draft.tensors[0] = tensor
    draft.input_order = shaped.ravel().copy()
    return draft.done()


def _parts_shaped(graph: Graph) -> Graph:
    """Of several inputs each that is read as a picture is sent pixel by pixel, by itself."""
    ids = graph.input.ids.ravel()
    order = ids.copy()
    views = [strip_zeros(v)[0] for op in graph.consumers(graph.input) for v in op.views]
    for part, mine in zip(graph.input_parts, graph.input_slices, strict=True):
        if len(part.shape) not in (2, 3):
            continue
        picture = ids[mine].reshape(as_pixels(part.shape))
        if any(np.array_equal(view, picture) for view in views):
            order[mine] = picture.transpose(1, 2, 0).ravel()
    if np.array_equal(order, ids):
        return graph
    draft = Draft(graph)
    numbers = np.empty_like(ids)
    numbers[order] = ids
    draft.substitute(graph.input, numbers)
    draft.input_order = order
    return draft.done()


def _shaped(graph: Graph) -> IntArray | None:
    """The input's elements as the first reader of a whole picture shows them, else the author."""
    readers = graph.consumers(graph.input)
    for op in readers:
        view = strip_zeros(op.view)[0]
        picture = view.shape[1] * view.shape[2] > 1 and is_whole(view, graph.input)
        if picture and strides_of(view.transpose(1, 2, 0)) is not None:
            return view
    pictures = [v for op in readers for v in op.views if v.shape[1] * v.shape[2] > 1]
    if len(graph.input_shape) != 3 or not pictures:
        return None
    return graph.input.ids.reshape(graph.input_shape)
