# SPDX-License-Identifier: Apache-2.0
"""A softmax at the end is left out of the images; a single output has an accuracy, too."""

import json

import numpy as np
import pytest
import torch
from support import cli
from torch import nn

from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.pack.train import qat

MODEL = """
import torch
from torch import nn
import torch.nn.functional as F

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, {outputs})

    def forward(self, x):
        x = self.fc(x)
        return {last}
"""
IMAGES = ("program.mem", "weights.mem", "bias.mem")


def recipe_of(folder, last, outputs=4, **arrays):
    folder.mkdir(exist_ok=True)
    (folder / "model.py").write_text(MODEL.format(last=last, outputs=outputs))
    torch.manual_seed(0)
    layer = nn.Linear(6, outputs)
    torch.save({"fc.weight": layer.weight, "fc.bias": layer.bias}, folder / "w.pth")
    arrays.setdefault("x", np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32))
    np.savez(folder / "inputs.npz", **arrays)
    recipe = folder / "recipe.toml"
    recipe.write_text(
        '[model]\npython = "model.py:Net"\ncheckpoint = "w.pth"\ninputs = "inputs.npz"\n'
    )
    return recipe


@pytest.mark.parametrize(
    "last", ["F.log_softmax(x, dim=1)", "torch.softmax(x, -1)", "nn.LogSoftmax(1)(x).view(-1, 4)"]
)
def test_images_are_those_of_the_network_without_its_softmax(last, tmp_path):
    packed = pack(read_recipe(recipe_of(tmp_path / "a", last)), tmp_path / "with")
    pack(read_recipe(recipe_of(tmp_path / "b", "x")), tmp_path / "without")
    for image in IMAGES:
        with_, without = (tmp_path / name / image for name in ("with", "without"))
        assert with_.read_bytes() == without.read_bytes()
    assert len(packed.notes) == 1 and "softmax at the end is left out" in packed.notes[0]


@pytest.mark.parametrize(
    ("last", "says"),
    [
        ("torch.softmax(x.view(-1, 2, 3), 2)", "within each of the 2 groups of 3 along its axis"),
        ("torch.softmax(x.view(-1, 2, 3), 1)", "within each of the 3 groups of 2 along its axis"),
        ("torch.softmax(x, 1)", "of which the largest stays the largest"),
    ],
)
def test_a_softmax_keeps_the_order_along_its_axis_only(last, says, tmp_path):
    packed = pack(read_recipe(recipe_of(tmp_path / "a", last, outputs=6)), tmp_path / "b")
    (note,) = (note for note in packed.notes if "softmax" in note)
    assert note.endswith(says) or f"{says}, and not between them" in note


@pytest.mark.parametrize("last", ["torch.softmax(x, 1) * 2", "torch.relu(F.log_softmax(x, 1))"])
def test_a_softmax_in_the_middle_is_refused(last, tmp_path, capsys):
    code, _, err = cli(capsys, "pack", recipe_of(tmp_path / "a", last), "-o", tmp_path / "b")
    assert code == 2 and "softmax" in err and "model.py:13" in err
    assert not (tmp_path / "b").exists()


def test_retraining_has_the_softmax_in_its_loss(tmp_path):
    """So that the same criterion, here nll_loss, trains the wrapped network."""
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32))
    got, logits = (
        qat.load(recipe_of(tmp_path / name, last))(x)
        for name, last in (("a", "F.log_softmax(x, dim=1)"), ("b", "x"))
    )
    assert torch.equal(got, logits.log_softmax(1)) and not torch.equal(got, logits)


@pytest.mark.parametrize("last, middle", [("x", 0.0), ("torch.sigmoid(x)", 0.5)])
def test_a_single_output_is_right_above_its_middle(last, middle, tmp_path, capsys):
    x = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    torch.manual_seed(0)
    layer = nn.Linear(6, 1)
    with torch.no_grad():
        logits = layer(torch.from_numpy(x))[:, 0].numpy()
    y = (logits > 0).astype(np.int64)
    y[np.argsort(-np.abs(logits))[:3]] ^= 1  # three labels that the network has wrong, for sure
    recipe = recipe_of(tmp_path / "net", last, outputs=1, x=x, y=y)
    code, out, err = cli(capsys, "pack", recipe, "-o", tmp_path / "bundle", "--json")
    assert code == 0, err
    assert json.loads(out)["float_accuracy"] == 17 / 20
    code, out, err = cli(capsys, "golden", tmp_path / "bundle", "--inputs", recipe, "--json")
    assert json.loads(out)["accuracy"] == pytest.approx(17 / 20, abs=1 / 20 + 1e-9)


def test_a_single_output_with_other_labels_has_no_accuracy(tmp_path, capsys):
    y = np.arange(20)
    recipe = recipe_of(tmp_path / "net", "x", outputs=1, y=y)
    code, out, _ = cli(capsys, "pack", recipe, "-o", tmp_path / "bundle", "--json")
    assert code == 0 and json.loads(out)["float_accuracy"] is None
