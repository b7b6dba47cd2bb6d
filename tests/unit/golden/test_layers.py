# SPDX-License-Identifier: Apache-2.0
"""Rows of sub-words as the layers' arrays, put together by hand."""

from types import SimpleNamespace

import numpy as np
from one_nest import core_of, nest

from bramcast.golden.layers import layer_results
from bramcast.golden.machine import NestResult, Results
from bramcast.pack.bundle.manifest import Format, LayerInfo, NestInfo
from bramcast.pack.bundle.program import Input


def test_rows_go_to_their_channels_and_pixels():
    """LANES = TAPS = 2: a lane-wise nest of two groups of 4 and 1 over 1x2 pixels of channels 4 3
    2 1 0, whose rows are (group 0: pixel 0 sub 0, 1, pixel 1 sub 0, 1; group 1: pixel 0, pixel 1),
    and a stream nest with one channel for each of both pixels."""
    stored = nest((2, 1, 2, 1, 1, 1), tail=1, lanewise=True)
    sent = nest((1, 1, 2, 1, 1, 1), tail=1, stream=True, last=True)
    layers = [
        LayerInfo("a", "Linear", [1, 2, 5], Format(8, 4, True), 1, ""),
        LayerInfo("b", "Linear", [1, 2, 1], Format(32, 4, True), 1, ""),
    ]
    infos = [NestInfo(0, [4, 3, 2, 1, 0, -1, -1, -1]), NestInfo(1, [0, -1])]
    machine = SimpleNamespace(
        core=core_of(2, 2), program=[Input(1, 1, 0), stored, sent],
        manifest=SimpleNamespace(layers=layers, nests=infos),
    )  # fmt: skip
    rows = [[14, 13], [12, 11], [24, 23], [22, 255], [128, 0], [20, 0]]
    beats = [[200, 0], [-70000, 0]]
    results = Results(
        np.zeros((1, 2), np.int64),
        (
            NestResult(1, np.zeros(6, np.int64), np.array([rows], np.int32)),
            NestResult(2, np.zeros(2, np.int64), np.array([beats], np.int32)),
        ),
    )
    a, b = layer_results(machine, results)
    assert (a.layer.name, b.layer.name) == ("a", "b")
    expected = [[-128, 20], [11, -1], [12, 22], [13, 23], [14, 24]]
    assert a.values[:, :, 0].tolist() == [expected]
    assert b.values.tolist() == [[[[200, -70000]]]]


def test_two_nests_share_a_layer_and_unsigned_bits_stay_as_they_are():
    layer = LayerInfo("a", "Conv2d", [2, 3, 1], Format(8, 0, False), 1, "")
    even = nest((1, 2, 2, 1, 1, 1), tail=1)
    odd = nest((1, 2, 1, 1, 1, 1), tail=1)
    infos = [NestInfo(0, [0, -1], (0, 0), (1, 2)), NestInfo(0, [0, -1], (0, 1), (1, 1))]
    machine = SimpleNamespace(
        core=core_of(2), program=[Input(1, 1, 0), even, odd],
        manifest=SimpleNamespace(layers=[layer], nests=infos),
    )  # fmt: skip
    first = [[1, 0], [3, 0], [4, 0], [255, 0]]
    second = [[2, 0], [5, 0]]
    results = Results(
        np.zeros((1, 0), np.int64),
        tuple(
            NestResult(number, np.zeros(len(rows), np.int64), np.array([rows], np.int32))
            for number, rows in ((1, first), (2, second))
        ),
    )
    (a,) = layer_results(machine, results)
    assert a.values.tolist() == [[[[1, 2, 3], [4, 5, 255]]]]
