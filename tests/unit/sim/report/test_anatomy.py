# SPDX-License-Identifier: Apache-2.0
"""Words, weights and work of nests, counted by hand."""

from types import SimpleNamespace

import numpy as np
from one_nest import Bench, core_of, nest

from bramcast.pack.bundle.manifest import Format, LayerInfo
from bramcast.sim.report.anatomy import ReportLayer, Span, _spans, _steps, _weights, _words


def test_steps_of_loops_are_each_counted_once():
    one = nest((2, 1, 3, 2, 1, 2), weight=(10, 0, 0, 2, 0, 1))
    assert _steps(one, range(1, 6)).tolist() == [0, 1, 2, 3]
    assert _steps(one, range(6)).tolist() == [0, 1, 2, 3, 10, 11, 12, 13]
    over = nest((1, 1, 1, 3, 1, 3), weight=(0, 0, 0, 1, 0, 1))
    assert _steps(over, range(6)).tolist() == [0, 1, 2, 3, 4]


def test_spans_join_neighbours_over_all_parts():
    assert _spans([np.array([7, 3]), np.array([4, 4, 9])]) == [Span(3, 5), Span(7, 8), Span(9, 10)]


def test_words_of_each_image():
    core = core_of(4)
    one = nest(
        (2, 1, 3, 1, 1, 4), weight=(4, 0, 0, 0, 0, 1), weight_base=6, bias_base=8, bias_step=4,
        tail=3, narrow=1, table=True, table_base=2,
    )  # fmt: skip
    assert _words([one], core, [5]) == {
        "program": [Span(160, 192)],
        "weights": [Span(3, 7)],  # steps 6 to 13, two in a word
        "bias": [Span(8, 15)],  # one entry a word: 4 of the first group, 3 of the last
        "table": [Span(512, 768)],
    }
    largest = nest((1,) * 6, lanewise=True, max=True, tail=1)
    assert _words([largest], core, [0]) == {"program": [Span(0, 32)], "bias": [Span(0, 1)]}


def test_weights_are_those_of_lanes_with_a_channel():
    core = core_of(2, 2)
    dense = nest((2, 1, 1, 1, 1, 2), weight=(2, 0, 0, 0, 0, 1), weight_base=1, tail=1)
    lane_wise = nest((1, 1, 1, 1, 1, 2), weight=(0, 0, 0, 0, 0, 1), tail=3, lanewise=True)
    bench = Bench(core, dense)
    machine = SimpleNamespace(core=core, memories=bench.memories)
    w = bench.weights  # a word: lanes 0, 1 of tap 0, then of tap 1
    expected = [w[s, t + lane] for s in (1, 2) for t in (0, 2) for lane in (0, 1)]
    expected += [w[s, t] for s in (3, 4) for t in (0, 2)]
    expected += [w[s, lane] for s in (0, 1) for lane in (0, 2, 3)]
    got = _weights(machine, [dense, lane_wise], [[0, 1, 2, -1], [5, -1, 6, 7]])
    assert got.tolist() == expected


def test_the_share_of_multipliers_that_work():
    info = LayerInfo("h", "Linear", [1, 1, 4], Format(8, 0, True), 1, "")

    def layer(macs, *cycles):
        return ReportLayer((info, info), (0, 1), (), np.zeros(0, np.int64), {}, cycles, macs)

    busy = layer(120, Span(10, 20), Span(40, 45))
    assert (busy.name, busy.busy, busy.share(16)) == ("h x 2", 15, 0.5)
    assert layer(241, Span(10, 20), Span(40, 45)).share(16) == 0.0  # more than there was room for
