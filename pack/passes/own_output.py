# SPDX-License-Identifier: Apache-2.0
"""The result is one tensor that nobody reads again: else a last copy makes it so.

output = y[order]         ->  output = copy(y)[order]      where y is read again, or the input
output = y, z and zeros   ->  output = gather(y, z)
"""

from bramcast.pack.bundle.errors import UnsupportedLayer
from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.edit import copy_op, gather_op
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.tensor import as_pixels, is_whole


def own_output(graph: Graph) -> Graph:
    """A graph whose output is a whole tensor of its own.

    Raises:
        UnsupportedLayer: a result that must be gathered has more than three axes.
    """
    owners = graph.owners(graph.output)
    tensor = owners[0]
    alone = len(owners) == 1 and is_whole(graph.output, tensor)
    if alone and tensor.index != 0 and not graph.consumers(tensor):
        return graph
    draft = Draft(graph)
    if alone:
        copy = copy_op(draft, tensor.ids, "output", "copy")
        draft.ops.append(copy)
        draft.output = copy.out.ids.ravel()[graph.output - tensor.first]
        return draft.done()
    if graph.output.ndim > 3:
        raise UnsupportedLayer(
            f"model {graph.name!r}: its output has {graph.output.ndim} axes without the batch "
            "(at most 3)"
        )
    view = graph.output.reshape(as_pixels(graph.output.shape))
    gather = gather_op(draft, view, "output", "gather")
    draft.ops.append(gather)
    draft.output = gather.out.ids.reshape(graph.output.shape)
    return draft.done()
