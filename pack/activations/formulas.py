# SPDX-License-Identifier: Apache-2.0
"""The formulas of smooth activations, for numpy (tables, choice of formats) and torch alike.

A formula takes numbers x, the module ``m`` that computes (graph/activations.py has numpy's names)
and the activation's parameters. It uses the few names that both modules know.
"""

from collections.abc import Callable
from math import pi, sqrt
from typing import Any


def _sigmoid(x: Any, m: Any) -> Any:
    return (m.tanh(x * 0.5) + 1.0) * 0.5


def _softplus(x: Any, m: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    smooth = (m.clip(x * beta, 0.0, None) + m.log1p(m.exp(-m.abs(x * beta)))) / beta
    return m.where(x * beta > threshold, x, smooth)


def _gelu(x: Any, m: Any) -> Any:
    return x * (m.erf(x / sqrt(2.0)) + 1.0) * 0.5


def _gelu_tanh(x: Any, m: Any) -> Any:
    return x * (m.tanh((x + x * x * x * 0.044715) * sqrt(2.0 / pi)) + 1.0) * 0.5


def _elu(x: Any, m: Any, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Any:
    below = m.expm1(m.clip(x * input_scale, None, 0.0)) * (scale * alpha)
    return m.where(x > 0.0, x * scale, below)


FORMULAS: dict[str, Callable[..., Any]] = {
    "sigmoid": _sigmoid,
    "tanh": lambda x, m: m.tanh(x),
    "silu": lambda x, m: x * _sigmoid(x, m),
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "leaky_relu": lambda x, m, slope: m.where(x > 0.0, x, x * slope),
    "hardswish": lambda x, m: x * m.clip(x + 3.0, 0.0, 6.0) / 6.0,
    "hardsigmoid": lambda x, m: m.clip(x + 3.0, 0.0, 6.0) / 6.0,
    "elu": _elu,
    "softplus": _softplus,
    "mish": lambda x, m: x * m.tanh(_softplus(x, m)),
    # What folding and capture make of what stands around an activation.
    "clamp": lambda x, m, lo, hi: m.clip(x, lo, hi),
    "scale": lambda x, m, factor, offset: x * factor + offset,
    "round": lambda x, m, steps: m.floor(x * steps + 0.5) / steps,
    "reciprocal": lambda x, m: 1.0 / x,
    "round_even": lambda x, m: m.round(x),
}
