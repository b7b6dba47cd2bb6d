# SPDX-License-Identifier: Apache-2.0
"""Signal to noise of what varies, classes, and limits in words: by hand and by the definition."""

import numpy as np
import pytest

from bramcast.pack.bundle.judgement import (
    EQUAL_DB,
    Moments,
    broken_text,
    classes_of,
    decibels,
    has_classes,
    is_class_vector,
    varying,
)
from bramcast.pack.bundle.manifest import BrokenLimit


@pytest.mark.parametrize("parts", [(12,), (1, 11), (5, 4, 3), (1,) * 12])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_batches_add_up_to_the_definition(parts, offset):
    rng = np.random.default_rng(0)
    exact = rng.normal(size=(12, 3)) * [1.0, 5.0, 0.0] + offset
    got = exact + rng.normal(size=(12, 3)) * 0.1
    seen = Moments(3)
    for part in np.split(np.arange(12), np.cumsum(parts)[:-1]):
        seen.observe(exact[part], got[part])
    signal = ((exact - exact.mean(axis=0)) ** 2).sum() / 12
    noise = ((got - exact) ** 2).sum() / 12
    assert seen.signal == pytest.approx(signal, rel=1e-6)
    assert seen.decibels() == pytest.approx(10 * np.log10(signal / noise), abs=0.01)
    assert varying(exact) == pytest.approx(signal, rel=1e-6)


def test_what_does_not_vary_is_no_signal():
    seen = Moments(2)
    assert seen.signal is None and seen.decibels() is None
    seen.observe(np.full((4, 2), 7.0), np.zeros((4, 2)))
    assert seen.signal is None and seen.decibels() is None
    assert varying(np.array([[1.0], [1.0 + 1e-7]])) is None  # 1e-14 / 4 of the power


def test_decibels_are_rounded_and_end_where_results_are_equal():
    assert decibels(2.0, 0.001) == 33.01
    assert decibels(1.0, 2.0) == -3.01
    assert decibels(5.0, 0.0) == decibels(5.0, 1e-30) == EQUAL_DB


def test_the_first_of_the_largest_outputs_is_the_class():
    pictures = np.array([[[1.0, 2.0]], [[-3.0, -3.0]]])
    assert classes_of(pictures, 0.0).tolist() == [1, 0]


@pytest.mark.parametrize("middle", [0.0, 0.5])
def test_a_single_output_is_class_1_only_above_the_middle(middle):
    outputs = middle + np.array([[-0.25], [0.0], [0.25]])
    assert classes_of(outputs, middle).tolist() == [0, 0, 1]


def test_which_outputs_are_classes():
    assert not has_classes([1], [8], False)
    assert not has_classes([2, 4], [8], False)
    assert has_classes([2, 4], [8], True)
    assert [is_class_vector(s) for s in ([1, 2], [2, 1, 1], [1, 1], [2, 2])] == [
        True, True, False, False
    ]  # fmt: skip


def test_broken_limits_say_value_limit_and_key():
    assert broken_text(BrokenLimit("min_snr", 15.0, 12.34, True)) == (
        "pack.min_snr = 15 is broken: the output has 12.3 dB of signal to noise on what varies "
        "between samples"
    )
    assert broken_text(BrokenLimit("min_snr", 15.0, 12.34, False)).endswith(
        "(usual: 15 dB; pack.min_snr is a limit)"
    )
