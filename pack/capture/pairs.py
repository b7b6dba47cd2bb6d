# SPDX-License-Identifier: Apache-2.0
"""Operators on the elements of two tensors. Imports torch.

Where both are functions of one tensor, the result is, too: a table (functions.py). Else it is
spelled out in sums, products and functions:

    max(a, b)     ->  a + relu(b - a)
    a / b         ->  a * (1 / b)
    a > b         ->  (a - b) > 0
    where(m, a, b) ->  m * a + (1 - m) * b
"""

from math import inf
from typing import Any

import numpy as np
import torch

from bramcast.pack.capture.aten import AtenOperator, Data
from bramcast.pack.capture.elementwise import (
    ELEMENTWISE,
    add_clip,
    add_functions,
    add_scale,
    add_sum,
)
from bramcast.pack.capture.functions import as_function, broadcast_constant
from bramcast.pack.capture.state import Capture, Handler, Site, as_numpy
from bramcast.pack.graph.activations import Function
from bramcast.pack.graph.tensor import IntArray
from bramcast.pack.graph.window import Clamp

Arguments = dict[str, Any]
Shape = tuple[int, ...]


def _is_data(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def _constant(value: Any) -> torch.Tensor:
    """A number or a tensor as a tensor; as an array it would be data."""
    return torch.as_tensor(value, dtype=torch.float64)


def _times(state: Capture, site: Site, left: Any, right: Any) -> Any:
    if not _is_data(left) and not _is_data(right):
        return _constant(left) * _constant(right)
    return ELEMENTWISE["mul"](state, site, {"self": left, "other": right}, ())


def _plus(state: Capture, site: Site, left: Any, right: Any, sign: float = 1.0) -> Any:
    if not _is_data(left) and not _is_data(right):
        return _constant(left) + sign * _constant(right)
    a = {"self": left, "other": right, "alpha": sign}
    return ELEMENTWISE["add"](state, site, a, ())


def _unless_function(handler: Handler) -> Handler:
    """The handler for what is no function of one tensor."""

    def first(state: Capture, site: Site, a: Arguments, shape: Shape) -> Any:
        made = as_function(state, site)
        return handler(state, site, a, shape) if made is None else made

    return first


def _single(value: Any) -> float | None:
    """A constant that is the same for all elements."""
    array = np.asarray(as_numpy(value), np.float64)
    same = array.size and (array == array.flat[0]).all()
    return float(array.flat[0]) if same else None


# --- the larger and the smaller one --------------------------------------------------------------


def _extreme(largest: bool) -> Handler:
    def handler(state: Capture, site: Site, a: Arguments, shape: Shape) -> Any:
        left, right = a["self"], a["other"]
        if _is_data(left) and _is_data(right):
            made = as_function(state, site)
            return _of_two(state, site, left, right, largest) if made is None else made
        data, limit = (left, right) if _is_data(left) else (right, left)
        return _limited(state, site, data, limit, largest)

    return handler


def _of_two(state: Capture, site: Site, left: IntArray, right: IntArray, largest: bool) -> Any:
    """a + relu(b - a), or a - relu(a - b)."""
    one, other = (v.copy() for v in np.broadcast_arrays(left, right))
    pair = (other, one) if largest else (one, other)
    over = add_clip(state, site, add_sum(state, site, *pair, -1.0), Clamp(lo=0.0))
    return add_sum(state, site, one, over, 1.0 if largest else -1.0)


def _limited(state: Capture, site: Site, view: Any, limit: Any, largest: bool) -> Any:
    """max(x, limit) or min(x, limit), with a limit that may differ from element to element."""
    same = _single(limit)
    if same is not None:
        clamp = Clamp(lo=same) if largest else Clamp(hi=same)
        return add_clip(state, site, view, clamp)
    limits = broadcast_constant(site, limit, view.shape)
    clamp = Clamp(lo=0.0) if largest else Clamp(hi=0.0)
    over = add_clip(state, site, add_scale(state, site, view, 1.0, -limits), clamp)
    return add_scale(state, site, over, 1.0, limits)


def _clamp(state: Capture, site: Site, a: Arguments, shape: Shape) -> Any:
    lo, hi = a.get("min"), a.get("max")
    if not any(isinstance(v, (np.ndarray, torch.Tensor)) for v in (lo, hi)):
        limits = Clamp(-inf if lo is None else float(lo), inf if hi is None else float(hi))
        return add_clip(state, site, a["self"], limits)
    if _is_data(lo) or _is_data(hi):
        made = as_function(state, site)
        if made is not None:
            return made
    view: Any = a["self"]
    both: tuple[tuple[Any, bool], ...] = ((lo, True), (hi, False))
    for limit, largest in both:
        if _is_data(limit) and _is_data(view):
            view = _of_two(state, site, view, limit, largest)
        elif limit is not None:
            data, other = (view, limit) if _is_data(view) else (limit, view)
            view = _limited(state, site, data, other, largest)
    return view


# --- quotients, comparisons, choices -------------------------------------------------------------


def _divide(state: Capture, site: Site, a: Arguments, shape: Shape) -> Any:
    left, right = a["self"], a["other"]
    rounding = a.get("rounding_mode")
    if not _is_data(right) and rounding in (None, "floor"):
        return ELEMENTWISE["div"](state, site, a, shape)
    if not _is_data(right) or _is_data(left) or rounding is not None:
        made = as_function(state, site)
        if made is not None:
            return made
    if rounding is not None:
        raise site.refuse(f"a division of two tensors that is rounded ({rounding!r})")
    inverse = add_functions(state, site, right, Function("reciprocal"))
    return _times(state, site, left, inverse)


def _compare(kind: str) -> Handler:
    def handler(state: Capture, site: Site, a: Arguments, shape: Shape) -> Any:
        left, right = a["self"], a["other"]
        if _is_data(right) or _single(right) is not None:
            made = as_function(state, site)
            if made is not None:
                return made
        if not _is_data(left):
            raise site.refuse("a constant that is compared with data (write the data first)")
        difference = _plus(state, site, left, right, -1.0)
        return add_functions(state, site, difference, _above_zero(kind))

    return handler


def _above_zero(kind: str) -> Function:
    """A comparison with zero, or another function of one number."""
    operator = AtenOperator(kind, f"{kind}.Scalar", (Data(0, torch.float32), 0))
    return Function(kind, operator=operator)


def _where(state: Capture, site: Site, a: Arguments, shape: Shape) -> Any:
    if "other" not in a:
        raise site.refuse("where() without values: how many there are depends on data")
    return _chosen(state, site, a["condition"], a["self"], a["other"])


def _masked_fill(state: Capture, site: Site, a: Arguments, shape: Shape) -> Any:
    return _chosen(state, site, a["mask"], a["value"], a["self"])


def _chosen(state: Capture, site: Site, mask: Any, one: Any, other: Any) -> Any:
    """m * a + (1 - m) * b, with a mask m of ones and zeros."""
    if _is_data(mask):
        made = as_function(state, site)
        if made is not None:
            return made
    rest = _plus(state, site, 1.0, mask, -1.0)
    if _is_data(mask) and not (_is_data(one) and _is_data(other)):
        constant, data, chosen = (one, other, rest) if _is_data(other) else (other, one, mask)
        # constant + chosen * (data - constant)
        shifted = _plus(state, site, data, constant, -1.0)
        return _plus(state, site, _times(state, site, chosen, shifted), constant)
    parts = _times(state, site, mask, one), _times(state, site, rest, other)
    return _plus(state, site, *parts)


@_unless_function
def _both(state: Capture, site: Site, a: Arguments, shape: Shape) -> Any:
    _need_masks(state, site)
    return _times(state, site, a["self"], a["other"])


@_unless_function
def _either(state: Capture, site: Site, a: Arguments, shape: Shape) -> Any:
    _need_masks(state, site)
    return _extreme(True)(state, site, a, shape)


def _need_masks(state: Capture, site: Site) -> None:
    assert state.call is not None
    if any(dtype != torch.bool for dtype in state.call.dtypes):
        raise site.refuse(f"{state.call.kind} of two tensors of integers (of booleans it is done)")


# --- sums with factors ---------------------------------------------------------------------------


@_unless_function
def _lerp(state: Capture, site: Site, a: Arguments, shape: Shape) -> Any:
    """a + weight * (b - a)"""
    one, other, weight = a["self"], a["end"], a["weight"]
    if _is_data(weight):
        step = _times(state, site, weight, _plus(state, site, other, one, -1.0))
        return _plus(state, site, one, step)
    rest = 1.0 - _constant(weight)
    parts = _times(state, site, one, rest), _times(state, site, other, weight)
    return _plus(state, site, *parts)


@_unless_function
def _addcmul(state: Capture, site: Site, a: Arguments, shape: Shape) -> Any:
    """a + value * b * c"""
    return _added(state, site, a, _times(state, site, a["tensor1"], a["tensor2"]))


@_unless_function
def _addcdiv(state: Capture, site: Site, a: Arguments, shape: Shape) -> Any:
    """a + value * b / c"""
    one, other = a["tensor1"], a["tensor2"]
    if _is_data(other):
        inverse = add_functions(state, site, other, Function("reciprocal"))
    else:
        inverse = 1.0 / _constant(other)
    return _added(state, site, a, _times(state, site, one, inverse))


def _added(state: Capture, site: Site, a: Arguments, product: Any) -> Any:
    """a + value * product"""
    value = float(a["value"])
    scaled = product if value == 1 else _times(state, site, product, value)
    return _plus(state, site, a["self"], scaled)


PAIRS: dict[str, Handler] = {
    "clamp": _clamp,
    "clip": _clamp,
    "clamp_min": _clamp,
    "clamp_max": _clamp,
    "maximum": _extreme(True),
    "fmax": _extreme(True),
    "minimum": _extreme(False),
    "fmin": _extreme(False),
    "div": _divide,
    "true_divide": _divide,
    "divide": _divide,
    "where": _where,
    "masked_fill": _masked_fill,
    **{kind: _compare(kind) for kind in ("gt", "ge", "lt", "le", "eq", "ne")},
    "logical_and": _both,
    "bitwise_and": _both,
    "__and__": _both,
    "logical_or": _either,
    "bitwise_or": _either,
    "__or__": _either,
    "lerp": _lerp,
    "addcmul": _addcmul,
    "addcdiv": _addcdiv,
}
