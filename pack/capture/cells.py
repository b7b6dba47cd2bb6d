# SPDX-License-Identifier: Apache-2.0
"""GRU, LSTM and RNN layers as the operations of their time steps.

Every step is made of the same operations in the same order; the first one, whose state is zero,
leaves out what that multiplies. States are views [features]; zero ones are all ``ZERO``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bramcast.pack.graph.tensor import ZERO, FloatArray, IntArray


class Builder(Protocol):
    """Appends operations to the graph; ``name`` is the operation's part of the layer.

    An operation with the same name and step number 1, 2, .. in the same layer is its twin.
    """

    def dense(
        self, name: str, view: IntArray, weight: FloatArray, bias: FloatArray
    ) -> IntArray: ...

    def function(self, name: str, function: str, view: IntArray) -> IntArray: ...

    def scale(
        self, name: str, view: IntArray, factor: FloatArray | float, offset: float
    ) -> IntArray: ...

    def product(self, name: str, left: IntArray, right: IntArray) -> IntArray: ...

    def add(self, name: str, left: IntArray, right: IntArray) -> IntArray: ...


@dataclass(frozen=True, slots=True, eq=False)
class Parameters:
    """One layer's weights in one direction, gate after gate: [gates * H, I], [gates * H, H].

    With a ``projection`` [P, H] the state that goes on has P elements, and ``weight_h`` is
    [gates * H, P].
    """

    weight_x: FloatArray
    weight_h: FloatArray
    bias_x: FloatArray
    bias_h: FloatArray
    projection: FloatArray | None = None

    @property
    def size(self) -> int:
        """Elements of a gate."""
        return int((self.weight_h if self.projection is None else self.projection).shape[1])

    @property
    def state_sizes(self) -> tuple[int, int]:
        """Elements of the states h and c."""
        return int(self.weight_h.shape[1]), self.size

    def joined(self, gate: int) -> tuple[FloatArray, FloatArray]:
        """Weights [H, I + H] and biases of one gate over [input, state]."""
        rows = slice(gate * self.size, (gate + 1) * self.size)
        weight = np.concatenate([self.weight_x[rows], self.weight_h[rows]], axis=1)
        return weight, self.bias_x[rows] + self.bias_h[rows]


State = tuple[IntArray, ...]  # (h,) or (h, c)
CellStep = Callable[[Builder, Parameters, IntArray, State], State]


def _gate(
    build: Builder, name: str, function: str, p: Parameters, number: int, x: IntArray, h: IntArray
) -> IntArray:
    weight, bias = p.joined(number)
    pre = build.dense(name, np.concatenate([x, h]), weight, bias)
    return build.function(f"{name}.{function}", function, pre)


def gru_step(build: Builder, p: Parameters, x: IntArray, state: State) -> State:
    """r, z = sigmoid(..); n = tanh(Wx + r * (Uh + c)); h' = z * h + (1 - z) * n."""
    (h,) = state
    r = _gate(build, "r", "sigmoid", p, 0, x, h)
    z = _gate(build, "z", "sigmoid", p, 1, x, h)
    rows = slice(2 * p.size, 3 * p.size)
    new = build.dense("n.x", x, p.weight_x[rows], p.bias_x[rows])
    if (h == ZERO).all():
        gated = build.scale("n.rh", r, p.bias_h[rows], 0.0)
    else:
        inner = build.dense("n.h", h, p.weight_h[rows], p.bias_h[rows])
        gated = build.product("n.rh", r, inner)
    n = build.function("n.tanh", "tanh", build.add("n", new, gated))
    kept = build.product("z.h", z, h)
    rest = build.scale("z.rest", z, -1.0, 1.0)
    return (build.add("h", kept, build.product("z.n", rest, n)),)


def lstm_step(build: Builder, p: Parameters, x: IntArray, state: State) -> State:
    """i, f, o = sigmoid(..), g = tanh(..); c' = f * c + i * g; h' = o * tanh(c'), projected."""
    h, c = state
    i = _gate(build, "i", "sigmoid", p, 0, x, h)
    f = _gate(build, "f", "sigmoid", p, 1, x, h)
    g = _gate(build, "g", "tanh", p, 2, x, h)
    o = _gate(build, "o", "sigmoid", p, 3, x, h)
    kept = build.product("f.c", f, c)
    c = build.add("c", kept, build.product("i.g", i, g))
    h = build.product("h", o, build.function("c.tanh", "tanh", c))
    if p.projection is not None:
        h = build.dense("h.projection", h, p.projection, np.zeros(len(p.projection)))
    return h, c


def rnn_step(function: str) -> CellStep:
    """h' = f(Wx + Uh + b)."""

    def step(build: Builder, p: Parameters, x: IntArray, state: State) -> State:
        return (_gate(build, "h", function, p, 0, x, state[0]),)

    return step


def run_layers(
    cells: Sequence[tuple[Builder, Parameters]],
    step: CellStep,
    inputs: Sequence[IntArray],
    states: Sequence[State],
) -> tuple[list[IntArray], list[State]]:
    """All time steps of layers upon each other, one direction: the output of each, last states.

    In each step all layers run before the next step, so that a step's results are soon needed.
    """
    outputs, now = [], list(states)
    for x in inputs:
        for layer, (build, p) in enumerate(cells):
            now[layer] = step(build, p, x, now[layer])
            x = now[layer][0]
        outputs.append(x)
    return outputs, now
