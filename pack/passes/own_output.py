# SPDX-License-Identifier: Apache-2.0
"""Each result is one tensor that nobody reads again: else a last copy makes it so.

output = y[order]         ->  output = copy(y)[order]      where y is read again, or the input
output = y, z and zeros   ->  output = gather(y, z)
output = y rolled         ->  output = gather(y)           an order that no strides describe
outputs y, y              ->  outputs copy(y), copy(y)

They leave in the order in which forward() returns them.
"""

import numpy as np

from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.edit import copy_op, gather_op, results_in_order
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.tensor import IntArray, Tensor, as_pixels, is_whole
from bramcast.pack.graph.views import places_of


def own_output(graph: Graph) -> Graph:
    """A graph each of whose results is a whole tensor of its own, in an order for a manifest."""
    draft, asked = Draft(graph), graph.results
    results = [_own(draft, graph, asked, number) for number in range(len(asked))]
    if any(new is not old for new, old in zip(results, asked, strict=True)):
        draft.put_results(results)
    results_in_order(draft)
    return draft.done()


def _own(draft: Draft, graph: Graph, asked: list[IntArray], number: int) -> IntArray:
    """One of the results that are asked for, or what shows a new operation's in its place."""
    shown = asked[number]
    owners = graph.owners(shown)
    tensor = owners[0]
    alone = len(owners) == 1 and is_whole(shown, tensor) and _in_order(shown, tensor)
    others = asked[:number] + asked[number + 1 :]
    shared = any(tensor.mine(view).any() for view in others)
    if alone and tensor.index != 0 and not graph.consumers(tensor) and not shared:
        return shown
    name = draft.result_name(number)
    if alone:
        copy = copy_op(draft, tensor.ids, name, "copy")
        draft.ops.append(copy)
        return copy.out.ids.ravel()[shown - tensor.first]
    gather = gather_op(draft, shown.reshape(as_pixels(shown.shape)), name, "gather")
    draft.ops.append(gather)
    return gather.out.ids.reshape(shown.shape)


def _in_order(result: IntArray, tensor: Tensor) -> bool:
    """Whether strides lead through a result, which shows a tensor whole, in all its channels."""
    place = np.empty(tensor.elements, np.int64)
    place[result.ravel() - tensor.first] = np.arange(tensor.elements)
    pixels = place.reshape(tensor.channels, tensor.height, tensor.width)
    return places_of(pixels.transpose(1, 2, 0)) is not None
