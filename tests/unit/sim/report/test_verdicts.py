# SPDX-License-Identifier: Apache-2.0
"""The words at the head of a report, and the rules behind them."""

import shutil

import numpy as np
import pytest
from support import ROOT

from bramcast.pack.bundle.manifest import BrokenLimit, Judgement, read_manifest
from bramcast.pack.samples.inputs import Inputs
from bramcast.sim.regress.evaluate import Outputs
from bramcast.sim.report.verdicts import (
    REGRESSION_RULES,
    Judged,
    golden_verdict,
    images_verdict,
    packing_verdict,
    verdicts,
)

BUNDLE = ROOT / "tests" / "data" / "bundles" / "digits_mlp"
MANIFEST = read_manifest(BUNDLE)
LABELS = np.arange(400) % 10


def judged(wrong, float_wrong, known=400, labels=LABELS):
    """Golden and the float network give another class for so many of the first samples."""
    answers = np.where(np.arange(400) < wrong, (labels + 1) % 10, labels)
    of_float = np.where(np.arange(400) < float_wrong, (labels + 1) % 10, labels)
    real, exact = np.eye(10)[answers], np.eye(10)[of_float][:known]
    right = answers == labels
    inputs = Inputs(BUNDLE, np.zeros((400, 64)), labels, np.zeros((1, 64)))
    outputs = Outputs(answers, float(right.mean()), None, real, right)
    return Judged(inputs, outputs, np.arange(known), exact, real[:known])


@pytest.mark.parametrize(
    "wrong, float_wrong, known, word",
    [
        (0, 0, 400, "as float"),
        (8, 0, 400, "BELOW FLOAT"),  # 2 points, 8 to 0
        (4, 0, 400, "as float"),  # 1 point: the limit itself
        (8, 8, 400, "as float"),
        (2, 0, 20, "as float"),  # 10 points of 20 samples: 2 to 0 may be chance
        (8, 0, 0, "measured"),
        (360, 360, 400, "GUESSING"),  # a tenth is right, and a tenth has the most frequent label
        (300, 0, 400, "BELOW FLOAT"),
    ],
)
def test_accuracy_has_a_word_by_its_rule(wrong, float_wrong, known, word):
    found = golden_verdict(MANIFEST, judged(wrong, float_wrong, known))
    assert found.word == word and found.rule.startswith(f"{'as float' * word.startswith('B')}")
    bad = word in ("GUESSING", "BELOW FLOAT")
    assert found.state == ("bad" if bad else "open" if word == "measured" else "good")
    assert f"accuracy {100 - wrong / 4:.2f} %" in found.text


def test_without_labels_noise_decides():
    rng = np.random.default_rng(0)
    exact = rng.normal(size=(50, 3))
    inputs = Inputs(BUNDLE, np.zeros((50, 64)), None, np.zeros((1, 64)))
    for noise, word in ((0.01, "as float"), (0.5, "FAR")):
        got = exact + noise * rng.normal(size=exact.shape)
        outputs = Outputs(got.argmax(axis=1), None, None, got)
        found = golden_verdict(MANIFEST, Judged(inputs, outputs, np.arange(50), exact, got))
        assert found.word == word and found.rule == "as float: at least 15 dB"


def test_packing_that_broke_a_limit_is_not_called_close():
    judgement = Judgement(samples=9, snr=12.5, agreement=0.5)
    assert packing_verdict(judgement).word == "close"
    broken = [BrokenLimit("min_agreement", 90.0, 50.0, False)]
    found = packing_verdict(Judgement(samples=9, snr=12.5, agreement=0.5, broken=broken))
    assert found.word == "LOSES" and found.state == "bad" and "50.00 % of the samples" in found.text
    assert packing_verdict(None) is None


def test_altered_images_are_told(tmp_path):
    shutil.copytree(BUNDLE, tmp_path / "b")
    assert images_verdict(tmp_path / "b", MANIFEST).word == "intact"
    weights = tmp_path / "b" / "weights.mem"
    weights.write_text(weights.read_text().replace("0", "1", 1))
    found = images_verdict(tmp_path / "b", MANIFEST)
    assert found.word == "MODIFIED" and found.state == "bad" and "weights.mem" in found.text


def test_what_was_not_run_is_no_verdict():
    found = list(verdicts(BUNDLE, MANIFEST, None, None, None))
    assert [v.word for v in found if v.state == "open"] == ["not run", "not run"]


def test_every_verdict_of_regress_has_its_rule_in_the_docs():
    text = (ROOT / "docs" / "regression.md").read_text()
    assert all(f"| `{word}` |" in text for word in REGRESSION_RULES)
