# SPDX-License-Identifier: Apache-2.0
"""The kinds of operations: a closed set of records, each with the fields that it has.

Ask for a kind with isinstance() or match; a misspelt one is a name that mypy doesn't know.
"""

from dataclasses import dataclass, field, replace
from typing import Self, TypedDict

import numpy as np

from bramcast.pack.graph.activations import Activation
from bramcast.pack.graph.tensor import FloatArray, IntArray, Tensor
from bramcast.pack.graph.window import NO_CLAMP, Clamp, Window


def _nothing() -> FloatArray:
    return np.zeros(0)


class Common(TypedDict):
    """What every operation has, to make one of another kind of it: ``Kind(**op.common, ...)``."""

    name: str
    label: str
    source: str
    views: tuple[IntArray, ...]
    out: Tensor
    clamp: Clamp
    activation: Activation | None
    rounds: int | None
    macs: int
    layer: str
    twins: tuple[str, ...]
    passed: int


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False, kw_only=True)
class Op:
    """An operation on stored tensors. Every one is of a kind below.

    Attributes:
        label: what the author wrote, e.g. ``Conv2d``.
        source: where, e.g. ``model.py:12``.
        views: one view [C, H, W] for each operand.
        out: the stored result.
        clamp: what the result is clipped to.
        activation: functions behind the clamp, which become a table.
        rounds: forward() rounds what is before the clamp to multiples of 2**-rounds, ties towards
            +inf (None: it does not); the clamp's limits are such multiples, too.
        macs: multiply-adds that the network counts.
        layer: name of the first operation with the same weights; the same as ``name`` for most.
        twins: what the result is in each time step of an unrolled loop; results that share a name
            here share their format.
        passed: how many of the ``twins`` are what it was before something followed, as a table or
            a scale: such results are no tensors, but those that share a name share their weights.
    """

    name: str
    label: str
    source: str
    views: tuple[IntArray, ...]
    out: Tensor
    clamp: Clamp = NO_CLAMP
    activation: Activation | None = None
    rounds: int | None = None
    macs: int = 0
    layer: str = ""
    twins: tuple[str, ...] = ()
    passed: int = 0

    @property
    def view(self) -> IntArray:
        return self.views[0]

    @property
    def before(self) -> int:
        """The number that stands for what the activation sees, where tensors go by index."""
        return -1 - self.out.index

    @property
    def common(self) -> Common:
        return Common(
            name=self.name, label=self.label, source=self.source, views=self.views, out=self.out,
            clamp=self.clamp, activation=self.activation, rounds=self.rounds, macs=self.macs,
            layer=self.layer, twins=self.twins, passed=self.passed,
        )  # fmt: skip

    def reads(self, tensor: Tensor) -> bool:
        """Whether any operand has an element of ``tensor``."""
        return any(bool(tensor.mine(view).any()) for view in self.views)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Windowed(Op):
    """What looks at its one operand through a window."""

    window: Window = Window()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Weighted(Windowed):
    """What multiplies by weights: Dense or Depthwise.

    Attributes:
        weight: float64 [O, fan-in channels, KY, KX].
        bias: float64 [O].
        tap_bias: what each tap that meets an element, not padding, adds beside the bias: float64
            [O, KY, KX] (empty: nothing). The view has no border of zeros then; padding is the
            window's.
        exact: a copy that must keep the operand's format.
    """

    weight: FloatArray
    bias: FloatArray
    tap_bias: FloatArray = field(default_factory=_nothing)
    exact: bool = False

    @property
    def split(self) -> int:
        """Into how many groups of channels the operand is divided; each kind says it."""
        raise NotImplementedError

    @property
    def inputs(self) -> IntArray:
        """Which channel of the view each weight meets, int64 [O, fan-in channels]."""
        outputs, fan_in = self.weight.shape[:2]
        group = np.arange(outputs) // (outputs // self.split)
        return np.asarray(group[:, None] * fan_in + np.arange(fan_in))

    def of_outputs(self, chosen: IntArray | slice) -> Self:
        """The weights and biases of some output channels; name, result and groups are the
        caller's."""
        weight, bias, taps = (
            values[chosen] if values.size else values
            for values in (self.weight, self.bias, self.tap_bias)
        )
        return replace(self, weight=weight, bias=bias, tap_bias=taps)

    @property
    def uniform(self) -> bool:
        """Whether it does the same to all channels, as 1 - z and tables by themselves do."""
        return False


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Dense(Weighted):
    """Linear, Conv, grouped Conv: weight [O, I / groups, KY, KX].

    Attributes:
        copies: which input feature each input channel is a copy of, -1 for none (empty: no
            copies); the sum of a feature's weights is what counts.
    """

    groups: int = 1
    copies: tuple[int, ...] = ()

    @property
    def split(self) -> int:
        return self.groups


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Depthwise(Weighted):
    """Channel by channel, also per-channel scales and copies.

    The weight is [C * m, 1, KY, KX], with output channel c * m + j.
    """

    @property
    def split(self) -> int:
        return len(self.view)

    @property
    def uniform(self) -> bool:
        if len(self.weight) == 1 or self.weight[0].size > 1 or self.tap_bias.size:
            return False
        pairs = (self.weight, self.bias)
        return bool(self.weight.flat[0]) and all(bool((v == v.flat[0]).all()) for v in pairs)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Rearranged(Depthwise):
    """A copy of elements in any order, zeros among them, which takes as many nests as it needs.

    Each pixel of its view shows elements of one tensor, beside zeros. Only layouts put it in.
    """


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class AvgPool(Windowed):
    """Sums of a window times ``weight``, the reciprocal divisors, float64 [1, OY, OX].

    ``bias`` is float64 [C], of a rounding behind it (empty: none).
    """

    weight: FloatArray
    bias: FloatArray = field(default_factory=_nothing)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MaxPool(Windowed):
    """The largest element of a window."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Add(Op):
    """The sum of two operands.

    Attributes:
        weight: the operands' factors, float64 [2]: +1 or -1, or powers of two where a rounding is
            behind it.
        bias: float64 [C], where a rounding is behind it (empty: none).
    """

    weight: FloatArray
    bias: FloatArray = field(default_factory=_nothing)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Product(Op):
    """The product of the first two operands, plus that of the other two if there are four."""


# Of a captured graph alone: what works on each element by itself, and is folded.


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Scale(Op):
    """weight * x + bias, float64 of the view's shape."""

    weight: FloatArray
    bias: FloatArray


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Clip(Op):
    """Nothing but the clamp."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Apply(Op):
    """Nothing but the activation."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RoundEven(Op):
    """torch.round, ties to even numbers: it must turn out to have nothing to round."""


Pointwise = Scale | Clip | Apply  # each element by itself


def is_exact(op: Op) -> bool:
    """Whether it is a copy that must keep the operand's format."""
    return isinstance(op, Weighted) and op.exact


def weights_of(op: Op) -> FloatArray:
    """An operation's constants, float64, empty where its kind has none."""
    return op.weight if isinstance(op, Weighted | AvgPool | Add | Scale) else _nothing()


def biases_of(op: Op) -> FloatArray:
    """An operation's biases, float64, empty where its kind has none."""
    return op.bias if isinstance(op, Weighted | AvgPool | Add | Scale) else _nothing()


def window_of(op: Op) -> Window:
    """What an operation looks through: one element where its kind has no window."""
    return op.window if isinstance(op, Windowed) else Window()


Folded = Dense | Depthwise | AvgPool | MaxPool | Add | Product  # what becomes loop nests
