# SPDX-License-Identifier: Apache-2.0
"""GRU, LSTM, RNN and their cells as the operations of their time steps. Imports torch."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import numpy as np
import torch

from bramcast.pack.capture.cells import (
    CellStep,
    Parameters,
    gru_step,
    lstm_step,
    rnn_step,
    run_layers,
)
from bramcast.pack.capture.elementwise import (
    add_clip,
    add_functions,
    add_product,
    add_scale,
    add_sum,
    constant_elements,
)
from bramcast.pack.capture.linear import add_matrix_product
from bramcast.pack.capture.state import MIXES, Capture, Mixed, Site, Turned, as_numpy, constant_of
from bramcast.pack.graph.activations import Function
from bramcast.pack.graph.tensor import ZERO, FloatArray, IntArray
from bramcast.pack.graph.window import Clamp


@dataclass(slots=True)
class _Builder:
    """Appends the operations of one layer's time steps; see ``cells.Builder``."""

    state: Capture
    site: Site
    place: str  # which layer and direction
    origin: str

    def _at(self, name: str) -> Site:
        self.state.anchor, self.state.offset = f"{self.origin} {self.place} {name}", 0
        self.state.count = 0
        return replace(self.site, name=f"{self.site.name}.{self.place}{name}")

    def dense(self, name: str, view: IntArray, weight: FloatArray, bias: FloatArray) -> IntArray:
        site = self._at(name)
        shape = (len(weight),)
        result: IntArray = add_matrix_product(self.state, site, view, weight, bias, shape)
        return result

    def function(self, name: str, function: str, view: IntArray) -> IntArray:
        if function == "relu":
            clipped: IntArray = add_clip(self.state, self._at(name), view, Clamp(0.0, inf))
            return clipped
        result: IntArray = add_functions(self.state, self._at(name), view, Function(function))
        return result

    def scale(
        self, name: str, view: IntArray, factor: FloatArray | float, offset: float
    ) -> IntArray:
        result: IntArray = add_scale(self.state, self._at(name), view, factor, offset)
        return result

    def product(self, name: str, left: IntArray, right: IntArray) -> IntArray:
        return add_product(self.state, self._at(name), left, right)

    def add(self, name: str, left: IntArray, right: IntArray) -> IntArray:
        result: IntArray = add_sum(self.state, self._at(name), left, right, 1.0)
        return result


def _recurrent(step: CellStep, kinds: int) -> Callable[[Capture, Site, dict[str, Any]], list[Any]]:
    """A GRU, LSTM or RNN layer: [output sequence, last states ..]."""

    def handler(state: Capture, site: Site, a: dict[str, Any]) -> list[Any]:
        value, batch_first = a["input"], bool(a["batch_first"])
        numbers = value.numbers if isinstance(value, Turned) else value
        turned = isinstance(value, Turned) and value.axis == 1
        if not isinstance(numbers, np.ndarray) or numbers.ndim != 2 or turned == batch_first:
            raise site.refuse(f"{MIXES}: batch_first is {batch_first}")
        outputs = list(numbers)
        hidden = a["hx"] if isinstance(a["hx"], (list, tuple)) else [a["hx"]]
        weights, origin = _layers(site, a), state.anchor
        cells, states = [], []
        directions = 2 if a["bidirectional"] else 1
        for index, p in enumerate(weights):
            layer, reverse = divmod(index, directions)
            many = f"l{layer}{'_reverse' if reverse else ''}." if len(weights) > 1 else ""
            cells.append((_Builder(state, site, many, origin), p))
            pairs = zip(hidden, p.state_sizes, strict=False)
            states.append(tuple(_first_state(state, site, h, index, size) for h, size in pairs))
        if directions == 1:
            outputs, last = run_layers(cells, step, outputs, states)
        else:
            last = []
            for index in range(0, len(cells), 2):
                there, end = run_layers(cells[index : index + 1], step, outputs, states[index:])
                back, other = run_layers(
                    cells[index + 1 : index + 2], step, outputs[::-1], states[index + 1 :]
                )
                outputs = [np.concatenate(pair) for pair in zip(there, back[::-1], strict=True)]
                last += [end[0], other[0]]
        sequence = np.stack(outputs)
        ends = [Turned(np.stack([end[i] for end in last]), 1, site) for i in range(kinds)]
        return [sequence if batch_first else Turned(sequence, 1, site), *ends]

    return handler


def _layers(site: Site, a: dict[str, Any]) -> list[Parameters]:
    """The weights of every layer and direction, in PyTorch's order."""
    tensors = [constant_of(site, p, "weight") for p in a["params"]]
    count = int(a["num_layers"]) * (2 if a["bidirectional"] else 1)
    each, plain = len(tensors) // count, 4 if a["has_biases"] else 2
    assert len(tensors) == each * count and each - plain in (0, 1), "as PyTorch has them"
    return [_parameters(tensors[i : i + each], plain) for i in range(0, len(tensors), each)]


def _parameters(tensors: list[Any], plain: int = 4) -> Parameters:
    """
    Args:
        plain: how many tensors are weights and biases; one behind them is a projection.
    """
    weight_x, weight_h = tensors[:2]
    zeros = np.zeros(len(weight_x))
    bias_x, bias_h = (zeros if b is None else b for b in (tensors[2:plain] or (None, None)))
    return Parameters(weight_x, weight_h, bias_x, bias_h, *tensors[plain:])


def _first_state(state: Capture, site: Site, value: Any, index: int, size: int) -> IntArray:
    """The state before the first step: zeros, a constant, or computed from the input."""
    if isinstance(value, Turned) and value.axis == 1:
        return np.asarray(value.numbers[index])
    if isinstance(value, torch.Tensor):
        rows = as_numpy(value).reshape(-1, *value.shape[-2:])[index]
        if (rows != rows[:1]).any():
            raise site.refuse("a first state that differs between samples")
        if rows.any():
            return constant_elements(state, replace(site, name=f"{site.name}.first"), rows[0])
    elif isinstance(value, Mixed) or (value != ZERO).any():
        raise site.refuse(f"a first state computed from data, and {MIXES}")
    return np.full(size, ZERO, np.int64)


def _cell(step: CellStep, states: int) -> Callable[[Capture, Site, dict[str, Any]], Any]:
    """GRUCell, LSTMCell, RNNCell: one time step."""

    def handler(state: Capture, site: Site, a: dict[str, Any]) -> Any:
        names = ("w_ih", "w_hh", "b_ih", "b_hh")
        p = _parameters([None if a[n] is None else constant_of(site, a[n], n) for n in names])
        hidden = a["hx"] if isinstance(a["hx"], (list, tuple)) else [a["hx"]]
        first = []
        for value in (a["input"], *hidden):
            if isinstance(value, np.ndarray) and value.ndim == 1:
                first.append(value)
            else:
                first.append(_first_state(state, site, value, 0, p.size))
        end = step(_Builder(state, site, "", state.anchor), p, first[0], tuple(first[1:]))
        return end[0] if states == 1 else list(end)

    return handler


RECURRENT: dict[str, Callable[[Capture, Site, dict[str, Any]], Any]] = {
    "gru": _recurrent(gru_step, 1),
    "lstm": _recurrent(lstm_step, 2),
    "rnn_tanh": _recurrent(rnn_step("tanh"), 1),
    "rnn_relu": _recurrent(rnn_step("relu"), 1),
    "gru_cell": _cell(gru_step, 1),
    "lstm_cell": _cell(lstm_step, 2),
    "rnn_tanh_cell": _cell(rnn_step("tanh"), 1),
    "rnn_relu_cell": _cell(rnn_step("relu"), 1),
}
