# SPDX-License-Identifier: Apache-2.0
"""The result is one tensor that nobody reads again: else a last copy makes it so.

output = y[order]         ->  output = copy(y)[order]      where y is read again, or the input
output = y, z and zeros   ->  output = gather(y, z)
output = y rolled         ->  output = gather(y)           an order that no strides describe
"""

import numpy as np

from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.edit import copy_op, gather_op
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.tensor import IntArray, Tensor, as_pixels, is_whole
from bramcast.pack.graph.views import strides_of


def own_output(graph: Graph) -> Graph:
    """A graph whose output is a whole tensor of its own, in an order that strides describe."""
    owners = graph.owners(graph.output)
    tensor = owners[0]
    alone = len(owners) == 1 and is_whole(graph.output, tensor)
    straight = alone and tensor.index != 0 and not graph.consumers(tensor)
    if straight and _is_affine(graph.output, tensor):
        return graph
    draft = Draft(graph)
    if alone and _is_affine(graph.output, tensor):
        copy = copy_op(draft, tensor.ids, "output", "copy")
        draft.ops.append(copy)
        draft.output = copy.out.ids.ravel()[graph.output - tensor.first]
        return draft.done()
    view = graph.output.reshape(as_pixels(graph.output.shape))
    gather = gather_op(draft, view, "output", "gather")
    draft.ops.append(gather)
    draft.output = gather.out.ids.reshape(graph.output.shape)
    return draft.done()


def _is_affine(output: IntArray, tensor: Tensor) -> bool:
    """Whether a stride for each axis of a tensor leads through the output, which shows it whole."""
    place = np.empty(tensor.elements, np.int64)
    place[output.ravel() - tensor.first] = np.arange(tensor.elements)
    pixels = place.reshape(tensor.channels, tensor.height, tensor.width)
    return strides_of(pixels.transpose(1, 2, 0)) is not None
