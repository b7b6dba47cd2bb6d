# SPDX-License-Identifier: Apache-2.0
"""A graph in the making: a pass rewrites a draft of its own and returns what it is then."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bramcast.pack.graph.graph import Graph, Part, Questions, same_objects
from bramcast.pack.graph.ops import Op
from bramcast.pack.graph.tensor import IntArray, Tensor, seen_through


class Draft(Questions):
    """Operations and tensors of a graph, to be changed.

    >>> from bramcast.pack.graph.ops import Clip
    >>> frame = Tensor(0, "input", 2, 1, 1, 0)
    >>> draft = Draft(Graph("net", (frame,), (), frame.ids, (2,)))
    >>> out = draft.new_tensor("relu", 2, 1, 1)
    >>> draft.ops.append(Clip(name="relu", label="", source="", views=(frame.ids,), out=out))
    >>> draft.substitute(frame, out.ids)
    >>> [t.name for t in draft.done().tensors], draft.done().output.ravel().tolist()
    (['input', 'relu'], [2, 3])
    """

    def __init__(self, graph: Graph) -> None:
        self.tensors: list[Tensor] = list(graph.tensors)
        self.ops: list[Op] = list(graph.ops)
        self.output: IntArray = graph.output
        self.parts: tuple[Part, ...] = graph.parts
        self.input_order: IntArray = graph.input_order
        self.graph = graph  # as it was
        self._firsts = np.zeros(0, np.int64)

    def done(self) -> Graph:
        """The graph that the draft is now: the very one that it was if nothing has changed."""
        old = self.graph
        if (
            same_objects(self.ops, old.ops)
            and same_objects(self.tensors, old.tensors)
            and self.output is old.output
            and self.input_order is old.input_order
            and self.parts is old.parts
        ):
            return old
        return replace(
            old,
            tensors=tuple(self.tensors),
            ops=tuple(self.ops),
            output=self.output,
            input_order=self.input_order,
            parts=self.parts,
        )

    @property
    def firsts(self) -> IntArray:
        if len(self._firsts) != len(self.tensors):
            self._firsts = super().firsts
        return self._firsts

    def new_tensor(self, name: str, channels: int, height: int, width: int) -> Tensor:
        """Add a stored tensor whose element numbers follow those of the last one."""
        first = self.tensors[-1].end if self.tensors else 0
        tensor = Tensor(len(self.tensors), name, channels, height, width, first)
        self.tensors.append(tensor)
        return tensor

    def result_name(self, number: int) -> str:
        """What an operation is called that copies a result."""
        return f"output.{self.parts[number].name}" if self.parts else "output"

    def put_results(self, results: Sequence[IntArray]) -> None:
        """Other views of the results, in their shapes and order."""
        if self.parts:
            self.output = np.concatenate([view.ravel() for view in results])
        else:
            (self.output,) = results

    def put(self, old: Op, *new: Op) -> None:
        """Other operations in the place of one."""
        at = self.ops.index(old)
        self.ops[at : at + 1] = new

    def remove(self, dead: Op) -> None:
        self.ops.remove(dead)

    def substitute(self, old: Tensor, numbers: IntArray) -> None:
        """Make every reader of ``old`` read ``numbers`` (one for each element of ``old``)."""

        def rewired(op: Op) -> Op:
            if old.index not in self.operands(op):
                return op
            return replace(op, views=tuple(seen_through(v, old, numbers) for v in op.views))

        self.ops = [rewired(op) for op in self.ops]
        self.output = seen_through(self.output, old, numbers)
