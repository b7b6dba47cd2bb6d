# SPDX-License-Identifier: Apache-2.0
"""Convolutions, matrix products and BatchNorm as operations. Imports torch."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from bramcast.pack.capture.elementwise import add_scale, known_values
from bramcast.pack.capture.state import (
    Capture,
    Handler,
    Site,
    as_numpy,
    constant_of,
    two_axes,
)
from bramcast.pack.capture.traced import tensor_of
from bramcast.pack.capture.transposed import Axis, all_phases, from_one_pixel
from bramcast.pack.graph.ops import Dense, Depthwise
from bramcast.pack.graph.tensor import ZERO, FloatArray, IntArray, as_pixels
from bramcast.pack.graph.window import Window


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """A convolution's constants; weight [O, I / groups, KY, KX], bias [O], float64."""

    view: IntArray
    weight: FloatArray
    bias: FloatArray
    window: Window
    groups: int

    def add(self, state: Capture, site: Site, out: tuple[int, int, int], macs: int) -> IntArray:
        """Append it as the kind that it is; the result's numbers."""
        weight, bias, window, views = self.weight, self.bias, self.window, (self.view,)
        if self.groups == len(self.view) and weight.shape[1] == 1 and self.groups > 1:
            common = state.begin(site, Depthwise, views, out, macs)
            return state.add(Depthwise(**common, weight=weight, bias=bias, window=window))
        common = state.begin(site, Dense, views, out, macs)
        made = Dense(**common, weight=weight, bias=bias, window=window, groups=self.groups)
        return state.add(made)


def _convolution(one_axis: bool) -> Handler:
    def handler(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
        view = a["input"]
        weight = constant_of(site, a["weight"], "weight")
        bias = a.get("bias")
        if (view == ZERO).all():
            each = np.zeros(len(weight)) if bias is None else constant_of(site, bias, "bias")
            return known_values(np.broadcast_to(each.reshape(-1, *[1] * (len(shape) - 1)), shape))
        if one_axis:  # rows of several places beside each other are a picture already
            weight = weight[:, :, None, :]
            view = view[:, None, :] if view.ndim == 2 else view
        stride, dilation = two_axes(a["stride"], one_axis, 1), two_axes(a["dilation"], one_axis, 1)
        kernel = (int(weight.shape[2]), int(weight.shape[3]))
        padding = _conv_padding(a.get("padding", 0), one_axis, kernel, dilation)
        out_shape = as_pixels(shape)
        macs = int(np.prod(out_shape)) * int(np.prod(weight.shape[1:]))
        groups, outputs = int(a["groups"]), int(weight.shape[0])
        rows = np.zeros(outputs) if bias is None else constant_of(site, bias, "bias")
        layer = _Layer(view, weight, rows, Window(kernel, stride, dilation, padding), groups)
        return layer.add(state, site, out_shape, macs).reshape(shape)

    return handler


def _transposed_convolution(one_axis: bool) -> Handler:
    """One convolution with the channels of all phases (transposed.py); pixels in their order."""

    def handler(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> IntArray:
        view, weight = a["input"], constant_of(site, a["weight"], "weight")
        if one_axis:
            view, weight = view[:, None, :], weight[:, :, None, :]
        weight = _dilated(weight, two_axes(a["dilation"], one_axis, 1))
        groups, each = int(a["groups"]), int(weight.shape[1])
        stride, padding = two_axes(a["stride"], one_axis, 1), two_axes(a["padding"], one_axis, 0)
        size = as_pixels(shape)[1:]
        y, x = (
            Axis(weight.shape[2 + i], stride[i], padding[i], view.shape[1 + i], size[i])
            for i in (0, 1)
        )
        bias = a.get("bias")
        bias = np.zeros(groups * each) if bias is None else constant_of(site, bias, "bias")
        if view.shape[1:] == (1, 1) and groups == 1:  # from one pixel: a Linear
            matrix = from_one_pixel(y, x, weight)
            rows = np.concatenate([bias] * (size[0] * size[1]))
            flat = add_matrix_product(state, site, view[:, 0, 0], matrix, rows, (len(rows),))
            if not isinstance(flat, np.ndarray):
                raise site.refuse("its input is a constant zero")
            pixels = flat.reshape(*size, each).transpose(2, 0, 1)
            return np.ascontiguousarray(pixels).reshape(shape)
        made = all_phases(y, x, weight, bias, groups)
        shown = view[:, slice(*y.crop), slice(*x.crop)]
        layer = _Layer(shown, made.weight, made.bias, made.window, groups)
        phases = (len(made.bias), y.count, x.count)
        numbers = layer.add(state, site, phases, int(view[0].size * weight.size))
        picture = numbers.reshape(groups, y.stride, x.stride, each, y.count, x.count)
        picture = picture.transpose(0, 3, 4, 1, 5, 2)
        picture = picture.reshape(groups * each, y.count * y.stride, x.count * x.stride)
        return np.ascontiguousarray(picture[:, : size[0], : size[1]]).reshape(shape)

    return handler


def _dilated(weight: FloatArray, dilation: tuple[int, int]) -> FloatArray:
    """A kernel [I, O, KY, KX] with zeros between its elements."""
    if dilation == (1, 1):
        return weight
    for axis, step in zip((2, 3), dilation, strict=True):
        parts = [weight] + [np.zeros(weight.shape)] * (step - 1)
        shape = list(weight.shape)
        shape[axis] *= step
        weight = np.stack(parts, axis=axis + 1).reshape(shape)
        index = [slice(None)] * 4
        index[axis] = slice(0, shape[axis] - step + 1)
        weight = weight[tuple(index)]
    return weight


def _conv_padding(
    value: Any, one_axis: bool, kernel: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int, int, int]:
    if value == "valid":
        return 0, 0, 0, 0
    if value == "same":
        total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        top, left = total[0] // 2, total[1] // 2
        return top, left, total[0] - top, total[1] - left
    rows, columns = two_axes(value, one_axis, 0)
    return rows, columns, rows, columns


def _linear(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
    weight, bias = constant_of(site, a["weight"], "weight"), a.get("bias")
    outputs = np.zeros(len(weight)) if bias is None else constant_of(site, bias, "bias")
    return add_matrix_product(state, site, a["input"], weight, outputs, shape)


def _matmul(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
    """x @ weight with a constant matrix; addmm adds a constant."""
    left = a["mat1"] if "mat1" in a else a["self"]
    right = a["other"] if "other" in a else a["mat2"]
    if not isinstance(left, np.ndarray) or isinstance(right, np.ndarray) or right.dim() != 2:
        raise site.refuse("a matrix product that is not data times a constant matrix")
    weight = as_numpy(right).T
    bias = np.zeros(len(weight))
    if "mat1" in a:
        if a["beta"] != 1 or a["alpha"] != 1:
            raise site.refuse("addmm with factors")
        bias = np.broadcast_to(constant_of(site, a["self"], "bias"), bias.shape)
    return add_matrix_product(state, site, left, weight, bias, shape)


def add_matrix_product(
    state: Capture,
    site: Site,
    view: IntArray,
    weight: FloatArray,
    bias: FloatArray,
    shape: tuple[int, ...],
) -> Any:
    """weight @ x + bias over the last axis; a constant where all of x is zero."""
    if (view == ZERO).all():
        return tensor_of(np.broadcast_to(bias, (1, *shape)))
    lead = view.shape[:-1]
    height, width = (prod(lead[:-1]), lead[-1]) if lead else (1, 1)
    pixels = view.reshape(height, width, view.shape[-1]).transpose(2, 0, 1)
    outputs, fan_in = weight.shape
    views, out = (np.ascontiguousarray(pixels),), (outputs, height, width)
    common = state.begin(site, Dense, views, out, int(height * width * outputs * fan_in))
    numbers = state.add(Dense(**common, weight=weight[:, :, None, None], bias=bias))
    return np.ascontiguousarray(numbers.transpose(1, 2, 0)).reshape(shape)


def _batch_norm(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
    if a.get("training") or a.get("running_mean") is None:
        raise site.refuse("BatchNorm without running statistics")
    view: IntArray = a["input"]
    mean, variance = as_numpy(a["running_mean"]), as_numpy(a["running_var"])
    gamma = np.ones_like(mean) if a.get("weight") is None else as_numpy(a["weight"])
    beta = np.zeros_like(mean) if a.get("bias") is None else as_numpy(a["bias"])
    factor = gamma / np.sqrt(variance + float(a["eps"]))
    offset = beta - mean * factor
    axes = (-1,) + (1,) * (view.ndim - 1)
    return add_scale(state, site, view, factor.reshape(axes), offset.reshape(axes))


LINEAR: dict[str, Handler] = {
    "conv1d": _convolution(True),
    "conv2d": _convolution(False),
    "conv_transpose1d": _transposed_convolution(True),
    "conv_transpose2d": _transposed_convolution(False),
    "linear": _linear,
    "batch_norm": _batch_norm,
    "matmul": _matmul,
    "mm": _matmul,
    "addmm": _matmul,
}
