# SPDX-License-Identifier: Apache-2.0
"""Any operator on single elements of one tensor is a function that a table holds. Imports torch.

It is not known by its name: what stands in forward() is run on numbers (aten.py).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from bramcast.pack.capture.aten import (
    AtenOperator,
    Data,
    Number,
    Numbers,
    is_random,
    is_tagged,
    map_leaves,
)
from bramcast.pack.capture.elementwise import add_functions, elementwise, known_values
from bramcast.pack.capture.state import MIXES, Call, Capture, Site, Turned, as_numpy
from bramcast.pack.graph.activations import Activation, Function
from bramcast.pack.graph.functions import common_root
from bramcast.pack.graph.ops import Apply
from bramcast.pack.graph.tensor import ZERO, FloatArray, IntArray, as_pixels

MOST_TABLES = 16  # for constants that differ between channels


def as_function(state: Capture, site: Site) -> Any:
    """The result of the operator at hand if its data are all functions of one tensor, else None.

    Raises:
        UnsupportedLayer: it is random, or has more constants than there may be tables.
    """
    call = state.call
    assert call is not None
    if not isinstance(call.target, torch._ops.OpOverload):
        return None
    tensors: list[Any] = []
    operator = _operator(call, tensors)
    data = [t for t in tensors if isinstance(t, np.ndarray)]
    refuse_random(site, call)
    if operator is None or not (is_tagged(call.target) or operator.is_elementwise()):
        return None
    views = list(np.broadcast_arrays(*data)) if len(data) > 1 else data
    operator, constants = _with_constants(site, operator, tensors, views[0])
    # Not ascontiguousarray: of a single number it makes a list.
    found = common_root(state.draft, [np.asarray(v, order="C") for v in views])
    if found is None:
        return None
    root, parts = found
    return _tables(state, site, operator, root, tuple(parts), constants)


def to_kind(state: Capture, site: Site, value: Any, dtype: torch.dtype) -> Any:
    """Data as integers, or as ones and zeros, which go on as real numbers."""
    assert state.call is not None
    if isinstance(value, Turned):
        raise site.refuse(MIXES)
    (given, *_) = state.call.dtypes
    if given == dtype or (dtype != torch.bool and not given.is_floating_point):
        return value
    place = Data(0, torch.float32)
    operator = AtenOperator("trunc", "trunc.default", (place,))
    if dtype == torch.bool:
        operator = AtenOperator("ne", "ne.Scalar", (place, 0))
    return add_functions(state, site, value, Function(operator.name, operator=operator))


def refuse_random(site: Site, call: Call) -> None:
    """Raise for what gives other numbers whenever it runs; rrelu does not, behind eval()."""
    if not is_random(call.target):
        return
    names = [a.name for a in call.target._schema.arguments]
    given = dict(zip(names, call.arguments, strict=False)) | call.keywords
    if not any(name in names and not given.get(name, False) for name in ("training", "train")):
        raise site.refuse(f"{call.kind} is random: it gives other numbers whenever it runs")


def _operator(call: Call, tensors: list[Any]) -> AtenOperator | None:
    """The call as an operator; ``tensors`` takes its data and constant tensors, by number."""
    dtypes = list(call.dtypes)

    def of_leaf(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            tensors.append(value)
            return Data(len(tensors) - 1, dtypes.pop(0))
        if isinstance(value, torch.Tensor):
            if value.numel() and bool((value == value.reshape(-1)[0]).all()):
                return Number(float(value.reshape(-1)[0]), value.dtype)
            if not is_tagged(call.target):
                flat = value.double().reshape(-1).tolist()
                return Numbers(tuple(flat), tuple(value.shape), value.dtype)
            tensors.append(value)
            return Data(len(tensors) - 1, value.dtype)
        return value

    arguments = map_leaves(call.arguments, of_leaf)
    keywords = tuple((k, map_leaves(v, of_leaf)) for k, v in sorted(call.keywords.items()))
    if call.kind == "index_put":  # x[mask] = number
        return _masked(arguments)
    overload = call.target._schema.overload_name or "default"
    packet = call.target._schema.name.partition("::")[2]
    if packet.endswith("_") and not packet.endswith("__"):
        packet = packet.rstrip("_")
        if overload not in getattr(torch.ops.aten, packet).overloads():
            return None
    return AtenOperator(call.kind, f"{packet}.{overload}", arguments, keywords)


def _masked(arguments: tuple[Any, ...]) -> AtenOperator | None:
    """x[mask] = number, for a mask of x's shape."""
    if len(arguments) > 3 and arguments[3]:
        return None
    x, where, value = arguments[:3]
    if len(where) != 1 or not isinstance(where[0], Data) or not isinstance(value, Number):
        return None
    if where[0].dtype != torch.bool:
        return None
    return AtenOperator("masked_fill", "masked_fill.Scalar", (x, where[0], value.value))


def _with_constants(
    site: Site, operator: AtenOperator, tensors: list[Any], view: IntArray
) -> tuple[AtenOperator, list[FloatArray]]:
    """The operator with its data first, and its constants for each element of the view."""
    order = [n for n, t in enumerate(tensors) if isinstance(t, np.ndarray)]
    rest = [n for n in range(len(tensors)) if n not in order]
    place = {number: at for at, number in enumerate(order + rest)}

    def of_leaf(value: Any) -> Any:
        return Data(place[value.number], value.dtype) if isinstance(value, Data) else value

    operator = replace(
        operator,
        arguments=map_leaves(operator.arguments, of_leaf),
        keywords=tuple((k, map_leaves(v, of_leaf)) for k, v in operator.keywords),
    )
    return operator, [broadcast_constant(site, tensors[n], view.shape) for n in rest]


def broadcast_constant(site: Site, value: Any, shape: tuple[int, ...]) -> FloatArray:
    """A constant for each element of data of this shape (without the batch), float64."""
    array = np.asarray(as_numpy(value), np.float64)
    if array.ndim == len(shape) + 1 and (array == array[:1]).all():
        array = array[0]
    try:
        return np.broadcast_to(array, shape).copy()
    except ValueError:
        raise site.refuse(f"a constant of shape {array.shape} that enlarges the data") from None


def _tables(
    state: Capture,
    site: Site,
    operator: AtenOperator,
    root: IntArray,
    parts: tuple[Activation, ...],
    constants: Sequence[FloatArray],
) -> Any:
    """One function of ``root``, or one for each set of constants."""
    if not constants:
        return add_functions(state, site, root, _function(operator, parts))
    if (root == ZERO).all():
        zeros = [part.apply(np.zeros(root.shape)) for part in parts]
        return known_values(operator.run([*zeros, *constants]))
    flat = np.stack([c.ravel() for c in constants], axis=1)
    kinds, which = np.unique(flat, axis=0, return_inverse=True)
    which = np.asarray(which).ravel()
    if len(kinds) > MOST_TABLES:
        raise site.refuse(
            f"{operator.name} with {len(kinds)} constants, each of which is a table (at most "
            f"{MOST_TABLES}); a factor or an offset for each channel in front of a function, or "
            "behind it, costs none"
        )
    result = np.empty(root.size, np.int64)
    for number, values in enumerate(kinds):
        chosen = np.flatnonzero(which == number)
        made = _with_numbers(operator, len(parts), [float(v) for v in values])
        view = _whole_channels(root, chosen)
        activation = Activation((_function(made, parts),))
        table = replace(Apply(**elementwise(state, site, view, Apply)), activation=activation)
        result[chosen] = state.add(table).ravel()
    return result.reshape(root.shape)


def _whole_channels(root: IntArray, chosen: IntArray) -> IntArray:
    """Some elements of a view: those of whole channels as channels, else each by itself."""
    pixels = root.reshape(as_pixels(root.shape)) if root.ndim <= 3 else root.reshape(-1, 1, 1)
    each = pixels[0].size
    channels = np.unique(chosen // each)
    if len(channels) * each == len(chosen):
        return np.ascontiguousarray(pixels[channels])
    return np.ascontiguousarray(root.reshape(-1)[chosen].reshape(-1, 1, 1))


def _with_numbers(operator: AtenOperator, count: int, values: list[float]) -> AtenOperator:
    """With constants in place of the operands behind the first ``count``."""

    def of_leaf(value: Any) -> Any:
        if isinstance(value, Data) and value.number >= count:
            return Number(values[value.number - count], value.dtype)
        return value

    return replace(
        operator,
        arguments=map_leaves(operator.arguments, of_leaf),
        keywords=tuple((k, map_leaves(v, of_leaf)) for k, v in operator.keywords),
    )


def _function(operator: AtenOperator, parts: tuple[Activation, ...]) -> Function:
    """An operator of what the parts make of a number."""
    plain = len(parts) == 1 and not parts[0].functions
    return Function(operator.name, branches=() if plain else parts, operator=operator)
