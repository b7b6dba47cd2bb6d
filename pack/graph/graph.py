# SPDX-License-Identifier: Apache-2.0
"""The network between capture and layout: operations on stored tensors, read through views."""

from dataclasses import dataclass, field, replace
from operator import is_not

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.graph.ops import Op
from bramcast.pack.graph.tensor import Tensor, seen_through

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

ZERO = -1


@dataclass(frozen=True, slots=True, eq=False)
class LeftOut:
    """A softmax at the end of forward(), which the images leave out: the results are its logits.

    Attributes:
        kind: ``softmax`` or ``log_softmax``.
        groups: flat positions in the output of what it normalises together, int64 [groups, n].
    """

    kind: str
    name: str
    groups: IntArray


@dataclass(slots=True)
class Graph:
    """A whole network: ``tensors[0]`` is the input frame, ``ops`` are in order of execution.

    ``input_order[i]`` is the flat index in the sample array of the input tensor's element i
    (empty: the same), ``output`` is the view of the result in the author's shape, before the
    softmax that is ``left_out``. Element i of the input is the sample's minus input_offsets[i],
    times 2**input_exponents[i] (empty: the same).
    """

    name: str
    tensors: list[Tensor] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    output: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    input_shape: tuple[int, ...] = ()
    parameters: int = 0
    input_order: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    left_out: LeftOut | None = None
    input_exponents: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    input_offsets: FloatArray = field(default_factory=lambda: np.zeros(0))
    _known: "_Known" = field(default_factory=lambda: _Known(), repr=False, compare=False)
    _last: tuple[list[Op], dict[int, int]] = field(
        default_factory=lambda: ([], {}), repr=False, compare=False
    )

    def new_tensor(self, name: str, channels: int, height: int, width: int) -> Tensor:
        """Add a stored tensor whose element numbers follow those of the last one."""
        first = self.tensors[-1].first + self.tensors[-1].elements if self.tensors else 0
        tensor = Tensor(len(self.tensors), name, channels, height, width, first)
        self.tensors.append(tensor)
        return tensor

    @property
    def input(self) -> Tensor:
        return self.tensors[0]

    def with_ops(self, ops: list[Op]) -> "Graph":
        """A graph with other operations on the same tensors."""
        return replace(self, ops=ops)

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

    def owners(self, view: IntArray) -> list[Tensor]:
        """The tensors that a view reads, in the order of its elements."""
        numbers = view[view != ZERO]
        which = np.searchsorted(self._firsts(), numbers.ravel(), side="right") - 1
        _, positions = np.unique(which, return_index=True)
        return [self.tensors[which[p]] for p in np.sort(positions)]

    def unique_name(self, name: str) -> str:
        """``name``, or ``name_2`` and so on where an operation is already called so."""
        taken = {op.name for op in self.ops}
        candidate, number = name, 2
        while candidate in taken:
            candidate, number = f"{name}_{number}", number + 1
        return candidate

    def consumers(self, tensor: Tensor) -> list[Op]:
        """The operations that read any element of ``tensor``."""
        self._firsts()
        known, index = self._known.operands, tensor.index
        readers = []
        for op in self.ops:
            entry = known.get(id(op))
            if entry is None or entry[0] is not op:
                entry = op, self.operands(op)
            if index in entry[1]:
                readers.append(op)
        return readers

    def last_readers(self) -> dict[int, int]:
        """For each tensor that is read, the number of the last operation that reads it."""
        ops, last = self._last
        if len(ops) != len(self.ops) or any(map(is_not, ops, self.ops)):
            last = {}
            for number, op in enumerate(self.ops):
                last |= dict.fromkeys(self.operands(op), number)
            self._last = (list(self.ops), last)
        return last

    def operands(self, op: Op) -> frozenset[int]:
        """The indices of the tensors that an operation reads."""
        if len(self._known.firsts) != len(self.tensors) or self._known.tensors is not self.tensors:
            self._firsts()
        entry = self._known.operands.get(id(op))
        if entry is None or entry[0] is not op:
            indices = frozenset(t.index for view in op.views for t in self.owners(view))
            entry = self._known.operands[id(op)] = (op, indices)
        return entry[1]

    def _firsts(self) -> IntArray:
        """The first element number of each tensor."""
        known = self._known
        if known.tensors is not self.tensors or len(known.firsts) > len(self.tensors):
            known.tensors, known.operands = self.tensors, {}
            known.firsts = np.zeros(0, np.int64)
        if len(known.firsts) < len(self.tensors):
            known.firsts = np.array([t.first for t in self.tensors], dtype=np.int64)
        return known.firsts

    def is_output(self, tensor: Tensor) -> bool:
        return bool(tensor.mine(self.output).any())

    def producer(self, tensor: Tensor) -> Op | None:
        return next((op for op in self.ops if op.out.index == tensor.index), None)

    def substitute(self, old: Tensor, numbers: IntArray) -> None:
        """Make every reader of ``old`` read ``numbers`` (one for each element of ``old``)."""

        def rewired(op: Op) -> Op:
            if old.index not in self.operands(op):
                return op
            return replace(op, views=tuple(seen_through(v, old, numbers) for v in op.views))

        self.ops = [rewired(op) for op in self.ops]
        self.output = seen_through(self.output, old, numbers)

    def remove(self, dead: Op) -> None:
        self.ops = [op for op in self.ops if op is not dead]


@dataclass(slots=True)
class _Known:
    """What a graph has found out about its operations; they and their tensors never change."""

    tensors: list[Tensor] = field(default_factory=list)
    firsts: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    operands: dict[int, tuple[Op, frozenset[int]]] = field(default_factory=dict)
