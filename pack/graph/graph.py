# SPDX-License-Identifier: Apache-2.0
"""The network between capture and layout: operations on stored tensors, read through views.

Every element of every stored tensor has a number of its own. A *view* is an int64 array of such
numbers in the shape that the network's author sees (without the batch axis); ``ZERO`` marks a
constant zero. Reshape, permute, slice, concat and zero padding only make new views: they cost
nothing until an operation reads one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf
from operator import is_not

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.graph.activations import Activation

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

ZERO = -1


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor that will lie in the scratchpad.

    Element (c, y, x) has the number first + (c * height + y) * width + x.
    """

    index: int
    name: str
    channels: int
    height: int
    width: int
    first: int

    @property
    def elements(self) -> int:
        return self.channels * self.height * self.width

    @property
    def ids(self) -> IntArray:
        """The numbers of all elements, int64 [channels, height, width]."""
        numbers = np.arange(self.first, self.first + self.elements, dtype=np.int64)
        return numbers.reshape(self.channels, self.height, self.width)


@dataclass(frozen=True, slots=True)
class Clamp:
    """An activation that clips: max(lo, min(hi, value)), real numbers."""

    lo: float = -inf
    hi: float = inf

    def then(self, other: "Clamp") -> "Clamp":
        """This clamp followed by ``other`` as one.

        >>> Clamp(lo=0.0).then(Clamp(-1.0, 6.0))
        Clamp(lo=0.0, hi=6.0)
        """
        lo = min(max(self.lo, other.lo), other.hi)
        return Clamp(lo, max(lo, min(self.hi, other.hi)))

    def apply(self, values: FloatArray) -> FloatArray:
        return np.clip(values, self.lo, self.hi)


NO_CLAMP = Clamp()


@dataclass(frozen=True, slots=True)
class Window:
    """A sliding window: (y, x) pairs; padding is (top, left, bottom, right)."""

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Op:
    """One operation that becomes loop nests.

    Attributes:
        kind: ``dense`` (Linear, Conv, grouped Conv), ``depthwise`` (also per-channel scales and
            copies), ``avgpool``, ``maxpool``, ``add``, ``product`` (of the first two operands, plus
            that of the other two if there are four).
        label: what the author wrote, e.g. ``Conv2d``.
        views: one view [C, H, W] for each operand.
        out: the stored result.
        weight: float64; dense [O, I / groups, KY, KX], depthwise [C * m, 1, KY, KX] with output
            channel c * m + j, avgpool [1, OY, OX] (the reciprocal divisors), add [operands]
            (+1 or -1); empty for maxpool and product.
        bias: float64 [O].
        tap_bias: of a dense or depthwise operation, what each tap that meets an element, not
            padding, adds beside the bias: float64 [O, KY, KX] (empty: nothing). The view has no
            border of zeros then; padding is the window's.
        activation: functions behind the clamp, which become a table.
        rounds: forward() rounds what is before the clamp to multiples of 2**-rounds, ties towards
            +inf (None: it does not); the clamp's limits are such multiples, too.
        layer: name of the first operation with the same weights; the same as ``name`` for most.
        twins: what the result is in each time step of an unrolled loop; results that share a name
            here share their format.
        passed: how many of the ``twins`` are what it was before something followed, as a table or
            a scale: such results are no tensors, but those that share a name share their weights.
        copies: which input feature each input channel of a dense operation is a copy of, -1 for
            none (empty: no copies); the sum of a feature's weights is what counts.
        exact: a copy that must keep the operand's format.
        reshaped: BatchNorm or the like of single elements: channels are the tensor's elements.
        macs: multiply-adds that the network counts.
    """

    kind: str
    name: str
    label: str
    source: str
    views: tuple[IntArray, ...]
    out: Tensor
    weight: FloatArray = field(default_factory=lambda: np.zeros(0))
    bias: FloatArray = field(default_factory=lambda: np.zeros(0))
    window: Window = Window()
    groups: int = 1
    clamp: Clamp = NO_CLAMP
    exact: bool = False
    macs: int = 0
    activation: Activation | None = None
    layer: str = ""
    twins: tuple[str, ...] = ()
    passed: int = 0
    copies: tuple[int, ...] = ()
    rounds: int | None = None
    tap_bias: FloatArray = field(default_factory=lambda: np.zeros(0))

    @property
    def view(self) -> IntArray:
        return self.views[0]

    @property
    def inputs(self) -> IntArray:
        """Which channel of the view each weight of a dense or depthwise operation meets, int64
        [O, I / groups]."""
        outputs, fan_in = self.weight.shape[:2]
        groups = self.groups if self.kind == "dense" else len(self.view)
        group = np.arange(outputs) // (outputs // groups)
        return np.asarray(group[:, None] * fan_in + np.arange(fan_in))

    def of_outputs(self, chosen: IntArray | slice) -> "Op":
        """A dense or depthwise operation's weights and biases for some of its output channels;
        name, result and groups are the caller's."""
        weight, bias, taps = (
            values[chosen] if values.size else values
            for values in (self.weight, self.bias, self.tap_bias)
        )
        return replace(self, weight=weight, bias=bias, tap_bias=taps)

    @property
    def uniform(self) -> bool:
        """Whether it does the same to all channels, as 1 - z and tables by themselves do."""
        if self.kind != "depthwise" or len(self.weight) == 1 or self.weight[0].size > 1:
            return False
        if self.tap_bias.size:
            return False
        pairs = (self.weight, self.bias)
        return bool(self.weight.flat[0]) and all(bool((v == v.flat[0]).all()) for v in pairs)

    @property
    def before(self) -> int:
        """The number that stands for what the activation sees, where tensors go by index."""
        return -1 - self.out.index

    def reads(self, tensor: Tensor) -> bool:
        """Whether any operand has an element of ``tensor``."""
        return any(
            bool(((v >= tensor.first) & (v < tensor.first + tensor.elements)).any())
            for v in self.views
        )


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
        last = tensor.first + tensor.elements
        return bool(((self.output >= tensor.first) & (self.output < last)).any())

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


def seen_through(view: IntArray, old: Tensor, numbers: IntArray) -> IntArray:
    """A view that shows ``numbers`` (one for each element of ``old``) in place of ``old``."""
    mine = (view >= old.first) & (view < old.first + old.elements)
    if not mine.any():
        return view
    result = view.copy()
    result[mine] = numbers.ravel()[view[mine] - old.first]
    return result


def is_whole(view: IntArray, tensor: Tensor) -> bool:
    """Whether a view shows every element of ``tensor`` exactly once, in any order."""
    if view.size != tensor.elements:
        return False
    order = np.sort(view.ravel())
    return bool(order[0] == tensor.first and (np.diff(order) == 1).all())


def strip_zeros(view: IntArray) -> tuple[IntArray, tuple[int, int, int, int]]:
    """Cut a border of constant zeros off a [C, H, W] view.

    Returns:
        The inner view and the border's widths (top, left, bottom, right). A view of nothing but
        zeros comes back as it is.
    """
    filled = view != ZERO
    rows = np.flatnonzero(filled.any(axis=(0, 2)))
    columns = np.flatnonzero(filled.any(axis=(0, 1)))
    if not rows.size:
        return view, (0, 0, 0, 0)
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    left, right = int(columns[0]), int(columns[-1]) + 1
    border = (top, left, view.shape[1] - bottom, view.shape[2] - right)
    return view[:, top:bottom, left:right], border


def as_pixels(shape: Sequence[int]) -> tuple[int, int, int]:
    """How an array [C], [C, L] or [C, H, W] is taken as (channels, height, width).

    >>> as_pixels((12,)), as_pixels((4, 9)), as_pixels((3, 8, 6))
    ((12, 1, 1), (4, 1, 9), (3, 8, 6))
    """
    if len(shape) == 1:
        return shape[0], 1, 1
    if len(shape) == 2:
        return shape[0], 1, shape[1]
    channels, height, width = shape
    return channels, height, width
