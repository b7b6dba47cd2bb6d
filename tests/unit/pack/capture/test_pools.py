# SPDX-License-Identifier: Apache-2.0
"""Windows and divisors of pools, counted element by element."""

import numpy as np
import pytest

from bramcast.pack.capture.pools import _divisors, _window
from bramcast.pack.graph.window import Window


@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize("kernel, stride, padding, size, outputs", [
    (3, 2, 1, 7, 4), (3, 2, 1, 8, 5), (2, 2, 0, 5, 3), (4, 3, 2, 6, 3),
])  # fmt: skip
def test_a_divisor_counts_elements_and_perhaps_the_padding(
    kernel, stride, padding, size, outputs, include
):
    """The last window may reach beyond the padding (ceil_mode): what is there never counts."""
    counted = range(-padding, size + padding) if include else range(size)
    expected = [
        sum(start * stride - padding + tap in counted for tap in range(kernel))
        for start in range(outputs)
    ]
    assert _divisors(outputs, kernel, stride, padding, size, include).tolist() == expected


def test_a_window_gets_the_padding_that_its_last_result_needs():
    view = np.zeros((1, 8, 5))
    arguments = {"kernel_size": [3, 2], "stride": [2, 2], "padding": [1, 0]}
    # Rows: results start at -1, 1, .. 7 and end at 9: 2 behind 8. Columns: 0, 2, 4 to 5: 1 behind.
    found = _window(arguments, False, view, (1, 5, 3))
    assert found == Window((3, 2), (2, 2), (1, 1), (1, 0, 2, 1))
    assert _window(arguments, False, view, (1, 4, 2)).padding == (1, 0, 0, 0)


def test_without_a_stride_windows_lie_side_by_side_and_holes_widen_them():
    view = np.zeros((1, 9, 9))
    found = _window({"kernel_size": [3, 3], "stride": []}, False, view, (1, 3, 3))
    assert found == Window((3, 3), (3, 3))
    dilated = {"kernel_size": [3, 3], "stride": [1, 1], "dilation": [4, 2]}
    assert _window(dilated, False, view, (1, 2, 5)).padding == (0, 0, 1, 0)
