# SPDX-License-Identifier: Apache-2.0
"""Arrays that know how they came from the network's parameters. Imports torch.

``capture`` and ``fold`` compute with numpy. For retraining the very same code runs once on arrays
of the class below: each is an ordinary float64 array and carries a ``Node``, the same computation
in torch. Evaluated on other parameters, the nodes give the folded weights of the network as it is
now, with their gradients.

Known are arithmetic and whatever only moves elements. Anything else gives a plain array: a
constant, which passes no gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One step of a computation: ``function`` of its arguments, nodes among them evaluated."""

    function: Callable[..., torch.Tensor]
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """A parameter or buffer, by its name in the module."""

    name: str


Origin = Node | Leaf


def evaluate(
    sources: Iterable[Origin], parameters: Mapping[str, torch.Tensor]
) -> list[torch.Tensor]:
    """What computations give for these parameters; common steps are computed once."""
    known: dict[int, torch.Tensor] = {}

    def value(source: Any) -> Any:
        if isinstance(source, Leaf):
            return parameters[source.name]
        if not isinstance(source, Node):
            return source
        if id(source) not in known:
            known[id(source)] = source.function(*(value(a) for a in source.arguments))
        return known[id(source)]

    return [value(source) for source in sources]


def leaves(source: Origin) -> set[str]:
    """The names of the parameters and buffers behind a computation."""
    found, todo = set(), [source]
    while todo:
        here = todo.pop()
        if isinstance(here, Leaf):
            found.add(here.name)
        else:
            todo += [a for a in here.arguments if isinstance(a, (Node, Leaf))]
    return found


# --- constants of capture, which are torch tensors ---------------------------------------------


def mark(tensor: torch.Tensor, source: Origin) -> torch.Tensor:
    """Note where a constant of the captured program comes from."""
    tensor.bramcast_source = source  # type: ignore[attr-defined]
    return tensor


def source_of(value: Any) -> Origin | None:
    """Where an array or tensor comes from; None for constants and all that is not traced."""
    if isinstance(value, Traced):
        return value.source
    return getattr(value, "bramcast_source", None)


def mark_results(target: Callable[..., Any], arguments: Any, keywords: Any, results: Any) -> None:
    """Note that ``results`` = ``target(*arguments, **keywords)``, an operator on constants."""
    flat, spec = torch.utils._pytree.tree_flatten((tuple(arguments), dict(keywords)))
    sources = [source_of(a) for a in flat]
    if not any(sources):
        return

    def call(*values: Any) -> Any:
        positional, named = torch.utils._pytree.tree_unflatten(list(values), spec)
        return target(*positional, **named)

    node = Node(call, tuple(a if s is None else s for a, s in zip(flat, sources, strict=True)))
    if isinstance(results, torch.Tensor):
        mark(results, node)
    elif isinstance(results, (tuple, list)):
        for number, result in enumerate(results):
            if isinstance(result, torch.Tensor):
                mark(result, Node(lambda all_, n=number: all_[n], (node,)))


def array_of(tensor: torch.Tensor) -> NDArray[np.float64]:
    """A constant as a float64 array, traced if the tensor is marked."""
    array: NDArray[np.float64] = tensor.detach().double().numpy()
    source = source_of(tensor)
    return array if source is None else _traced(array, Node(torch.Tensor.double, (source,)))


def tensor_of(array: NDArray[np.float64]) -> torch.Tensor:
    """The other way round."""
    tensor = torch.from_numpy(np.array(array))
    source = source_of(array)
    return tensor if source is None else mark(tensor, source)


# --- arrays ------------------------------------------------------------------------------------


class Traced(np.ndarray[Any, np.dtype[np.float64]]):
    """A float64 array with its computation.

    >>> weight = array_of(mark(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), Leaf("weight")))
    >>> turned = (weight * 0.5)[::-1].reshape(-1) + 1.0
    >>> np.asarray(turned)
    array([2.5, 3. , 1.5, 2. ])
    >>> evaluate([turned.source], {"weight": torch.tensor([[0.0, 2.0], [4.0, 6.0]])})
    [tensor([3., 4., 1., 2.], dtype=torch.float64)]
    >>> source_of(np.abs(turned)) is None
    True
    """

    source: Origin | None = None

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        result = getattr(ufunc, method)(*(_plain(i) for i in inputs), **_plain(keywords))
        function = _ARITHMETIC.get(ufunc)
        if method != "__call__" or function is None or keywords:
            return result
        return _traced(result, Node(function, tuple(_argument(i) for i in inputs)))

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func in _MOVES:
            return _moved(func, args, kwargs)
        return func(*_plain(args), **_plain(kwargs))

    def __getitem__(self, key: Any) -> Any:
        return _moved(lambda array: array[key], (self,), {})

    def __setitem__(self, key: Any, value: Any) -> None:
        raise TypeError("a traced array is not written to: its computation would not know")

    def reshape(self, *shape: Any, **keywords: Any) -> Any:
        return _moved(np.ndarray.reshape, (self, *shape), keywords)

    def ravel(self, *order: Any) -> Any:
        return _moved(np.ndarray.ravel, (self, *order), {})

    def transpose(self, *axes: Any) -> Any:
        return _moved(np.ndarray.transpose, (self, *axes), {})

    def copy(self, *order: Any) -> Any:
        return _moved(np.ndarray.copy, (self, *order), {})

    @property
    def T(self) -> Any:  # noqa: N802
        return self.transpose()

    def sum(self, axis: Any = None, *others: Any, **keywords: Any) -> Any:
        result = np.asarray(self).sum(axis, *others, **keywords)
        axes = tuple(range(self.ndim)) if axis is None else axis
        if others or keywords or self.source is None:
            return result
        return _traced(result, Node(torch.sum, (self.source, axes)))


def _traced(array: Any, source: Origin) -> Any:
    made = np.asarray(array, np.float64).view(Traced)
    made.source = source
    return made


def _plain(value: Any) -> Any:
    """Ordinary arrays in place of traced ones, also inside of lists, tuples and dicts."""
    if isinstance(value, Traced):
        return value.view(np.ndarray)
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(v) for v in value)
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, dict) else value


def _argument(value: Any) -> Any:
    """An operand in torch: a computation or a constant."""
    source = source_of(value)
    return torch.from_numpy(np.array(_plain(value), np.float64)) if source is None else source


def _moved(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """A function that only moves elements: run on the elements' numbers, too."""
    arrays: list[Any] = []

    def numbered(value: Any) -> Any:
        if isinstance(value, (list, tuple)) and any(isinstance(v, np.ndarray) for v in value):
            return [numbered(v) for v in value]
        if not isinstance(value, np.ndarray) or value.dtype != np.float64:
            return value
        first = sum(a.size for a in arrays)
        arrays.append(value)
        return np.arange(first, first + value.size).reshape(value.shape)

    result = function(*_plain(args), **_plain(kwargs))
    numbers = np.asarray(function(*(numbered(a) for a in args), **kwargs), order="C")
    if not any(source_of(a) is not None for a in arrays):
        return result
    shape, total = numbers.shape, sum(a.size for a in arrays)
    index = None
    if not np.array_equal(numbers.ravel(), np.arange(total)):
        index = torch.from_numpy(numbers.ravel())

    def gather(*values: torch.Tensor) -> torch.Tensor:
        flat = torch.cat([v.reshape(-1) for v in values]) if len(values) > 1 else values[0]
        flat = flat.reshape(-1)
        return (flat if index is None else flat.index_select(0, index)).reshape(shape)

    return _traced(result, Node(gather, tuple(_argument(a) for a in arrays)))


_ARITHMETIC: dict[Any, Callable[..., torch.Tensor]] = {
    np.add: torch.add, np.subtract: torch.sub, np.multiply: torch.mul, np.divide: torch.div,
    np.negative: torch.neg, np.sqrt: torch.sqrt, np.matmul: torch.matmul,
}  # fmt: skip
_MOVES = {
    np.concatenate, np.stack, np.broadcast_to, np.repeat, np.transpose, np.reshape, np.ravel,
    np.moveaxis, np.copy,
}  # fmt: skip
