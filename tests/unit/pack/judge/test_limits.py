# SPDX-License-Identifier: Apache-2.0
"""Which limits a judgement breaks: given ones always, usual ones where they mean something."""

import pytest

from bramcast.pack.bundle.manifest import Judgement
from bramcast.pack.judge.limits import broken_limits
from bramcast.pack.recipe.recipe import ModelSection, PackSection, Recipe


def judgement(**fields):
    unknown = {
        "samples": 100, "snr": 40.0, "agreement": None, "accuracy": None, "float_accuracy": None,
        "error_growth": None, "worst_layer": None, "input_share": 0.0,
    }  # fmt: skip
    return Judgement(**(unknown | fields))


def broken(fields, pairs=(0, 0), **limits):
    recipe = Recipe(ModelSection("x.npz", onnx="net.onnx"), pack=PackSection(**limits))
    found = broken_limits(recipe, judgement(**fields), pairs)
    return [(b.key, b.limit, b.value, b.given) for b in found]


@pytest.mark.parametrize("snr, growth, said", [
    (15.0, None, False), (14.99, None, True), (14.99, 5.0, False), (14.99, 5.1, True),
    (None, None, False),
])  # fmt: skip
def test_the_usual_noise_is_none_of_an_autoencoder_that_keeps_its_error(snr, growth, said):
    found = broken({"snr": snr, "error_growth": growth})
    assert found == ([("min_snr", 15.0, 14.99, False)] if said else [])


def test_a_given_limit_takes_the_usual_ones_place():
    assert broken({"snr": 12.0}, min_snr=12.0) == []
    assert broken({"snr": 39.0}, min_snr=39.5) == [("min_snr", 39.5, 39.0, True)]
    assert broken({"snr": 2.0, "error_growth": 0.0}, min_snr=3.0) == [("min_snr", 3.0, 2.0, True)]


def test_classes_count_by_themselves_only_with_labels():
    labels = {"accuracy": 0.9, "float_accuracy": 0.9}
    assert broken({"agreement": 0.85}) == []
    assert broken({"agreement": 0.85} | labels) == [("min_agreement", 90.0, 85.0, False)]
    assert broken({"agreement": 0.9} | labels) == []
    assert broken({"agreement": 0.85}, min_agreement=86) == [("min_agreement", 86.0, 85.0, True)]


@pytest.mark.parametrize("pairs, said", [((8, 2), False), ((9, 1), True), ((16, 6), True)])
def test_the_usual_loss_must_be_more_than_chance(pairs, said):
    # (8, 2): 6 is not more than 2 * sqrt(10) = 6.3; (9, 1): 8 is; (16, 6): 10 > 9.4.
    found = broken({"accuracy": 0.84, "float_accuracy": 0.9}, pairs)
    assert found == ([("max_accuracy_loss", 1.0, 6.0, False)] if said else [])


def test_a_given_loss_counts_whatever_chance_may_do():
    fields = {"accuracy": 0.84, "float_accuracy": 0.9}
    assert broken(fields, (6, 0), max_accuracy_loss=6.0) == []
    assert broken(fields, (6, 0), max_accuracy_loss=5.9) == [("max_accuracy_loss", 5.9, 6.0, True)]
    assert broken({"accuracy": 0.9, "float_accuracy": 0.84}, (0, 6), max_accuracy_loss=0.0) == []
