# SPDX-License-Identifier: Apache-2.0
"""The network between capture and layout: operations on stored tensors, read through views.

A ``Graph`` never changes: a pass takes one and returns another. What rewrites it works on a
``Draft`` of its own (draft.py).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from operator import is_
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.graph.ops import Op
from bramcast.pack.graph.tensor import ZERO, FloatArray, IntArray, Tensor

# An operation and the numbers of the tensors that it reads never change.
_OPERANDS: WeakKeyDictionary[Op, frozenset[int]] = WeakKeyDictionary()


def same_objects(ones: Sequence[object], others: Sequence[object]) -> bool:
    """Whether two sequences hold the very same objects in one order."""
    return len(ones) == len(others) and all(map(is_, ones, others))


@dataclass(frozen=True, slots=True, eq=False)
class LeftOut:
    """A softmax at the end of forward(), which the images leave out: the results are its logits.

    Attributes:
        kind: ``softmax`` or ``log_softmax``.
        groups: flat positions in the output of what it normalises together, int64 [groups, n]; of
            several results in the vector of all.
    """

    kind: str
    name: str
    groups: IntArray


@dataclass(frozen=True, slots=True)
class Part:
    """One of several tensors that forward() takes or returns: its name, its shape without batch."""

    name: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        return prod(self.shape)


class Questions:
    """What may be asked of operations on tensors, of a graph and of one in the making.

    ``tensors[0]`` is the input frame, ``ops`` are in order of execution, ``output`` is the view of
    the result in the author's shape. Of several results it is a vector, one behind the other, and
    ``parts`` are what it consists of; else they are empty.
    """

    tensors: Sequence[Tensor]
    ops: Sequence[Op]
    output: IntArray
    parts: tuple[Part, ...]

    @property
    def firsts(self) -> IntArray:
        """The first element number of each tensor."""
        return np.array([t.first for t in self.tensors], dtype=np.int64)

    @property
    def input(self) -> Tensor:
        return self.tensors[0]

    @property
    def results(self) -> list[IntArray]:
        """The view of each result, in the author's shape and order."""
        if not self.parts:
            return [self.output]
        ends = np.cumsum([part.elements for part in self.parts])
        views = np.split(self.output, ends[:-1])
        return [view.reshape(p.shape) for p, view in zip(self.parts, views, strict=True)]

    def cut(self, flat: NDArray[np.floating]) -> list[FloatArray]:
        """All results [N, elements], one behind the other, as those of each output."""
        ends = np.cumsum([view.size for view in self.results])
        return np.split(np.asarray(flat, np.float64), ends[:-1], axis=1)

    @property
    def sent(self) -> tuple[Tensor, ...]:
        """The tensor of each result, in the order in which they leave: of a folded graph."""
        return tuple(self.owners(view)[0] for view in self.results)

    @property
    def last(self) -> Op:
        """The operation whose results are the last to leave on the stream."""
        return self.ops[-1]

    def leaves(self, op: Op) -> bool:
        """Whether an operation's results leave on the stream: of a folded graph."""
        return any(tensor.index == op.out.index for tensor in self.sent)

    def is_wide(self, op: Op) -> bool:
        """Whether results leave at 32 bits: those of an output, if no table makes them."""
        return op.activation is None and self.leaves(op)

    def owners(self, view: IntArray) -> list[Tensor]:
        """The tensors that a view reads, in the order of its elements."""
        numbers = view[view != ZERO]
        which = np.searchsorted(self.firsts, numbers.ravel(), side="right") - 1
        _, positions = np.unique(which, return_index=True)
        return [self.tensors[which[p]] for p in np.sort(positions)]

    def operands(self, op: Op) -> frozenset[int]:
        """The indices of the tensors that an operation reads."""
        found = _OPERANDS.get(op)
        if found is None:
            found = frozenset(t.index for view in op.views for t in self.owners(view))
            _OPERANDS[op] = found
        return found

    def consumers(self, tensor: Tensor) -> list[Op]:
        """The operations that read any element of ``tensor``, in their order."""
        return [op for op in self.ops if tensor.index in self.operands(op)]

    def producer(self, tensor: Tensor) -> Op | None:
        return next((op for op in self.ops if op.out.index == tensor.index), None)

    def is_output(self, tensor: Tensor) -> bool:
        return bool(tensor.mine(self.output).any())

    def unique_name(self, name: str) -> str:
        """``name``, or ``name_2`` and so on where an operation is already called so."""
        taken = {op.name for op in self.ops}
        candidate, number = name, 2
        while candidate in taken:
            candidate, number = f"{name}_{number}", number + 1
        return candidate


@dataclass(frozen=True, eq=False)
class Graph(Questions):
    """A whole network.

    ``input_order[i]`` is the flat index in the sample array of the input tensor's element i
    (empty: the same), ``output`` is what comes before what is ``left_out``. Element i
    of the input is the sample's minus input_offsets[i], times 2**input_exponents[i] (empty: the
    same). Of several inputs a sample is a vector, one behind the other, and ``input_parts`` are
    what it consists of; else they are empty.
    """

    name: str
    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    output: IntArray
    input_shape: tuple[int, ...]
    parameters: int = 0
    input_order: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    left_out: tuple[LeftOut, ...] = ()
    input_exponents: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    input_offsets: FloatArray = field(default_factory=lambda: np.zeros(0))
    parts: tuple[Part, ...] = ()
    input_parts: tuple[Part, ...] = ()

    @property
    def input_slices(self) -> list[slice]:
        """Which elements of a sample each of several inputs has."""
        ends = np.cumsum([part.elements for part in self.input_parts]).tolist()
        return [slice(a, b) for a, b in zip([0, *ends], ends, strict=False)]

    @cached_property
    def sent(self) -> tuple[Tensor, ...]:
        return super().sent

    @cached_property
    def firsts(self) -> IntArray:
        return super().firsts

    @cached_property
    def _readers(self) -> dict[int, list[Op]]:
        found: dict[int, list[Op]] = {}
        for op in self.ops:
            for index in self.operands(op):
                found.setdefault(index, []).append(op)
        return found

    @cached_property
    def last_readers(self) -> dict[int, int]:
        """For each tensor that is read, the number of the last operation that reads it."""
        last: dict[int, int] = {}
        for number, op in enumerate(self.ops):
            last |= dict.fromkeys(self.operands(op), number)
        return last

    def consumers(self, tensor: Tensor) -> list[Op]:
        return list(self._readers.get(tensor.index, ()))

    def with_ops(self, ops: Iterable[Op]) -> "Graph":
        """A graph with other operations on the same tensors; itself if they are its own."""
        ops = tuple(ops)
        return self if same_objects(ops, self.ops) else replace(self, ops=ops)

    def framed(self, samples: NDArray[np.floating]) -> FloatArray:
        """Samples [N, *input_shape] as the elements of the stored input, float64 [N, C * H * W]."""
        flat = np.asarray(samples, np.float64).reshape(len(samples), -1)
        if self.input_order.size:
            flat = flat[:, self.input_order]
        if self.input_offsets.size:
            flat = flat - self.input_offsets
        if self.input_exponents.size:
            flat = flat * 2.0**self.input_exponents
        return np.ascontiguousarray(flat)
