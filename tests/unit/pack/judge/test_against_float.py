# SPDX-License-Identifier: Apache-2.0
"""Which samples judge, and by how much an autoencoder's error grows."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
from graphs import Made, named

from bramcast.pack.judge import against_float
from bramcast.pack.judge.against_float import _growth, judged_samples


def test_the_growth_is_of_squared_errors_against_the_input_in_percent():
    wanted = np.array([[1.0, 2.0], [3.0, 4.0]])
    exact, got = wanted + [[1.0, 0.0], [0.0, 1.0]], wanted + [[1.0, 0.5], [-0.5, 1.0]]
    assert _growth(wanted, exact, got) == 25.0  # 2 becomes 2.5
    assert _growth(wanted, got, exact) == -20.0
    assert _growth(wanted, wanted, got) is None


def test_all_samples_judge_or_as_many_as_are_cheap(monkeypatch):
    made = Made(2)
    graph = made.graph(made.dense("fc", made.x, [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    graph = graph.with_ops([replace(named(graph, "fc"), macs=6)])
    inputs = SimpleNamespace(x=np.zeros((50, 2)))
    assert judged_samples(graph, inputs).tolist() == list(range(50))
    each = 6 + 16 * 3  # multiply-adds, and 16 for each of 3 results
    monkeypatch.setattr(against_float, "MOST_STEPS", 20 * each + each - 1)
    some = judged_samples(graph, inputs)
    assert len(some) == len(set(some.tolist())) == 20
    assert (np.diff(some) > 0).all() and 0 <= some[0] and some[-1] < 50
    assert some.tolist() != list(range(20))
    monkeypatch.setattr(against_float, "MOST_RESULTS", 3 * 7 + 2)
    assert len(judged_samples(graph, inputs)) == 7
    monkeypatch.setattr(against_float, "MOST_STEPS", 1)
    assert len(judged_samples(graph, inputs)) == 1
