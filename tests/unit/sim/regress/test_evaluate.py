# SPDX-License-Identifier: Apache-2.0
"""What layers do with their formats, how alike two of them are, and where networks part."""

from types import SimpleNamespace

import numpy as np
import pytest

from bramcast.pack.bundle.qformat import QFormat
from bramcast.sim.regress import evaluate
from bramcast.sim.regress.evaluate import LayerPair, Likeness, Range, layer_pairs, suspect


def test_saturation_and_headroom_by_hand():
    seen = Range(QFormat(8, 4))
    seen.observe(np.array([-128, 127, 5, 126]))
    assert (seen.saturated, seen.headroom) == (0.5, 0.0)
    relu = Range(QFormat(8, 4, signed=False))
    relu.observe(np.array([0, 0, 51, 17]))
    assert relu.saturated == 0 and relu.headroom == np.log2(5)


def test_the_layer_where_networks_part():
    seen = Range(QFormat(8, 4))
    pairs = []
    for name, both in (("a", 0.99), ("b", 0.95), ("c", 0.3), ("d", 0.5), ("e", 0.29)):
        pairs.append(LayerPair(name, seen, seen, Likeness(both=both, power=1.0)))
    pair, before = suspect(pairs)
    assert (pair.name, before) == ("c", 0.95)
    assert suspect([LayerPair("a", None, seen, None)]) is None


def test_what_is_seen_in_parts_adds_up():
    seen = Range(QFormat(4, 0))
    for part in ([-8, 3], [7, 7, 0], [1]):
        seen.observe(np.array(part))
    assert (seen.low, seen.high, seen.clipped, seen.count) == (-8, 7, 3, 6)
    assert Range(QFormat(4, 0)).saturated == 0
    assert Range(QFormat(4, 0)).headroom == np.inf


def test_likeness_is_of_all_parts_together():
    like = Likeness()
    like.observe(np.array([1.0, 2.0]), np.array([2.0, 1.0]))
    like.observe(np.array([3.0]), np.array([0.0]))
    assert like.value == 2 * (2 + 2 + 0) / (5 + 5 + 9 + 0)
    assert Likeness().value == 1.0


def test_layers_of_one_name_and_shape_are_compared_as_real_numbers(monkeypatch):
    def machine(**layers):
        infos = [
            SimpleNamespace(name=n, shape=shape, format=SimpleNamespace(q=QFormat(8, frac)))
            for n, (shape, frac, _) in layers.items()
        ]
        values = {n: v for n, (_, _, v) in layers.items()}
        return SimpleNamespace(manifest=SimpleNamespace(layers=infos), values=values)

    def results(machine, samples):
        return [(n, np.full(len(samples), v)) for n, v in machine.values.items()]

    monkeypatch.setattr(evaluate, "_layers", results)
    old = machine(a=([1, 1, 2], 4, 16), b=([1, 1, 2], 4, 32), c=([1, 1, 2], 0, 1))
    new = machine(a=([1, 1, 2], 5, 32), b=([1, 1, 2], 4, 16), d=([1, 1, 3], 0, -128))
    a, b, d = layer_pairs(old, new, SimpleNamespace(x=np.zeros((70, 1))))
    assert (a.name, a.like.value, a.old.count, a.new.count) == ("a", 1.0, 70, 70)
    assert b.like.value == 2 * 2 * 1 / (4 + 1)
    assert (d.old, d.like, d.new.saturated) == (None, None, 1.0)


@pytest.mark.parametrize("likes, expected", [
    ((0.9, 0.95, 0.4), ("2", 0.9)), ((1.0, 1.0), None), ((0.2, 0.1), ("0", 1.0)),
])  # fmt: skip
def test_the_suspect_is_where_most_is_lost_at_once(likes, expected):
    seen = Range(QFormat(8, 4))
    pairs = [LayerPair(str(i), seen, seen, Likeness(v, 1.0)) for i, v in enumerate(likes)]
    found = suspect(pairs)
    assert (None if found is None else (found[0].name, found[1])) == expected
