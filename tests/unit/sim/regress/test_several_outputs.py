# SPDX-License-Identifier: Apache-2.0
"""A retrained network with several outputs: every one of them is judged."""

import json
from dataclasses import replace

import numpy as np
import pytest
import several
import torch
from several import write_recipe
from support import bramcast

from bramcast.pack.bundle.errors import InputError, RecipeError
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import OutputLimits, RegressSection, read_recipe
from bramcast.pack.samples.inputs import read_inputs
from bramcast.sim.regress.candidates import with_formats
from bramcast.sim.regress.regress import regress

COUNT = 400
X = np.random.default_rng(0).normal(size=(COUNT, 20)).astype(np.float32)
LABELS = several.answers("Heads", X)[0].argmax(1)


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    folder = tmp_path_factory.mktemp("old")
    pack(read_recipe(write_recipe(folder, "Heads", samples=COUNT, y=LABELS)), folder / "bundle")
    return folder


def retrained(old, folder, key, factor):
    """A bundle in the old one's formats, one of whose parameters is another."""
    folder.mkdir()
    state = torch.load(old / "weights.pth")
    state[key] = state[key] * factor
    torch.save(state, folder / "weights.pth")
    recipe = read_recipe(old / "recipe.toml")
    recipe = with_formats(recipe, load_manifest(old / "bundle"))
    recipe = replace(recipe, model=replace(recipe.model, checkpoint=str(folder / "weights.pth")))
    pack(recipe, folder / "bundle")
    return folder / "bundle"


def load_manifest(bundle):
    from bramcast.pack.bundle.manifest import read_manifest

    return read_manifest(bundle)


def judged(old, new, **limits):
    inputs = read_inputs(old / "inputs.npz")
    return regress(old / "bundle", new, inputs, RegressSection(**limits))


def test_the_same_network_is_a_drop_in_on_every_output(old):
    result = judged(old, old / "bundle")
    assert result.verdict == "drop-in"
    names = [check.name for check in result.checks]
    assert "output output1: same class as old" in names
    assert [n for n in names if n.endswith("against float")] == [
        "output output0 against float", "output output1 against float",
    ]  # fmt: skip


def test_an_output_without_labels_that_is_another_one_is_worse(old, tmp_path):
    """The head with labels is what it was; the other one says the opposite."""
    new = retrained(old, tmp_path / "new", "place.weight", -1.0)
    result = judged(old, new)
    assert result.verdict == "worse"
    assert next(check for check in result.checks if check.name == "accuracy").state == "ok"
    assert any(
        reason.startswith("output output1: without labels: ") and "another function" in reason
        for reason in result.reasons
    )


def test_limits_of_an_output_hold_for_it_alone(old, tmp_path):
    """Half as large is 6 dB off: alike to 6, not to 7 dB; the classes of two numbers stay."""
    new = retrained(old, tmp_path / "new", "place.weight", 0.5)
    passes = judged(old, new, outputs={"output1": OutputLimits(min_alike=4.0)})
    assert passes.verdict == "drop-in"
    fails = judged(old, new, outputs={"output1": OutputLimits(min_alike=9.0)})
    assert fails.verdict == "worse"
    assert any(r.startswith("output output1: the results are ") for r in fails.reasons)
    low = judged(old, new, outputs={"output1": OutputLimits(min_alike=4.0, min_snr=90.0)})
    assert any("the output output1's signal to noise is " in r for r in low.reasons)
    both = OutputLimits(min_alike=4.0, min_agreement=100.0)
    same = judged(old, new, outputs={"output1": both})
    assert "output output1: same class as old" in [check.name for check in same.checks]


def test_a_limit_of_no_output_and_other_outputs_are_refused(old, tmp_path):
    with pytest.raises(RecipeError, match=r'regress\.outputs\."boxes": .* there are output0, o'):
        judged(old, old / "bundle", outputs={"boxes": OutputLimits(min_snr=3.0)})
    text = json.loads((old / "bundle" / "manifest.json").read_text())
    other = tmp_path / "other"
    other.mkdir()
    for file in (old / "bundle").iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    text["more_outputs"][0]["name"] = "place"
    (other / "manifest.json").write_text(json.dumps(text | {"sha256": None}))
    with pytest.raises(InputError, match="its outputs are output0, place, those of .* nothing to"):
        judged(old, other)


def test_the_command_line_takes_limits_from_the_recipe(old, tmp_path):
    recipe = tmp_path / "limits.toml"
    model = '[model]\ncheckpoint = "w.pth"\ninputs = "i.npz"\n'
    recipe.write_text(f"{model}[regress.outputs.output1]\nmin_snr = 90\n")
    bundle, inputs = old / "bundle", old / "inputs.npz"
    done = bramcast("regress", bundle, bundle, "--inputs", inputs, "--recipe", recipe, "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["verdict"] == "worse" and "output output1" in told["reasons"][0]
    recipe.write_text(f"{model}[regress.outputs.output1]\nmin_snt = 90\n")
    done = bramcast("regress", bundle, bundle, "--inputs", inputs, "--recipe", recipe)
    assert done.returncode == 2
    assert "regress.outputs.output1.min_snt: unknown key; did you mean 'min_snr'?" in done.stderr
