# SPDX-License-Identifier: Apache-2.0
"""Limits of classes, what samples can decide, and the states of a table's lines."""

from types import SimpleNamespace

import numpy as np
import pytest

from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.recipe.recipe import RegressSection
from bramcast.sim.regress.evaluate import LayerPair, Outputs, Range
from bramcast.sim.regress.quality import Check, ClassScore, class_checks, quality


def scored(classes):
    """Limits' lines for classes of (samples, only old right, only new right)."""
    scores = [
        ClassScore(i, n, 1 - won / n, 1 - lost / n, lost, won)
        for i, (n, lost, won) in enumerate(classes)
    ]
    return {
        check.name.split(" (")[0]: check.state for check in class_checks(RegressSection(), scores)
    }


def test_a_class_of_three_that_is_gone_is_named():
    harmless = [(66, 1, 1)] * 9
    assert scored([*harmless, (3, 3, 0)])["class 9"] in ("open", "BROKEN")
    assert scored([*harmless, (3, 1, 0)])["class 9"] == ""
    assert scored([*harmless, (60, 40, 0)])["class 9"] == "BROKEN"
    assert scored([*harmless, (60, 3, 1)])["class 9"] == "ok"


@pytest.mark.parametrize("classes", [10, 35])
def test_many_classes_break_no_limit_by_chance(classes):
    rng = np.random.default_rng(5)
    broken = open_ = 0
    for _ in range(400):
        # A harmless retraining: 2 % lost, 2 % won; 60 samples each.
        draws = rng.multinomial(60, [0.02, 0.02, 0.96], size=classes)
        states = scored([(60, int(b), int(c)) for b, c, _ in draws]).values()
        broken += "BROKEN" in states
        open_ += "open" in states
    assert broken / 400 < 0.05 and open_ / 400 < 0.1


def manifest(snr=None):
    layers = [SimpleNamespace(snr=snr)]
    return SimpleNamespace(
        output_layers=layers, outputs=[SimpleNamespace(name="")], float_accuracy=None
    )


def judged(limits, old, new, y=None, snr=(None, None)):
    seen = Range(QFormat(8, 0))
    seen.observe(np.array([127, 0, 0, 0]))
    pairs = [LayerPair("fc", None, seen)]
    manifests = tuple(manifest(value) for value in snr)
    found = quality(limits, manifests, SimpleNamespace(y=y), old, new, pairs)
    return found, {check.name: check for check in found.checks}


def labelled(right):
    """Outputs of a network that has some of the samples right, all of class 0."""
    right = np.array(right, bool)
    return Outputs(
        np.where(right, 0, 1), float(right.mean()), None, np.zeros((len(right), 2)), right
    )


def test_a_loss_is_proven_excluded_or_open():
    half, n = np.arange(2000) % 2 == 0, 2000
    y = np.zeros(n, int)
    same = labelled(np.ones(n))
    found, checks = judged(RegressSection(), same, same, y)
    assert checks["accuracy"].state == "ok" and found.interval[1] < 2
    assert checks["same class as old"].new == "100.00 %"
    assert judged(RegressSection(), same, labelled(half), y)[1]["accuracy"].state == "BROKEN"
    found, checks = judged(RegressSection(), labelled([1] * 20), labelled([1] * 19 + [0]), y[:20])
    assert checks["accuracy"].state == "open" and found.needed > 20


def test_an_agreement_has_its_interval_around_the_limit():
    def state(same, n, limit=90.0):
        old = Outputs(np.zeros(n, int), None, None, np.zeros((n, 2)))
        new = Outputs((np.arange(n) >= same).astype(int), None, None, np.zeros((n, 2)))
        limits = RegressSection(min_agreement=limit)
        return judged(limits, old, new)[1]["same class as old"].state

    assert state(980, 1000) == "ok"
    assert state(850, 1000) == "BROKEN"
    assert state(890, 1000) == "open"
    assert state(9, 10) == "open"


def test_without_labels_few_samples_that_change_their_class_are_another_function():
    def state(same, n):
        old = Outputs(np.zeros(n, int), None, None, np.ones((n, 2)))
        new = Outputs((np.arange(n) >= same).astype(int), None, None, -np.ones((n, 2)))
        return judged(RegressSection(), old, new)[1]["same class as old"].state

    assert [state(same, 100) for same in (100, 30, 70)] == ["ok", "BROKEN", "open"]


@pytest.mark.parametrize("new, state", [(17.5, "ok"), (16.9, "BROKEN"), (None, "BROKEN")])
def test_noise_may_grow_by_three_decibels_where_nothing_else_judges(new, state):
    same = Outputs(np.zeros(50, int), None, None, np.ones((50, 2)))
    checks = judged(RegressSection(), same, same, snr=(20.0, new))[1]
    assert checks["output against float"].limit == "17 dB"
    assert checks["output against float"].state == state


def test_saturation_is_that_of_the_worst_layer():
    same = Outputs(np.zeros(50, int), None, None, np.ones((50, 2)))
    for limit, state in ((None, ""), (25.0, "ok"), (24.0, "BROKEN")):
        checks = judged(RegressSection(max_saturation=limit), same, same)[1]
        assert checks["most saturated layer"].new == "25.00 % (fc)"
        assert checks["most saturated layer"].state == state


def test_a_line_is_broken_before_it_is_open_and_ok_only_with_a_limit():
    assert Check("x", "", "", "1", "bad", "perhaps").state == "BROKEN"
    assert Check("x", "", "", "1", "", "perhaps").state == "open"
    assert (Check("x", "", "", "1").state, Check("x", "", "").state) == ("ok", "")
