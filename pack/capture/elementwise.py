# SPDX-License-Identifier: Apache-2.0
"""Scales, sums, products, clamps and functions of elements as operations. Imports torch."""

from dataclasses import replace
from typing import Any

import numpy as np

from bramcast.pack.activations.table import TABLE, Entry
from bramcast.pack.capture.state import (
    Capture,
    Handler,
    Site,
    as_numpy,
    constant_of,
    operand_of,
)
from bramcast.pack.capture.traced import tensor_of
from bramcast.pack.graph.activations import Activation, Function
from bramcast.pack.graph.ops import Add, Apply, Clip, Common, Dense, Op, Product, RoundEven, Scale
from bramcast.pack.graph.tensor import ZERO, FloatArray, IntArray, as_pixels
from bramcast.pack.graph.window import Clamp


def elementwise(state: Capture, site: Site, view: IntArray, kind: type[Op]) -> Common:
    """What an operation on each element by itself has: any shape, taken as [C, H, W]."""
    pixels = as_pixels(view.shape)
    return state.begin(site, kind, (view.reshape(pixels),), pixels)


def add_scale(state: Capture, site: Site, view: IntArray, weight: Any, bias: Any) -> Any:
    """weight * x + bias with constants that broadcast against [*view.shape]."""

    def full(value: Any) -> Any:
        array = np.asanyarray(as_numpy(value), np.float64)
        if array.ndim == view.ndim + 1 and (array == array[:1]).all():
            array = array[0]
        try:
            return np.broadcast_to(array, view.shape).reshape(as_pixels(view.shape)).copy()
        except ValueError:
            raise site.refuse(f"a constant of shape {array.shape} that enlarges the data") from None

    factor, offset = full(weight), full(bias)
    if (view == ZERO).all() or not factor.any():
        return known_values(offset.reshape(view.shape))
    made = Scale(**elementwise(state, site, view, Scale), weight=factor, bias=offset)
    return state.add(made).reshape(view.shape)


def known_values(values: FloatArray) -> Any:
    """A result that does not depend on the data: constant zeros, or a constant tensor."""
    if not values.any():
        return np.full(values.shape, ZERO, np.int64)
    return tensor_of(values[None])


def constant_elements(state: Capture, site: Site, values: FloatArray) -> IntArray:
    """Elements that are constants, of the values' shape: a layer whose weights are zero makes one
    for each value."""
    distinct, which = np.unique(values, return_inverse=True)
    view, out = state.draft.input.ids.ravel()[:1].reshape(1, 1, 1), (distinct.size, 1, 1)
    made = Dense(
        **state.begin(site, Dense, (view,), out),
        weight=np.zeros((distinct.size, 1, 1, 1)),
        bias=distinct,
    )
    numbers = state.add(made).ravel()[np.asarray(which).ravel()]
    return np.where(values.ravel() == 0, ZERO, numbers).reshape(values.shape)


def add_clip(state: Capture, site: Site, view: IntArray, limits: Clamp) -> Any:
    """max(lo, min(hi, x))."""
    if (view == ZERO).all():
        return known_values(limits.apply(np.zeros(view.shape)))
    made = replace(Clip(**elementwise(state, site, view, Clip)), clamp=limits)
    return state.add(made).reshape(view.shape)


def _known(known: Entry, arguments: tuple[str, ...]) -> Handler:
    """An activation of the table; ``arguments`` are the operator's that it takes."""

    def handler(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
        assert known.does is not None
        match known.does(*(a[name] for name in arguments)):
            case (float(lo), float(hi)):
                return add_clip(state, site, operand_of(a), Clamp(lo, hi))
            case steps:
                functions = (Function(name, parameters) for name, parameters in steps)
                return add_functions(state, site, operand_of(a), *functions)

    return handler


def add_functions(state: Capture, site: Site, view: IntArray, *functions: Function) -> Any:
    activation = Activation(functions)
    if (view == ZERO).all():
        return known_values(activation.apply(np.zeros(view.shape)))
    made = replace(Apply(**elementwise(state, site, view, Apply)), activation=activation)
    return state.add(made).reshape(view.shape)


def _glu(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
    """The first half of an axis times the sigmoid of the second one."""
    view: IntArray = a["self"]
    axis = a["dim"] - 1 if a["dim"] > 0 else a["dim"] + view.ndim
    left, right = np.split(view, 2, axis=axis)
    gate = add_functions(state, site, np.ascontiguousarray(right), Function("sigmoid"))
    return add_product(state, site, left, gate)


def _prelu(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
    """One slope is a table; p for each channel is x + relu((p - 1) x), or a form for p > 1."""
    slopes, view = constant_of(site, a["weight"], "slope"), a["self"]
    if np.unique(slopes).size == 1:
        slope = float(np.asarray(slopes).flat[0])
        return add_functions(state, site, view, Function("leaky_relu", (slope,)))
    if (view == ZERO).all():
        return view
    each, plain, sign = slopes.reshape(-1, *[1] * (view.ndim - 1)), np.asarray(slopes), 1.0
    if plain.min() < 1 < plain.max():
        bent = add_clip(state, site, add_scale(state, site, view, -1.0, 0.0), Clamp(lo=0.0))
        return add_sum(state, site, view, add_scale(state, site, bent, 1.0 - each, 0.0), 1.0)
    if plain.max() > 1:  # x - relu((1 - p) x)
        each, sign = 2.0 - each, -1.0
    bent = add_clip(state, site, add_scale(state, site, view, each - 1.0, 0.0), Clamp(lo=0.0))
    return add_sum(state, site, view, bent, sign)


def _binary(sign: float) -> Handler:
    def handler(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
        left, right = a["self"], a["other"]
        alpha = float(a.get("alpha", 1)) * sign
        if not isinstance(right, np.ndarray):
            offset = np.asanyarray(as_numpy(right), np.float64) * alpha
            return add_scale(state, site, left, 1.0, offset)
        if not isinstance(left, np.ndarray):
            return add_scale(state, site, right, alpha, as_numpy(left))
        if abs(alpha) != 1:
            right, alpha = add_scale(state, site, right, abs(alpha), 0.0), np.sign(alpha)
        wide, other = np.broadcast_arrays(left, right)
        return add_sum(state, site, wide.copy(), other.copy(), float(alpha))

    return handler


def add_sum(state: Capture, site: Site, left: IntArray, right: IntArray, sign: float) -> Any:
    pixels = as_pixels(left.shape)
    if (right == ZERO).all():
        return _stands_for(state, left, pixels)
    if (left == ZERO).all():
        if sign > 0:
            return _stands_for(state, right, pixels)
        return add_scale(state, site, right, -1.0, 0.0)
    views = (left.reshape(pixels), right.reshape(pixels))
    made = Add(**state.begin(site, Add, views, pixels), weight=np.array([1.0, sign]))
    return state.add(made).reshape(left.shape)


def _stands_for(state: Capture, view: IntArray, pixels: tuple[int, ...]) -> IntArray:
    """A sum with zero is its other operand, and the twin of the sums in other time steps."""
    twin = state.twin(Add, pixels)
    owners = state.draft.owners(view)
    maker = state.draft.producer(owners[0]) if len(owners) == 1 else None
    if maker is not None:
        state.draft.put(maker, replace(maker, twins=(*maker.twins, twin)))
    return view


def _rsub(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
    if isinstance(a["other"], np.ndarray):
        return add_sum(state, site, a["other"], a["self"], -1.0)
    return add_scale(state, site, a["self"], -1.0, as_numpy(a["other"]))


def _mul(divide: bool) -> Handler:
    """A product, or the quotient of data and a constant."""

    def handler(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
        left, right = a["self"], a["other"]
        if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
            return add_product(state, site, *np.broadcast_arrays(left, right))
        if not isinstance(left, np.ndarray):
            left, right = right, left
        factor = np.asanyarray(as_numpy(right), np.float64)
        if divide and not factor.all():
            raise site.refuse("a division by zero")
        if divide and a.get("rounding_mode") == "floor":
            return _rounded(state, site, left, 1.0 / factor)
        return add_scale(state, site, left, 1.0 / factor if divide else factor, 0.0)

    return handler


def add_product(state: Capture, site: Site, left: IntArray, right: IntArray) -> IntArray:
    """Element by element; where one factor is a constant zero, so is the product."""
    if (left == ZERO).all() or (right == ZERO).all():
        return np.full(left.shape, ZERO, np.int64)
    pixels = as_pixels(left.shape)
    views = (left.reshape(pixels).copy(), right.reshape(pixels).copy())
    return state.add(Product(**state.begin(site, Product, views, pixels))).reshape(left.shape)


def _floor(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
    """floor(x): the rounding of x - 0.5, ties towards +inf, which is what the core does."""
    return _rounded(state, site, a["self"], 1.0)


def _ceil(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
    """-floor(-x)"""
    floor = _rounded(state, site, a["self"], -1.0)
    if (floor == ZERO).all():
        return floor
    return add_scale(state, site, floor, -1.0, 0.0)


def _rounded(state: Capture, site: Site, view: IntArray, factor: FloatArray | float) -> Any:
    """floor(factor * x)."""
    if (view == ZERO).all():
        return np.full(view.shape, ZERO, np.int64)
    numbers = add_scale(state, site, view, factor, -0.5)
    if not isinstance(numbers, np.ndarray):  # a factor of zeros
        return np.full(view.shape, ZERO, np.int64)
    state.draft.put(state.draft.last, replace(state.draft.last, rounds=0))
    return numbers


def _floor_divide(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
    """x // constant."""
    return _mul(True)(state, site, {**a, "rounding_mode": "floor"}, shape)


def _round(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
    """round(x), ties to even: only where nothing is left to round (see passes/rounding.py)."""
    if a.get("decimals"):
        raise site.refuse("round() to decimals (the core rounds to binary fractions)")
    if (a["self"] == ZERO).all():
        return a["self"]
    view: IntArray = a["self"]
    made = RoundEven(**elementwise(state, site, view, RoundEven))
    return state.add(made).reshape(view.shape)


def _neg(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
    return add_scale(state, site, a["self"], -1.0, 0.0)


ELEMENTWISE: dict[str, Handler] = {
    **{
        operator: _known(known, arguments)
        for known in TABLE
        if known.does is not None
        for operator, arguments in known.aten.items()
    },
    "glu": _glu,
    "prelu": _prelu,
    "add": _binary(1.0),
    "sub": _binary(-1.0),
    "subtract": _binary(-1.0),
    "rsub": _rsub,
    "mul": _mul(False),
    "div": _mul(True),
    "floor_divide": _floor_divide,
    "floor": _floor,
    "ceil": _ceil,
    "round": _round,
    "neg": _neg,
}
