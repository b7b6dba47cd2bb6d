# SPDX-License-Identifier: Apache-2.0
"""A power of two for each input feature (pack/passes/input_scales.py)."""

import json

import networks
import numpy as np
import pytest
import torch
from support import bramcast, write_recipe

from bramcast.golden.frames import arrays_from_beats, frames_from_arrays
from bramcast.golden.load import load
from bramcast.pack.bundle.errors import InputError, RecipeError
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.sim.regress.agree import compare_with_graph

AUTO = '[quantize]\ninput_exponents = "auto"\n'
SIZES = 2.0 ** -np.array([0, 3, 9, 14] * 24)  # of the 96 features


def uneven(folder, extra="", sizes=SIZES):
    """Mlp96 on features of very different sizes, each as important as the others."""
    recipe = write_recipe(folder, "Mlp96", extra, samples=64)
    x = np.load(folder / "inputs.npz")["x"]
    x[0] = np.abs(x).max()  # so that the largest magnitude of each feature is known
    np.savez(folder / "inputs.npz", x=x * sizes.astype(np.float32))
    state = networks.build("Mlp96", 0).state_dict()
    state["0.weight"] /= torch.from_numpy(sizes).float()
    torch.save(state, folder / "weights.pth")
    return recipe


def outputs(bundle, x):
    machine = load(bundle)
    frames = frames_from_arrays(x, machine.manifest.input)
    return frames, arrays_from_beats(machine.run(frames).beats, machine)[1]


def snr(recipe, folder):
    packed = pack(read_recipe(recipe), folder / "bundle")
    assert not compare_with_graph(packed, folder / "bundle", lambda *_: None, 8).mismatches
    with torch.no_grad():
        net = networks.build("Mlp96", 0)
        net.load_state_dict(torch.load(folder / "weights.pth", weights_only=True))
        real = net(torch.from_numpy(packed.inputs.x).float()).numpy()
    got = outputs(folder / "bundle", packed.inputs.x)[1]
    return 10 * np.log10((real**2).sum() / ((real - got) ** 2).sum())


def test_features_of_any_size_keep_their_share(tmp_path):
    plain = snr(uneven(tmp_path / "a", "[quantize]\ninput_planes = 1\n"), tmp_path / "a")
    scaled = snr(uneven(tmp_path / "b", AUTO), tmp_path / "b")
    assert plain < 10 < 30 < scaled


def test_the_manifest_says_what_the_sender_does(tmp_path):
    packed = pack(read_recipe(uneven(tmp_path, AUTO)), tmp_path / "bundle")
    frame = packed.manifest.input
    assert frame.exponents == [0, 3, 9, 14] * 24 and frame.planes == 1
    x = packed.inputs.x[1]
    by_hand = [
        np.clip(np.floor(float(value) * 2**e * 2**frame.format.frac + 0.5), -128, 127)
        for value, e in zip(x, frame.exponents, strict=True)
    ]
    assert outputs(tmp_path / "bundle", x[None])[0][0].tolist() == by_hand


def test_even_features_change_nothing(tmp_path):
    recipe = uneven(tmp_path / "a", AUTO, np.ones(96))
    plain = uneven(tmp_path / "b", "", np.ones(96))
    for path in (recipe, plain):
        pack(read_recipe(path), path.parent / "bundle")
    for name in ("weights.mem", "bias.mem", "program.mem"):
        a, b = ((folder / "bundle" / name).read_bytes() for folder in (recipe.parent, plain.parent))
        assert a == b


def test_two_planes_of_scaled_features(tmp_path):
    assert snr(uneven(tmp_path, AUTO + "input_planes = 2\n"), tmp_path) > 35


@pytest.mark.slow
@pytest.mark.ci
def test_time_steps_share_exponents_and_weights(tmp_path):
    words = []
    for extra in ("", AUTO):
        recipe = write_recipe(tmp_path / f"n{len(extra)}", "GruNet", extra, samples=32)
        x = np.load(recipe.parent / "inputs.npz")["x"]
        x[..., 0] *= 100.0
        np.savez(recipe.parent / "inputs.npz", x=x)
        packed = pack(read_recipe(recipe), recipe.parent / "bundle")
        agreement = compare_with_graph(packed, recipe.parent / "bundle", lambda *_: None, 4)
        assert agreement.elements and not agreement.mismatches
        words.append(next(i.used for i in packed.manifest.images if i.name == "weights"))
        frame = packed.manifest.input
    rows = np.array(frame.exponents).reshape(6, 7)  # step, feature
    assert (rows == rows[0]).all() and rows[0, 0] == 0 and rows[0, 1:].min() >= 4
    assert words[1] < 1.5 * words[0]  # without sharing the six steps would take several times


def test_what_has_no_weights_for_each_feature_is_refused(tmp_path):
    recipe = write_recipe(tmp_path, "Conv1dNet", AUTO)
    (tmp_path / "model.py").write_text(
        "from torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(nn.MaxPool1d(3), nn.Conv1d(6, 2, 3))\n"
    )
    state = {"1.weight": torch.ones(2, 6, 3), "1.bias": torch.zeros(2)}
    torch.save(state, tmp_path / "weights.pth")
    lines = recipe.read_text().splitlines()
    lines[2] = 'python = "model.py:build"'
    recipe.write_text("\n".join(lines))
    with pytest.raises(RecipeError, match="input_exponents: the input is read by layer .*MaxPool"):
        pack(read_recipe(recipe), tmp_path / "bundle")


def test_another_number_of_exponents_is_refused(tmp_path):
    recipe = uneven(tmp_path, "[quantize]\ninput_exponents = [1, 2]\n")
    with pytest.raises(RecipeError, match="2 numbers, the network has 96 input features"):
        pack(read_recipe(recipe), tmp_path / "bundle")


def test_a_manifest_with_too_few_is_refused(tmp_path):
    pack(read_recipe(uneven(tmp_path, AUTO)), tmp_path / "bundle")
    path = tmp_path / "bundle" / "manifest.json"
    document = json.loads(path.read_text())
    document["input"]["exponents"].pop()
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match="input: exponents: 95, but c has 96"):
        load(tmp_path / "bundle")


def test_a_retrained_network_keeps_the_old_exponents(tmp_path):
    recipe = uneven(tmp_path, AUTO)
    pack(read_recipe(recipe), tmp_path / "old")
    state = torch.load(tmp_path / "weights.pth", weights_only=True)
    torch.manual_seed(1)
    state["0.weight"] *= 1 + 0.01 * torch.randn_like(state["0.weight"])
    torch.save(state, tmp_path / "new.pth")
    call = ("regress", tmp_path / "old", tmp_path / "new.pth", "--recipe", recipe, "--json")
    done = bramcast(*call, "--inputs", recipe)
    assert json.loads(done.stdout)["verdict"] == "drop-in", done.stdout
    recipe.write_text(recipe.read_text().replace(AUTO, "[quantize]\ninput_planes = 1\n"))
    pack(read_recipe(recipe), tmp_path / "other")
    done = bramcast("regress", tmp_path / "old", tmp_path / "other", "--inputs", recipe)
    assert "input exponents" in done.stdout


def test_pack_proposes_them(tmp_path):
    recipe = uneven(tmp_path)
    arrays = np.load(tmp_path / "inputs.npz")
    np.savez(tmp_path / "inputs.npz", x=arrays["x"][:63])  # no even number
    done = bramcast("pack", recipe, "-o", tmp_path / "bundle")
    assert 'quantize.input_exponents = "auto"' in done.stderr
