# SPDX-License-Identifier: Apache-2.0
"""Arrays of samples and frames of the streams: order, planes, what is sent, where beats belong."""

from types import SimpleNamespace

import numpy as np
import pytest
from one_nest import core_of, nest

from bramcast.golden.frames import (
    arrays_from_beats,
    frames_from_arrays,
    in_stream_order,
    output_order,
    sent_values,
)
from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.manifest import Format, Frame, NestInfo
from bramcast.pack.bundle.program import Input

Q8 = Format(8, 4, True)


def test_frames_follow_the_strides_of_the_array():
    x = np.arange(2 * 3 * 4 * 5, dtype=np.float64).reshape(2, 3, 4, 5) / 16 - 3
    frame = Frame([3, 4, 5], [4, 5, 3], [5, 1, 20], Q8)  # channels first -> y, x, c
    assert np.array_equal(
        frames_from_arrays(x, frame), Q8.q.quantize(x.transpose(0, 2, 3, 1)).reshape(2, -1)
    )


def test_two_planes_keep_what_the_first_one_loses():
    frame = Frame([3], [1, 1, 3], [3, 3, 1], Format(8, 4, True), 2, 4)
    x = np.array([[1.0 + 3 / 256, -2.0 - 5 / 256, 100.0]])
    got = frames_from_arrays(x, frame)
    # 100 saturates: hi = 127, lo = the rest, saturated too
    assert got.tolist() == [[16, 3, -32, -5, 127, 127]]
    real = (got[:, ::2] + got[:, 1::2] / 16) / 16
    assert np.allclose(real[0, :2], x[0, :2])


def test_integer_frames_are_taken_as_they_are_or_refused():
    frame = Frame([2], [1, 1, 2], [2, 2, 1], Q8)
    assert frames_from_arrays(np.array([[-128, 127]]), frame).tolist() == [[-128, 127]]
    with pytest.raises(InputError, match=r"must lie in -128..127 .* got 0..128"):
        frames_from_arrays(np.array([[0, 128]]), frame)
    with pytest.raises(InputError, match="expected .samples, 2."):
        frames_from_arrays(np.zeros((1, 3)), frame)
    with pytest.raises(InputError, match="sample 1 has values that are not finite"):
        frames_from_arrays(np.array([[0.0, 1.0], [np.nan, 0.0]]), frame)
    two = Frame([2], [1, 1, 2], [2, 2, 1], Q8, 2, 4)
    with pytest.raises(InputError, match="quantized from floats only"):
        frames_from_arrays(np.array([[0, 1]]), two)


def test_ties_between_numbers_of_the_second_plane_go_up():
    frame = Frame([2], [1, 1, 2], [0, 0, 1], Q8, 2, 4)
    x = np.array([[1.0 + 3.5 / 256, -2.0 - 3.5 / 256]])
    assert frames_from_arrays(x, frame).tolist() == [[16, 4, -32, -3]]


def test_floats_are_rounded_with_ties_up_and_saturated():
    frame = Frame([6], [1, 1, 6], [0, 0, 1], Q8)
    x = np.array([[0.5, 1.5, -0.5, -1.5, 127.5, -129.0]]) / 16
    assert frames_from_arrays(x, frame).tolist() == [[1, 2, 0, -1, 127, -128]]


def test_offsets_and_exponents_are_those_of_a_pixels_features():
    # Channels first: 2 channels of 1x2 pixels; stream order is pixel by pixel.
    frame = Frame([2, 1, 2], [1, 2, 2], [2, 1, 2], Q8, exponents=[0, -2], offsets=[100.0, -8.0])
    x = np.array([[[[101.0, 99.5]], [[0.0, 4.0]]]])
    assert in_stream_order(x, frame).tolist() == [[101.0, 0.0, 99.5, 4.0]]
    assert sent_values(x, frame).tolist() == [[1.0, 2.0, -0.5, 3.0]]
    assert frames_from_arrays(x, frame).tolist() == [[16, 32, -8, 48]]
    # Integers are what is sent already.
    assert frames_from_arrays(x.astype(np.int64), frame).tolist() == [[101, 0, 99, 4]]


def test_beats_go_where_their_nests_pixels_and_channels_lie():
    """Two nests share 1x3 pixels of 3 channels, stored channels first: 0 and 2, then 1."""
    wide = {"stream": True, "last": True}
    even = nest((2, 1, 2, 1, 1, 1), tail=1, **wide)
    odd = nest((2, 1, 1, 1, 1, 1), tail=1, **wide)
    infos = [
        NestInfo(0, [2, 0, 1, -1], (0, 0), (1, 2)),
        NestInfo(0, [0, 1, 2, -1], (0, 1), (1, 1)),
    ]
    frame = Frame([3, 1, 3], [1, 3, 3], [3, 1, 3], Q8)
    machine = SimpleNamespace(
        core=core_of(2), program=[Input(1, 1, 0), even, odd],
        manifest=SimpleNamespace(outputs=[frame], output_elements=9, nests=infos),
    )  # fmt: skip
    # Group by group, pixel by pixel, lane by lane; element c * 3 + x of the output.
    assert output_order(machine).tolist() == [6, 0, 8, 2, 3, 5, 1, 4, 7]
    beats = np.array([[6, 0, 8, 2, 3, 5, 1, 4, 7]]) - 4
    integers, real = arrays_from_beats(beats, machine)
    assert integers.tolist() == [[[[-4, -3, -2]], [[-1, 0, 1]], [[2, 3, 4]]]]
    assert (real * 16).tolist() == integers.tolist()
