# SPDX-License-Identifier: Apache-2.0
"""Networks with several inputs: an array for each, one behind the other, each in its own format."""

import json
import warnings

import numpy as np
import pytest
import several
import torch
from several import samples_of, write_recipe
from several_packed import packed_like_the_graph
from support import bramcast, in_all, text_recipe

from bramcast.api.bundle import Bundle
from bramcast.golden.frames import as_samples, frames_from_arrays, frames_of, outputs_from_beats
from bramcast.golden.load import load
from bramcast.pack.bundle.errors import InputError, RecipeError
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.sim.regress.candidates import with_formats

CORES = {
    "8 lanes": (8, 1, 8, 1),
    "4 lanes, 4 taps": (4, 4, 8, 1),
    "4 lanes of 16 bits": (4, 1, 16, 1),
    "4 lanes, 2 taps, 4 tiles": (4, 2, 8, 4),
}


def outputs_of(bundle, x):
    machine = load(bundle)
    frames = frames_of(as_samples(x, machine.manifest), machine.manifest)
    return outputs_from_beats(machine.run(frames).beats, machine)


@pytest.mark.parametrize("core", [in_all(core, when=core != "8 lanes") for core in CORES])
@pytest.mark.parametrize("name", several.INPUTS)
def test_the_results_are_what_pytorch_says(name, core, tmp_path):
    _, bundle = packed_like_the_graph(name, CORES[core], tmp_path)
    x = samples_of(name, 40)
    want = several.answers(name, x)
    for one, wanted in zip(outputs_of(bundle, x), want, strict=True):
        assert one.real.shape == wanted.shape
        noise = ((one.real - wanted) ** 2).sum() / (wanted**2).sum()
        assert 10 * np.log10(noise) < -25, "less than 25 dB between signal and quantization noise"


def test_each_input_is_a_packet_of_the_frame(tmp_path):
    """7 elements of the state, 8 x 10 x 3 of the image."""
    pack(read_recipe(write_recipe(tmp_path, "PictureAndVector")), tmp_path / "bundle")
    frame = load(tmp_path / "bundle").frame
    assert frame.packets == (7,) and frame.packet_elements == (7, 240)


@pytest.mark.parametrize("count", [12, 13])
def test_more_than_twelve_inputs_are_one_packet(count, tmp_path):
    names = [f"x{n}" for n in range(count)]
    model = "import torch\n\n\nclass Net(torch.nn.Module):\n"
    model += "    def __init__(self):\n        super().__init__()\n"
    model += "        self.scale = torch.nn.Parameter(torch.ones(1))\n"
    model += f"    def forward(self, {', '.join(names)}):\n"
    model += f"        return torch.cat([{', '.join(names)}], 1) * self.scale\n"
    x = np.random.default_rng(1).normal(size=(4, 2)).astype(np.float32)
    recipe = text_recipe(tmp_path, model, x, {"scale": [0.7]}, "[core]\nlanes = 4\n")
    np.savez(tmp_path / "inputs.npz", **dict.fromkeys(names, x))
    pack(read_recipe(recipe), tmp_path / "bundle")
    assert load(tmp_path / "bundle").frame.packets == ((2,) * 11 if count == 12 else ())


def test_the_manifest_has_a_frame_for_each_in_its_own_format(tmp_path):
    """State is a hundred times as large as the image: 64 of that are made up for."""
    pack(read_recipe(write_recipe(tmp_path, "PictureAndVector")), tmp_path / "bundle")
    text = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert list(text)[-3:] == ["more_inputs", "more_outputs", "sha256"]
    state, image = text["input"], *text["more_inputs"]
    assert (state["name"], image["name"]) == ("state", "image")
    assert image["format"]["frac"] - state["format"]["frac"] == 6
    assert (state["dims"], state["strides"]) == ([1, 1, 7], [0, 0, 1])
    assert (image["dims"], image["strides"]) == ([8, 10, 3], [10, 1, 80])  # pixel by pixel


def test_frames_are_those_of_each_input_one_behind_the_other(tmp_path):
    pack(read_recipe(write_recipe(tmp_path, "PictureAndVector")), tmp_path / "bundle")
    manifest, x = load(tmp_path / "bundle").manifest, samples_of("PictureAndVector", 3, seed=1)
    state, image = (
        frames_from_arrays(x[frame.name], frame)
        for frame in (manifest.input, *manifest.more_inputs)
    )
    frames = frames_of(as_samples(x, manifest), manifest)
    assert np.array_equal(frames, np.concatenate([state, image], axis=1))
    lsb = 2.0 ** -manifest.more_inputs[0].format.frac
    first = np.clip(np.floor(x["image"][0, :, 0, 0] / lsb + 0.5), -128, 127)
    assert image[0, :3].tolist() == first.astype(int).tolist()  # a pixel's three channels


def test_golden_takes_an_array_for_each(tmp_path):
    recipe = write_recipe(tmp_path, "Sensors")
    pack(read_recipe(recipe), tmp_path / "bundle")
    done = bramcast("golden", tmp_path / "bundle", "--inputs", recipe, "-o", tmp_path / "out.npz")
    assert done.returncode == 0, done.stderr
    assert "beside the float network, 40 samples: " in done.stdout
    (want,) = outputs_of(tmp_path / "bundle", samples_of("Sensors", 40))
    assert np.array_equal(np.load(tmp_path / "out.npz")["out_int"], want.integers)
    np.savez(tmp_path / "wrong.npz", x=np.zeros((3, 20)), z=np.zeros((3, 21)))
    done = bramcast("golden", tmp_path / "bundle", "--inputs", tmp_path / "wrong.npz")
    assert done.returncode == 2 and "wrong.npz: z has samples of (21,); " in done.stderr


FILES = {
    "z (the network takes x, z; it has x): save an array of as many samples": {
        "x": np.zeros((4, 20))
    },
    "z has 3 samples, the first input 4": {"x": np.zeros((4, 20)), "z": np.zeros((3, 20))},
    "has x_cal, but no z_cal: give one for each input": {
        name: np.zeros((4, 20)) for name in ("x", "z", "x_cal")
    },
}  # fmt: skip


@pytest.mark.parametrize("message", FILES)
def test_files_without_all_arrays_are_refused(message, tmp_path):
    recipe = write_recipe(tmp_path, "Sensors")
    np.savez(tmp_path / "inputs.npz", **FILES[message])
    with pytest.raises(InputError) as raised:
        pack(read_recipe(recipe), tmp_path / "bundle")
    assert message in str(raised.value)
    assert not (tmp_path / "bundle").exists()


def test_exponents_are_given_for_each_input(tmp_path):
    own = '[quantize]\ninput = "Q6.1"\ninput_exponents = [5, 0]\n'
    packed = pack(read_recipe(write_recipe(tmp_path, "Sensors", own)), tmp_path / "bundle")
    assert [str(frame.format.q) for frame in packed.manifest.inputs] == ["Q1.6", "Q6.1"]
    for key, said in (
        ("input_exponents = [5]", "input_exponents: 1 numbers, the network has 2 inputs"),
        ('input_offsets = "auto"', "input_offsets: is for networks with one input"),
    ):
        recipe = write_recipe(tmp_path / "wrong", "Sensors", f"[quantize]\n{key}\n")
        with pytest.raises(RecipeError) as raised:
            pack(read_recipe(recipe), tmp_path / "none")
        assert said in str(raised.value)


@pytest.mark.parametrize("name", ["Sensors", "PictureAndVector"])
def test_a_retraining_keeps_the_formats(name, tmp_path):
    recipe = read_recipe(write_recipe(tmp_path, name))
    old = pack(recipe, tmp_path / "old").manifest
    new = pack(with_formats(recipe, old), tmp_path / "new").manifest
    assert [f.format for f in new.inputs] == [f.format for f in old.inputs]
    program = [(tmp_path / b / "program.mem").read_bytes() for b in ("old", "new")]
    assert program[0] == program[1]
    done = bramcast(
        "regress", tmp_path / "old", tmp_path / "weights.pth", "--recipe", tmp_path / "recipe.toml",
        "--inputs", tmp_path / "recipe.toml", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"] == "drop-in"


@pytest.mark.parametrize("kind", ["onnx", "exported"])
def test_other_files_have_several_inputs_too(kind, tmp_path):
    plain = pack(read_recipe(write_recipe(tmp_path, "PictureAndVector")), tmp_path / "plain")
    x = samples_of("PictureAndVector", 2)
    example = tuple(torch.from_numpy(array) for array in x.values())
    module = several.build("PictureAndVector")
    if kind == "onnx":
        pytest.importorskip("onnx")
        file = tmp_path / "net.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            names = ["kind", "place"]
            torch.onnx.export(
                module, example, str(file), dynamo=False, input_names=[*x], output_names=names,
                dynamic_axes={name: {0: "batch"} for name in (*x, *names)},
            )  # fmt: skip
    else:
        file = tmp_path / "net.pt2"
        torch.export.save(torch.export.export(module, example), file)
    recipe = tmp_path / "other.toml"
    recipe.write_text(f'[model]\n{kind} = "{file.name}"\ninputs = "inputs.npz"\n')
    other = pack(read_recipe(recipe), tmp_path / "other")
    assert [frame.name for frame in other.manifest.inputs] == ["state", "image"]
    x = samples_of("PictureAndVector", 40)
    got, want = (outputs_of(tmp_path / b, x) for b in ("other", "plain"))
    for one, wanted in zip(got, want, strict=True):
        assert np.array_equal(one.integers, wanted.integers)
    assert len(plain.inputs.parts) == 2


def test_a_bundle_in_python_takes_and_gives_arrays_by_name(tmp_path):
    pack(read_recipe(write_recipe(tmp_path, "PictureAndVector")), tmp_path / "bundle")
    bundle, x = Bundle.open(tmp_path / "bundle"), samples_of("PictureAndVector", 3)
    got = bundle.predict(x, integers=True)
    for one in outputs_of(tmp_path / "bundle", x):
        assert np.array_equal(got[one.name], one.integers)
    for call, said in (
        (lambda: bundle.predict(x["image"]), "several inputs: give a dictionary with state, image"),
        (lambda: bundle.predict(x | {"state": x["image"]}), "state has shape"),
    ):
        with pytest.raises(InputError, match=said):
            call()
