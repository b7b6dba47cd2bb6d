# SPDX-License-Identifier: Apache-2.0
"""tune finds narrow weights that keep a limit, and writes a recipe that packs to just that."""

import json
import subprocess
import sys
import tomllib

import networks
import numpy as np
import pytest
import torch
from support import DIGITS, model_recipe, write_recipe

from bramcast.golden.frames import arrays_from_beats, frames_from_arrays
from bramcast.golden.load import load
from bramcast.pack.bundle.errors import InputError, RangeError
from bramcast.pack.pipeline import pack
from bramcast.pack.prepare import prepare
from bramcast.pack.recipe.edit import with_widths
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.pack.samples.inputs import read_inputs
from bramcast.pack.train.tune import Limit, tune


def silent(what: str, done: int, of: int) -> None:
    pass


def bramcast(*arguments, cwd=None):
    command = [sys.executable, "-c", "from bramcast.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def golden_outputs(bundle, x):
    machine = load(bundle)
    beats = machine.run(frames_from_arrays(x, machine.manifest.input)).beats
    return arrays_from_beats(beats, machine)


def found(recipe, loss=0.5, snr=None):
    return tune(prepare(read_recipe(recipe)), Limit(loss, snr), silent)


SENSITIVE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.same, self.near = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)

    def forward(self, x):
        return self.near(self.same(x).relu())
"""


def sensitive_recipe(folder, extra=""):
    """Ones and zeros, which 2 bits hold, then rows whose difference 4 bits do not hold."""
    (folder / "model.py").write_text(SENSITIVE)
    near = torch.tensor([[1.0, 0.06], [0.94, 0.12]])
    torch.save({"same.weight": torch.eye(2), "near.weight": near}, folder / "weights.pth")
    rng = np.random.default_rng(0)
    x = rng.uniform(0.1, 0.99, size=(400, 2)).astype(np.float32)
    x = x[np.abs(x[:, 0] - x[:, 1]) > 0.1]
    np.savez(folder / "inputs.npz", x=x, y=(x[:, 1] > x[:, 0]).astype(np.int64))
    recipe = folder / "recipe.toml"
    recipe.write_text(
        '[model]\npython = "model.py:Net"\ncheckpoint = "weights.pth"\ninputs = "inputs.npz"\n'
        + extra
    )
    return recipe


def test_a_layer_that_needs_its_bits_keeps_them(tmp_path):
    tuned = found(sensitive_recipe(tmp_path), loss=0.0)
    assert {v.name: v.bits for v in tuned.layers} == {"same": 2, "near": 8}
    assert {v.name: v.weights for v in tuned.layers} == {"same": 4, "near": 4}
    assert tuned.weight_bits == 4 * 2 + 4 * 8
    assert [s.weight_bits for s in tuned.steps][0] == 64
    assert tuned.after[0].accuracy == 1.0 == tuned.reference[0].accuracy
    # Half of all samples may be lost: the tie goes to class 0.
    assert {v.name: v.bits for v in found(tmp_path / "recipe.toml", loss=60.0).layers} == {
        "same": 2,
        "near": 2,
    }


def test_widths_of_the_recipe_stay(tmp_path):
    given = '[quantize.layers."same"]\nweight_bits = 4\n'
    tuned = found(sensitive_recipe(tmp_path, given), loss=0.0)
    assert {v.name: (v.bits, v.given) for v in tuned.layers} == {
        "same": (4, True),
        "near": (8, False),
    }
    assert [s.layer for s in tuned.steps] == [""]


def test_the_tuned_recipe_packs_to_what_was_promised(tmp_path):
    done = bramcast(
        "tune", DIGITS / "mlp.toml", "--loss", "0.5", "-o", tmp_path / "sub" / "tuned.toml",
        "--bundle", tmp_path / "bundle", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    recipe = read_recipe(tmp_path / "sub" / "tuned.toml")
    with np.load(DIGITS / "inputs.npz") as file:
        x, y = file["x"].astype(np.float32), file["y"]
    integers, _ = golden_outputs(tmp_path / "bundle", x)
    accuracy = (integers.reshape(len(x), -1).argmax(axis=1) == y).mean()
    assert said["samples"][0]["samples"] == "x"
    assert accuracy == said["samples"][0]["accuracy"]
    assert accuracy >= said["samples"][0]["float_accuracy"] - 0.005
    assert said["weight_bits"] < 8 * sum(v["weights"] for v in said["layers"])
    assert said["weight_bits"] == sum(v["weights"] * v["weight_bits"] for v in said["layers"])
    lines = (tmp_path / "bundle" / "weights.mem").read_text().split()
    assert len([v for v in lines if not v.startswith(("/", "@"))]) == said["words"]
    assert said["words"] < said["steps"][0]["words"]
    assert recipe.name == "digits_mlp" and recipe.core.narrow is True
    # Packed once more from the recipe alone: the same images.
    pack(recipe, tmp_path / "again")
    for name in ("weights.mem", "bias.mem", "program.mem"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "bundle" / name).read_bytes()


def test_without_labels_the_signal_to_noise_decides(tmp_path):
    recipe = write_recipe(tmp_path, "Mlp96", samples=40)
    with pytest.raises(InputError, match=r"inputs.npz: has no labels.*--snr"):
        found(recipe)
    tuned = found(recipe, snr=20.0)
    assert tuned.after[0].accuracy is None
    widths = {v.name: v.bits for v in tuned.layers}
    assert min(widths.values()) < 8
    target = tmp_path / "other" / "tuned.toml"
    target.parent.mkdir()
    target.write_text(with_widths(read_recipe(recipe), widths, target))
    packed = pack(read_recipe(target), tmp_path / "bundle")
    _, real = golden_outputs(tmp_path / "bundle", packed.inputs.x)
    with torch.no_grad():
        exact = networks.build("Mlp96")(torch.from_numpy(packed.inputs.x)).numpy()
    snr = -10 * np.log10(((real - exact) ** 2).sum() / (exact**2).sum())
    assert snr >= 20.0 and snr == pytest.approx(tuned.after[0].snr, abs=0.01)


@pytest.mark.slow
@pytest.mark.ci
def test_what_cannot_be_judged_is_said(tmp_path):
    few = write_recipe(tmp_path / "few", "Mlp96", samples=6)
    with pytest.raises(InputError, match="x has 6 samples"):
        found(few, snr=20.0)
    recipe = write_recipe(tmp_path / "some", "Mlp96", samples=40)
    with pytest.raises(RangeError, match="less than --snr 95: ask for less"):
        found(recipe, snr=95.0)
    done = bramcast("tune", recipe)
    assert done.returncode == 2 and "has no labels" in done.stderr
    assert not (recipe.parent / "recipe_tuned.toml").exists()
    done = bramcast("tune", recipe, "-o", recipe)
    assert done.returncode == 2 and "is the recipe itself" in done.stderr


def test_labelled_calibration_samples_decide_and_the_others_must_agree(tmp_path):
    recipe = sensitive_recipe(tmp_path)
    with np.load(tmp_path / "inputs.npz") as file:
        x, y = file["x"].astype(np.float32), file["y"]
    # On the calibration samples everything is class 0, whatever the widths are.
    easy = x[y == 0]
    np.savez(tmp_path / "inputs.npz", x=x, y=y, x_cal=easy, y_cal=y[y == 0])
    tuned = found(recipe, loss=0.0)
    assert [s.samples for s in tuned.after] == ["x_cal", "x"]
    assert [s.accuracy for s in tuned.after] == [1.0, 1.0]
    assert {v.name: v.bits for v in tuned.layers}["near"] == 8


def test_the_recipe_keeps_its_text_and_its_paths_are_moved(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    text = (
        "# my network\n[model]\npython = 'net.py:build'  # the module\ncheckpoint = 'w.pth'\n"
        "inputs = '../data/x.npz'\n\n[core]  # small\nlanes = 4\n"
    )
    (tmp_path / "a" / "kws.toml").write_text(text)
    recipe = read_recipe(tmp_path / "a" / "kws.toml")
    widths = {"fc.1": 2, "fc.2": 8}
    moved = with_widths(recipe, widths, tmp_path / "b" / "tuned.toml")
    assert "# my network\n" in moved and "  # the module" in moved and "[core]  # small" in moved
    assert tomllib.loads(moved) == {
        "model": {
            "python": "../a/net.py:build", "checkpoint": "../a/w.pth", "inputs": "../data/x.npz",
            "name": "kws",
        },
        "core": {"lanes": 4, "narrow": True},
        "quantize": {"layers": {"fc.1": {"weight_bits": 2}}},
    }  # fmt: skip
    same = tomllib.loads(with_widths(recipe, {"fc.2": 8}, tmp_path / "a" / "tuned.toml"))
    assert same == {**tomllib.loads(text), "model": {**tomllib.loads(text)["model"], "name": "kws"}}


@pytest.mark.slow
def test_recurrent_layers_get_one_width(tmp_path):
    tuned = found(DIGITS / "gru.toml", loss=1.0)
    widths = {v.name: v.bits for v in tuned.layers}
    assert tuned.after[0].accuracy >= tuned.reference[0].accuracy - 0.01
    target = tmp_path / "tuned.toml"
    target.write_text(with_widths(read_recipe(DIGITS / "gru.toml"), widths, target))
    packed = pack(read_recipe(target), tmp_path / "bundle")
    for op in packed.graph.ops:
        if op.macs:
            assert packed.quantized[op.name].weight_bits == widths[op.layer or op.name]


@pytest.mark.slow
def test_a_keyword_spotter_loses_bits_and_keeps_its_accuracy(tmp_path):
    recipe = model_recipe(tmp_path, "kws_dscnn_mlperf")
    target = tmp_path / "tuned.toml"
    done = bramcast("tune", recipe, "-o", target, "--bundle", tmp_path / "bundle", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    with np.load(read_recipe(target).file(read_recipe(target).model.inputs)) as file:
        x, y = file["x"].astype(np.float32), file["y"]
    integers, _ = golden_outputs(tmp_path / "bundle", x)
    accuracy = (integers.reshape(len(x), -1).argmax(axis=1) == y).mean()
    assert accuracy >= 0.9469 - 0.005
    total = sum(v["weights"] for v in said["layers"])
    assert said["weight_bits"] < 0.95 * 8 * total
    assert said["words"] < said["steps"][0]["words"]


@pytest.mark.parametrize(
    "labels, said",
    [
        (np.zeros(3, np.int64), "y_cal must be 4 integer labels"),
        (np.zeros(4, np.float32), "got float32"),
    ],
)
def test_calibration_labels_are_checked(labels, said, tmp_path):
    x = np.zeros((6, 2), np.float32)
    np.savez(tmp_path / "inputs.npz", x=x, y=np.zeros(6, np.int64), x_cal=x[:4], y_cal=labels)
    with pytest.raises(InputError, match=said):
        read_inputs(tmp_path / "inputs.npz")
