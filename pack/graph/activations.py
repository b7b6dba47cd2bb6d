# SPDX-License-Identifier: Apache-2.0
"""Functions of one number, which the core looks up in a table of 256 entries.

The activations that have names stand in activations/table.py. numpy knows the few names that their
formulas use, but for the missing ``erf``. Any other operator on single elements is an ``Operator``,
which capture makes of what forward() calls.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.activations.formulas import FORMULAS

FloatArray = NDArray[np.float64]

_NUMPY = SimpleNamespace(
    exp=np.exp, expm1=np.expm1, log1p=np.log1p, tanh=np.tanh, where=np.where, clip=np.clip,
    abs=np.abs, floor=np.floor, round=np.round, erf=np.vectorize(math.erf, otypes=[np.float64]),
)  # fmt: skip

# What two functions of one number become, with the parameters behind them.
_JOINS: dict[str, Callable[..., Any]] = {
    "product": lambda a, b: a * b,
    "sum": lambda a, b, of_a, of_b: a * of_a + b * of_b,
}
_UNNAMED = {"reciprocal", "round_even"}  # formulas that are no activation's
LARGEST = float(np.finfo(np.float32).max)  # what stands for an infinite result


class Operator(Protocol):
    """An operator on single elements, with its constants; equal ones compute the same."""

    @property
    def name(self) -> str: ...

    def run(self, operands: Sequence[Any]) -> Any:
        """Of arrays or tensors of numbers, in the operator's order; a result of their kind."""
        ...

    def __hash__(self) -> int: ...


# Where a function's least value is looked for; between these points none of them has a dip.
_PROBES = np.concatenate([np.linspace(-16.0, 16.0, 4097), np.logspace(1, 6, 51)])
_PROBES = np.unique(np.concatenate([_PROBES, -_PROBES]))


@dataclass(frozen=True, slots=True)
class Function:
    """One function of a number.

    ``gate`` multiplies its argument with what ``inner`` makes of it: x * inner(x). ``operator``,
    ``product`` and ``sum`` take what each of the ``branches`` makes of the argument.

    >>> Function("gate", inner=Activation((Function("sigmoid"),))).apply(np.array([0.0, 20.0]))
    array([ 0.        , 19.99999996])
    >>> twice = Activation((Function("scale", (2.0, 0.0)),))
    >>> Function("product", branches=(twice, Activation(()))).apply(np.array([3.0]))
    array([18.])
    """

    name: str
    parameters: tuple[float, ...] = ()
    inner: "Activation | None" = None
    branches: "tuple[Activation, ...]" = ()
    operator: Operator | None = None

    def apply(self, x: Any, m: Any = _NUMPY) -> Any:
        if self.inner is not None:
            return x * self.inner.apply(x, m)
        operands = [branch.apply(x, m) for branch in self.branches] or [x]
        if self.operator is not None:
            return self.operator.run(operands)
        if self.branches:
            return _JOINS[self.name](*operands, *self.parameters)
        return FORMULAS[self.name](x, m, *self.parameters)

    @property
    def parts(self) -> "tuple[Activation, ...]":
        """What it makes of its argument before it computes itself."""
        return self.branches if self.inner is None else (self.inner,)


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
        with np.errstate(all="ignore"):  # some have no number where nobody looks
            for function in self.functions:
                x = function.apply(x, m)
        return x

    def then(self, other: "Activation") -> "Activation":
        return Activation(self.functions + other.functions)

    def numbers(self, x: FloatArray) -> FloatArray:
        """Its finite results, float64: infinite ones are as large as a float32 can be, and where
        it has none (NaN) it has that of the nearest argument with one, or 0 without any.

        >>> Activation((Function("scale", (np.inf, 0.0)),)).numbers(np.array([-1.0, 0.0, 2.0]))
        array([-3.40282347e+38, -3.40282347e+38,  3.40282347e+38])
        """
        results = np.asarray(self.apply(x), np.float64)
        if np.isfinite(results).all():
            return results
        known = ~np.isnan(results)
        if not known.any():
            return np.zeros(results.shape)
        arguments, first = np.unique(x[known], return_index=True)
        place = np.clip(np.searchsorted(arguments, x), 1, max(1, len(arguments) - 1))
        left = np.minimum(place, len(arguments) - 1) - (len(arguments) > 1)
        right = np.minimum(place, len(arguments) - 1)
        nearest = np.where(x - arguments[left] <= arguments[right] - x, left, right)
        results = np.where(known, results, results[known][first][nearest])
        return np.clip(results, -LARGEST, LARGEST)

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and largest value that any argument can give."""
        return _bounds(self)

    @property
    def size(self) -> int:
        """How many functions it is made of, those in branches counted, too."""
        return sum(1 + sum(part.size for part in f.parts) for f in self.functions)

    @property
    def operators(self) -> list[str]:
        """The names of the functions in it that are no known activation's."""
        found: list[str] = []
        for function in self.functions:
            found += [name for part in function.parts for name in part.operators]
            if function.operator is not None or function.branches or function.name in _UNNAMED:
                found.append(function.name)
        return list(dict.fromkeys(found))

    def __str__(self) -> str:
        return " ".join(function.name for function in self.functions)


@lru_cache
def _bounds(activation: Activation) -> tuple[float, float]:
    values = activation.numbers(_PROBES)
    return float(values.min()), float(values.max())
