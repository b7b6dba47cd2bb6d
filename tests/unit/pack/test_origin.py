# SPDX-License-Identifier: Apache-2.0
"""provenance.json: where a bundle comes from."""

import hashlib
import json

import numpy as np
from support import bramcast, text_recipe

from bramcast.pack.bundle.provenance import read_provenance
from bramcast.pack.recipe.recipe import read_recipe

MODEL = "from torch import nn\n\ndef Net():\n    return nn.Sequential(nn.Linear(6, 4))\n"


def packed(folder, *arguments):
    rng = np.random.default_rng(0)
    state = {"0.weight": rng.normal(size=(4, 6)), "0.bias": rng.normal(size=4)}
    recipe = text_recipe(folder, MODEL, rng.normal(size=(40, 6)), state, "[core]\nlanes = 4\n")
    done = bramcast("pack", recipe, "-o", folder / "bundle", *arguments)
    assert done.returncode == 0, done.stderr
    return recipe


def test_a_bundle_says_what_it_was_packed_from(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    recipe = packed(tmp_path, "--set", "core.taps=2")
    told = read_provenance(tmp_path / "bundle")
    assert told.packed == "1970-01-02T00:00:00+00:00" and told.recipe == recipe.name
    assert told.command.startswith("bramcast pack ") and told.command.endswith("--set core.taps=2")
    weights = read_recipe(recipe).model.checkpoint
    digest = hashlib.sha256((tmp_path / weights).read_bytes()).hexdigest()
    assert told.files[weights] == digest and "model.py" in told.files and len(told.files) == 3
    assert "lanes = 4\ntaps = 2\n" in told.recipe_text
    assert set(told.versions) == {"bramcast", "Python", "torch", "numpy"}


def test_it_is_replaced_with_its_bundle_and_nothing_needs_it(tmp_path):
    packed(tmp_path)
    packed(tmp_path)
    bundle = tmp_path / "bundle"
    (bundle / "provenance.json").write_text("{")
    assert read_provenance(bundle) is None
    assert bramcast("golden", bundle, "--inputs", tmp_path / "inputs.npz").returncode == 0
    (bundle / "provenance.json").unlink()
    assert read_provenance(bundle) is None
    # A key that a later version has added is no mistake.
    (bundle / "provenance.json").write_text(json.dumps({"packed": "x", "new": 1}))
    assert read_provenance(bundle).packed == "x"
