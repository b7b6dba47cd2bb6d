# SPDX-License-Identifier: Apache-2.0
"""ATen's operators on single elements, run on numbers: what a table is made of. Imports torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

PROBES = 7  # elements on which an operator shows whether it takes each by itself


@dataclass(frozen=True, slots=True)
class Data:
    """In an argument's place: an operand, by its number, and the kind of numbers that it has."""

    number: int
    dtype: torch.dtype


@dataclass(frozen=True, slots=True)
class Number:
    """In an argument's place: a tensor of one constant."""

    value: float
    dtype: torch.dtype


@dataclass(frozen=True, slots=True)
class Numbers:
    """In an argument's place: a constant tensor that is no operand of single elements."""

    values: tuple[float, ...]
    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True, slots=True)
class AtenOperator:
    """One call of an operator, with ``Data`` in its operands' places.

    Booleans and integers go from one operator to the next as real numbers.

    >>> gt = AtenOperator("gt", "gt.Scalar", (Data(0, torch.float32), 0.5))
    >>> gt.run([np.array([0.0, 0.5, 0.75])])
    array([0., 0., 1.])
    """

    name: str
    overload: str
    arguments: tuple[Any, ...]
    keywords: tuple[tuple[str, Any], ...] = ()

    def run(self, operands: Sequence[Any]) -> Any:
        """Of numpy arrays, float64, or of tensors of floats, in the order of their numbers."""
        tensors = [torch.as_tensor(v) for v in operands]
        packet, _, overload = self.overload.partition(".")
        call = getattr(getattr(torch.ops.aten, packet), overload)
        result = call(
            *(_given(a, tensors) for a in self.arguments),
            **{name: _given(a, tensors) for name, a in self.keywords},
        ).to(tensors[0].dtype)
        return result if isinstance(operands[0], torch.Tensor) else result.numpy()

    def is_elementwise(self) -> bool:
        """Whether each element of its result comes from that element alone, tried on a few."""
        if not self.leaves(Data):
            return False
        rng = np.random.default_rng(0)
        count = 1 + max(leaf.number for leaf in self.leaves(Data))
        operands = [3 * rng.normal(size=PROBES) for _ in range(count)]
        try:
            together = self.run(operands)
            alone = [self.run([v[i : i + 1] for v in operands]) for i in range(PROBES)]
        except Exception:  # whatever torch raises of shapes that it does not take
            return False
        same = np.array_equal(together, np.concatenate(alone), equal_nan=True)
        return same and bool(together.shape == (PROBES,))

    def leaves(self, kind: type) -> list[Any]:
        """The arguments of one kind."""
        found: list[Any] = []
        for value in (*self.arguments, *(v for _, v in self.keywords)):
            found += value if isinstance(value, tuple) else (value,)
        return [v for v in found if isinstance(v, kind)]


def _given(value: Any, tensors: Sequence[torch.Tensor]) -> Any:
    match value:
        case Data(number, dtype):
            return _as(tensors[number].clone(), dtype)
        case Number(constant, dtype):
            return _as(torch.tensor(constant, dtype=torch.float64), dtype)
        case Numbers(values, shape, dtype):
            several = torch.tensor(values, dtype=torch.float64).reshape(shape)
            return _as(several, dtype)
        case tuple():
            return [_given(v, tensors) for v in value]
    return value


def _as(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Real numbers as those of another kind; floats stay as wide as they are."""
    if dtype == torch.bool:
        return tensor != 0
    return tensor if dtype.is_floating_point else tensor.to(dtype)


def is_random(target: Any) -> bool:
    """Whether an operator gives other numbers whenever it runs."""
    return torch.Tag.nondeterministic_seeded in getattr(target, "tags", ())


def is_tagged(target: Any) -> bool:
    """Whether PyTorch itself says that an operator works on single elements, which broadcast."""
    return torch.Tag.pointwise in getattr(target, "tags", ())


def map_leaves(value: Any, of_leaf: Callable[[Any], Any]) -> Any:
    """Arguments with lists as tuples, so that they can be compared, and their leaves replaced."""
    if isinstance(value, (list, tuple)):
        return tuple(map_leaves(v, of_leaf) for v in value)
    return of_leaf(value)
