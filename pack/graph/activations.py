# SPDX-License-Identifier: Apache-2.0
"""Smooth activations: functions of one number, which the core looks up in a table of 256 entries.

The same formulas serve numpy (tables, choice of formats) and torch (the real network); both know
the few names that they use, but for numpy's missing ``erf``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_NUMPY = SimpleNamespace(
    exp=np.exp, expm1=np.expm1, log1p=np.log1p, tanh=np.tanh, where=np.where, clip=np.clip,
    abs=np.abs, floor=np.floor, erf=np.vectorize(math.erf, otypes=[np.float64]),
)  # fmt: skip


def _sigmoid(x: Any, m: Any) -> Any:
    return (m.tanh(x * 0.5) + 1.0) * 0.5


def _softplus(x: Any, m: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    smooth = (m.clip(x * beta, 0.0, None) + m.log1p(m.exp(-m.abs(x * beta)))) / beta
    return m.where(x * beta > threshold, x, smooth)


def _gelu(x: Any, m: Any) -> Any:
    return x * (m.erf(x / sqrt(2.0)) + 1.0) * 0.5


def _gelu_tanh(x: Any, m: Any) -> Any:
    return x * (m.tanh((x + x * x * x * 0.044715) * sqrt(2.0 / math.pi)) + 1.0) * 0.5


def _elu(x: Any, m: Any, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Any:
    below = m.expm1(m.clip(x * input_scale, None, 0.0)) * (scale * alpha)
    return m.where(x > 0.0, x * scale, below)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
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
    "clamp": lambda x, m, lo, hi: m.clip(x, lo, hi),
    "scale": lambda x, m, factor, offset: x * factor + offset,
    "round": lambda x, m, steps: m.floor(x * steps + 0.5) / steps,
}

# Where a function's least value is looked for; between these points none of them has a dip.
_PROBES = np.concatenate([np.linspace(-16.0, 16.0, 4097), np.logspace(1, 6, 51)])
_PROBES = np.unique(np.concatenate([_PROBES, -_PROBES]))


@dataclass(frozen=True, slots=True)
class Function:
    """One function of a number.

    ``gate`` multiplies its argument with what ``inner`` makes of it: x * inner(x).

    >>> Function("gate", inner=Activation((Function("sigmoid"),))).apply(np.array([0.0, 20.0]))
    array([ 0.        , 19.99999996])
    """

    name: str
    parameters: tuple[float, ...] = ()
    inner: "Activation | None" = None

    def apply(self, x: Any, m: Any = _NUMPY) -> Any:
        if self.inner is not None:
            return x * self.inner.apply(x, m)
        return _FUNCTIONS[self.name](x, m, *self.parameters)


@dataclass(frozen=True, slots=True)
class Activation:
    """Functions one after the other.

    >>> halves = Activation((Function("sigmoid"), Function("scale", (-1.0, 1.0))))
    >>> str(halves), halves.apply(np.array([0.0])), halves.bounds
    ('sigmoid scale', array([0.5]), (0.0, 1.0))
    """

    functions: tuple[Function, ...]

    def apply(self, x: Any, m: Any = _NUMPY) -> Any:
        """Of an array of real numbers, or of a tensor with ``m`` = torch."""
        for function in self.functions:
            x = function.apply(x, m)
        return x

    def then(self, other: "Activation") -> "Activation":
        return Activation(self.functions + other.functions)

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and largest value that any argument can give."""
        return _bounds(self)

    def __str__(self) -> str:
        return " ".join(function.name for function in self.functions)


@lru_cache
def _bounds(activation: Activation) -> tuple[float, float]:
    values = activation.apply(_PROBES)
    return float(values.min()), float(values.max())
