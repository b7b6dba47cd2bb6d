# SPDX-License-Identifier: Apache-2.0
"""Time steps of recurrent cells as operations, run by hand against the equations."""

import numpy as np
import pytest

from bramcast.pack.capture.cells import Parameters, gru_step, lstm_step, rnn_step, run_layers
from bramcast.pack.graph.tensor import ZERO

INPUTS, SIZE = 3, 2
FUNCTIONS = {"sigmoid": lambda v: 1 / (1 + np.exp(-v)), "tanh": np.tanh}


class Calculator:
    """A builder that computes: numbers of elements index ``values``."""

    def __init__(self, values):
        self.values = list(values)
        self.made = []

    def of(self, view):
        return np.array([0.0 if n == ZERO else self.values[n] for n in view])

    def put(self, name, values):
        first = len(self.values)
        self.values.extend(values)
        self.made.append(name)
        return np.arange(first, len(self.values))

    def dense(self, name, view, weight, bias):
        return self.put(name, weight @ self.of(view) + bias)

    def function(self, name, function, view):
        return self.put(name, FUNCTIONS[function](self.of(view)))

    def scale(self, name, view, factor, offset):
        return self.put(name, self.of(view) * factor + offset)

    def product(self, name, left, right):
        return self.put(name, self.of(left) * self.of(right))

    def add(self, name, left, right):
        return self.put(name, self.of(left) + self.of(right))


def parameters(gates, inputs=INPUTS, seed=0):
    rng = np.random.default_rng(seed)
    shapes = ((gates * SIZE, inputs), (gates * SIZE, SIZE), gates * SIZE, gates * SIZE)
    return Parameters(*(rng.normal(size=shape) for shape in shapes))


def gates_of(p, count, x, h):
    """W x + b and U h + c, gate by gate."""
    first = np.split(p.weight_x @ x + p.bias_x, count)
    return list(zip(first, np.split(p.weight_h @ h + p.bias_h, count), strict=True))


def gru(p, x, state):
    sigmoid = FUNCTIONS["sigmoid"]
    (rx, rh), (zx, zh), (nx, nh) = gates_of(p, 3, x, state[0])
    r, z = sigmoid(rx + rh), sigmoid(zx + zh)
    n = np.tanh(nx + r * nh)
    return ((1 - z) * n + z * state[0],)


def lstm(p, x, state):
    sigmoid = FUNCTIONS["sigmoid"]
    i, f, g, o = (a + b for a, b in gates_of(p, 4, x, state[0]))
    c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def rnn(p, x, state):
    ((a, b),) = gates_of(p, 1, x, state[0])
    return (np.tanh(a + b),)


CELLS = {
    "gru": (gru_step, gru, 3, 1),
    "lstm": (lstm_step, lstm, 4, 2),
    "rnn": (rnn_step("tanh"), rnn, 1, 1),
}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("zero", [False, True])
def test_a_step_computes_its_equations(cell, zero):
    step, equations, gates, states = CELLS[cell]
    rng = np.random.default_rng(2)
    x, before = rng.normal(size=INPUTS), rng.normal(size=(states, SIZE)) * (not zero)
    build = Calculator([*x, *before.ravel()])
    views = [INPUTS + SIZE * s + np.arange(SIZE) for s in range(states)]
    state = tuple(np.full(SIZE, ZERO) if zero else view for view in views)
    p = parameters(gates)
    got = step(build, p, np.arange(INPUTS), state)
    for view, expected in zip(got, equations(p, x, tuple(before)), strict=True):
        np.testing.assert_allclose(build.of(view), expected, rtol=1e-14, atol=1e-15)


def test_the_first_step_of_a_gru_leaves_out_what_its_zero_state_multiplies():
    made = []
    for state in (np.full(SIZE, ZERO), INPUTS + np.arange(SIZE)):
        build = Calculator(np.ones(INPUTS + SIZE))
        gru_step(build, parameters(3), np.arange(INPUTS), (state,))
        made.append(build.made)
    assert set(made[1]) - set(made[0]) == {"n.h"}
    assert set(made[0]) <= set(made[1])


@pytest.mark.parametrize("cell", CELLS)
def test_layers_upon_each_other_over_all_time_steps(cell):
    step, equations, gates, states = CELLS[cell]
    series = np.random.default_rng(3).normal(size=(4, INPUTS))
    build = Calculator(series.ravel())
    layers = [parameters(gates), parameters(gates, SIZE, seed=1)]
    zero = tuple(np.full(SIZE, ZERO) for _ in range(states))
    inputs = [t * INPUTS + np.arange(INPUTS) for t in range(4)]
    outputs, last = run_layers([(build, p) for p in layers], step, inputs, [zero, zero])
    now = [tuple(np.zeros((states, SIZE)))] * 2
    for x, output in zip(series, outputs, strict=True):
        for number, p in enumerate(layers):
            now[number] = equations(p, x, now[number])
            x = now[number][0]
        np.testing.assert_allclose(build.of(output), x, rtol=1e-13, atol=1e-15)
    for views, expected in zip(last, now, strict=True):
        for view, one in zip(views, expected, strict=True):
            np.testing.assert_allclose(build.of(view), one, rtol=1e-13, atol=1e-15)
