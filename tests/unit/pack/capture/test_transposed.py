# SPDX-License-Identifier: Apache-2.0
"""Transposed convolutions as ordinary ones, against the definition: each pixel adds its weights to
the result's pixels."""

import numpy as np
import pytest

from bramcast.pack.capture.transposed import Axis, all_phases, from_one_pixel


def scattered(x, weight, bias, groups, axes):
    """The definition: pixel i meets weight k at i * stride - padding + k. x [I, H, W]."""
    y, across = axes
    each, (inputs, height, width) = weight.shape[1], x.shape
    result = np.zeros((groups * each, y.out, across.out))
    for i, h, w, o, ky, kx in np.ndindex(inputs, height, width, *weight.shape[1:]):
        row = h * y.stride - y.padding + ky
        column = w * across.stride - across.padding + kx
        if 0 <= row < y.out and 0 <= column < across.out:
            out = i // (inputs // groups) * each + o
            result[out, row, column] += x[i, h, w] * weight[i, o, ky, kx]
    return result + bias[:, None, None]


def by_phases(x, made):
    """The one convolution, and its channels (group, phase y, phase x, channel) put in place."""
    top, left, bottom, right = made.window.padding
    (low_y, end_y), (low_x, end_x) = made.y.crop, made.x.crop
    padded = np.pad(x[:, low_y:end_y, low_x:end_x], ((0, 0), (top, bottom), (left, right)))
    ky, kx = made.window.kernel
    per_group = len(x) // made.groups
    phases = made.y.stride * made.x.stride
    each = len(made.weight) // made.groups // phases
    result = np.zeros((made.groups * each, made.y.out, made.x.out))
    for o, j, i in np.ndindex(len(made.weight), made.y.count, made.x.count):
        group, rest = divmod(o, phases * each)
        phase, channel = divmod(rest, each)
        row = j * made.y.stride + phase // made.x.stride
        column = i * made.x.stride + phase % made.x.stride
        if row < made.y.out and column < made.x.out:
            part = padded[group * per_group : (group + 1) * per_group, j : j + ky, i : i + kx]
            result[group * each + channel, row, column] = (part * made.weight[o]).sum()
            result[group * each + channel, row, column] += made.bias[o]
    return result


def axis(kernel, stride, padding, size, output_padding=0):
    out = (size - 1) * stride - 2 * padding + kernel + output_padding
    return Axis(kernel, stride, padding, size, out)


AXES = [
    (axis(3, 2, 1, 4, 1), axis(2, 2, 0, 3)),
    (axis(4, 2, 1, 3), axis(5, 3, 2, 2, 1)),
    (axis(1, 2, 0, 3), axis(3, 1, 1, 4)),
    (axis(2, 3, 0, 3, 2), axis(3, 1, 0, 2)),
    (axis(5, 2, 4, 5), axis(3, 2, 2, 4)),
]


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("axes", AXES)
def test_the_phases_put_together_are_the_transposed_convolution(axes, groups):
    rng = np.random.default_rng(0)
    x = rng.integers(-5, 6, (4, axes[0].size, axes[1].size)).astype(float)
    weight = rng.integers(-5, 6, (4, 3, axes[0].kernel, axes[1].kernel)).astype(float)
    bias = rng.integers(-5, 6, 3 * groups).astype(float)
    made = all_phases(*axes, weight, bias, groups)
    expected = scattered(x, weight, bias, groups, axes)
    np.testing.assert_array_equal(by_phases(x, made), expected)


@pytest.mark.parametrize("axes", [(axis(4, 1, 0, 1), axis(3, 1, 1, 1)), (
    axis(3, 2, 0, 1, 1), axis(5, 3, 1, 1, 2))])  # fmt: skip
def test_a_single_pixel_makes_a_picture_by_one_matrix(axes):
    rng = np.random.default_rng(1)
    x = rng.integers(-5, 6, (3, 1, 1)).astype(float)
    weight = rng.integers(-5, 6, (3, 2, axes[0].kernel, axes[1].kernel)).astype(float)
    matrix = from_one_pixel(*axes, weight)
    picture = (matrix @ x[:, 0, 0]).reshape(axes[0].out, axes[1].out, 2)
    expected = scattered(x, weight, np.zeros(2), 1, axes)
    np.testing.assert_array_equal(picture.transpose(2, 0, 1), expected)
