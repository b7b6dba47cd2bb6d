# SPDX-License-Identifier: Apache-2.0
"""Smooth activations: functions of one number, which the core looks up in a table of 256 entries.

What there are stands in activations/table.py. numpy knows the few names that their formulas use,
but for the missing ``erf``.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.activations.formulas import FORMULAS

FloatArray = NDArray[np.float64]

_NUMPY = SimpleNamespace(
    exp=np.exp, expm1=np.expm1, log1p=np.log1p, tanh=np.tanh, where=np.where, clip=np.clip,
    abs=np.abs, floor=np.floor, erf=np.vectorize(math.erf, otypes=[np.float64]),
)  # fmt: skip


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
        return FORMULAS[self.name](x, m, *self.parameters)


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
