# SPDX-License-Identifier: Apache-2.0
"""Each kind of bad input gives one clear line, exit code 2, and leaves nothing half-written."""

import json
import shutil

import numpy as np
import pytest
import torch
from support import DIGITS, bramcast, process, write_recipe

from bramcast.pack.bundle.errors import ProgramError
from bramcast.pack.read.model_file import load_module

MODEL = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 4)
        self.extra = {extra}

    def forward(self, x):
        return {forward}

def build():
    return Net()
"""


def refused(done, *fragments):
    """One line on standard error with everything that it must name, and exit code 2."""
    assert done.returncode == 2, done.stderr + done.stdout
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr and "internal error" not in done.stderr
    for fragment in fragments:
        assert fragment in lines[0], lines[0]


def test_a_device_in_place_of_a_recipe_has_an_end(tmp_path):
    done = bramcast("pack", "/dev/zero", "-o", tmp_path / "b")
    refused(done, "/dev/zero: more than 1,048,576 bytes: no recipe")
    assert not (tmp_path / "b").exists()


@pytest.fixture
def recipe(tmp_path):
    return write_recipe(tmp_path / "recipe", "Mlp96")


def custom(tmp_path, forward="self.fc(x)", extra="None", x=None, checkpoint=None):
    """A recipe for a small model written on the spot."""
    folder = tmp_path / "custom"
    folder.mkdir()
    (folder / "model.py").write_text(MODEL.format(forward=forward, extra=extra))
    x = np.zeros((3, 6), np.float32) if x is None else x
    np.savez(folder / "inputs.npz", x=x)
    state = {"fc.weight": torch.ones(4, 6), "fc.bias": torch.zeros(4)}
    torch.save(state if checkpoint is None else checkpoint, folder / "weights.pth")
    (folder / "recipe.toml").write_text(
        '[model]\npython = "model.py:build"\ncheckpoint = "weights.pth"\ninputs = "inputs.npz"\n'
    )
    return folder / "recipe.toml"


def test_missing_recipe(tmp_path):
    refused(bramcast("pack", tmp_path / "no.toml", "-o", tmp_path / "b"), "no.toml")
    assert not (tmp_path / "b").exists()


def test_unknown_key_of_a_recipe_is_named(recipe, tmp_path):
    recipe.write_text(recipe.read_text() + "[core]\nlane = 16\n")
    refused(bramcast("pack", recipe, "-o", tmp_path / "b"), "recipe.toml", "core.lane")


def test_lanes_must_be_a_power_of_two(recipe, tmp_path):
    recipe.write_text(recipe.read_text() + "[core]\nlanes = 12\n")
    refused(bramcast("pack", recipe, "-o", tmp_path / "b"), "recipe.toml", "core.lanes")


def test_narrow_weights_of_an_unknown_layer(recipe, tmp_path):
    recipe.write_text(recipe.read_text() + "[quantize.layers]\nfc9 = { weight_bits = 4 }\n")
    refused(bramcast("pack", recipe, "-o", tmp_path / "b"), "recipe.toml", "fc9", "0, 2, 4")


@pytest.mark.parametrize("name", ["weights.pth", "inputs.npz"])
def test_missing_file_of_a_recipe_is_named(recipe, tmp_path, name):
    (recipe.parent / name).unlink()
    refused(bramcast("pack", recipe, "-o", tmp_path / "b"), name)
    assert not (tmp_path / "b").exists()


def test_nan_weight_names_parameter_and_index(tmp_path):
    state = {"fc.weight": torch.ones(4, 6), "fc.bias": torch.tensor([0, 0, float("nan"), 0])}
    recipe = custom(tmp_path, checkpoint=state)
    refused(bramcast("pack", recipe, "-o", tmp_path / "b"), "weights.pth", "fc.bias", "NaN", "2")


def test_wrong_shape_in_the_checkpoint_names_parameter_and_shapes(tmp_path):
    state = {"fc.weight": torch.ones(4, 5), "fc.bias": torch.zeros(4)}
    recipe = custom(tmp_path, checkpoint=state)
    refused(bramcast("pack", recipe, "-o", tmp_path / "b"), "fc.weight", "(4, 5)", "(4, 6)")


def test_missing_parameter_is_named(tmp_path):
    recipe = custom(tmp_path, checkpoint={"fc.weight": torch.ones(4, 6)})
    refused(bramcast("pack", recipe, "-o", tmp_path / "b"), "weights.pth", "fc.bias")


def test_checkpoint_that_is_no_checkpoint(tmp_path):
    recipe = custom(tmp_path)
    (recipe.parent / "weights.pth").write_bytes(b"not a checkpoint")
    refused(bramcast("pack", recipe, "-o", tmp_path / "b"), "weights.pth", "state_dict")


def test_unsupported_layer_is_refused_by_name_and_line(tmp_path):
    recipe = custom(
        tmp_path,
        forward="self.extra(self.fc(x)) * 2",
        extra="nn.LayerNorm(4, elementwise_affine=False)",
    )
    refused(
        bramcast("pack", recipe, "-o", tmp_path / "b"),
        "model.py:12",
        "'extra'",
        "layer_norm",
        "BatchNorm, whose statistics are constants",
    )
    assert not (tmp_path / "b").exists()


def test_layer_that_mixes_samples_is_refused(tmp_path):
    recipe = custom(tmp_path, forward="self.fc(x).flip(0)")
    refused(bramcast("pack", recipe, "-o", tmp_path / "b"), "model.py:12", "axis 0")


def test_inputs_of_a_wrong_shape(tmp_path):
    recipe = custom(tmp_path, x=np.zeros((3, 7), np.float32))
    refused(bramcast("pack", recipe, "-o", tmp_path / "b"), "(7,)")


def test_nan_input_names_the_sample(tmp_path):
    x = np.zeros((3, 6), np.float32)
    x[1, 2] = np.nan
    recipe = custom(tmp_path, x=x)
    refused(bramcast("pack", recipe, "-o", tmp_path / "b"), "inputs.npz", "x[1]", "NaN")


def test_error_in_the_model_names_its_line(tmp_path):
    recipe = custom(tmp_path, extra="1 / 0")
    refused(bramcast("pack", recipe, "-o", tmp_path / "b"), "model.py:9", "ZeroDivisionError")


def test_depth_that_is_too_small_says_what_is_needed(recipe, tmp_path):
    recipe.write_text(recipe.read_text() + "[core]\nweights_depth = 100\n")
    refused(bramcast("pack", recipe, "-o", tmp_path / "b"), "weights_depth = 100", "1024")


def test_folder_with_other_content_is_not_replaced(recipe, tmp_path):
    target = tmp_path / "mine"
    target.mkdir()
    (target / "thesis.txt").write_text("dear")
    refused(bramcast("pack", recipe, "-o", target), "mine")
    assert (target / "thesis.txt").read_text() == "dear"


def test_failed_packing_leaves_the_old_bundle_as_it_was(tmp_path):
    recipe = custom(tmp_path)
    bundle = tmp_path / "b"
    assert bramcast("pack", recipe, "-o", bundle).returncode == 0
    before = {p.name: p.read_bytes() for p in bundle.iterdir()}
    (recipe.parent / "weights.pth").write_bytes(b"")
    assert bramcast("pack", recipe, "-o", bundle).returncode == 2
    assert {p.name: p.read_bytes() for p in bundle.iterdir()} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b", "custom"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits") / "bundle"
    assert bramcast("pack", DIGITS / "mlp.toml", "-o", folder).returncode == 0
    return folder


@pytest.fixture
def copy(bundle, tmp_path):
    return shutil.copytree(bundle, tmp_path / "copy")


VERBS = (["golden"], ["sim", "--samples", "1"])


@pytest.mark.parametrize("verb", VERBS, ids=lambda v: v[0])
def test_no_bundle(verb, tmp_path):
    done = bramcast(verb[0], tmp_path / "nothing", "--inputs", DIGITS / "inputs.npz", *verb[1:])
    refused(done, "nothing", "bramcast pack")


@pytest.mark.parametrize("verb", VERBS, ids=lambda v: v[0])
def test_short_image_names_file_and_line(verb, copy):
    path = copy / "weights.mem"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    done = bramcast(verb[0], copy, "--inputs", DIGITS / "inputs.npz", *verb[1:])
    refused(done, "weights.mem", "lines")


def test_short_line_names_file_and_line(copy):
    path = copy / "weights.mem"
    lines = path.read_text().splitlines()
    lines[16] = lines[16][:-2]
    path.write_text("\n".join(lines) + "\n")
    refused(bramcast("golden", copy, "--inputs", DIGITS / "inputs.npz"), "weights.mem:17", "30")


def test_changed_line_is_found_by_the_checksum(copy):
    path = copy / "bias.mem"
    lines = path.read_text().splitlines()
    lines[4] = "0" * len(lines[4])
    path.write_text("\n".join(lines) + "\n")
    refused(bramcast("golden", copy, "--inputs", DIGITS / "inputs.npz"), "bias.mem:5", "SHA-256")


def test_missing_image_is_named(copy):
    (copy / "bias.mem").unlink()
    refused(bramcast("golden", copy, "--inputs", DIGITS / "inputs.npz"), "bias.mem")


def test_manifest_of_a_newer_format(copy):
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["format"] += 1
    (copy / "manifest.json").write_text(json.dumps(manifest))
    refused(bramcast("golden", copy, "--inputs", DIGITS / "inputs.npz"), "manifest.json", "format")


def test_unknown_key_of_a_manifest_is_named(copy):
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["colour"] = "blue"
    (copy / "manifest.json").write_text(json.dumps(manifest))
    refused(bramcast("golden", copy, "--inputs", DIGITS / "inputs.npz"), "manifest.json", "colour")


def test_samples_of_another_network(bundle, tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 5)))
    refused(bramcast("golden", bundle, "--inputs", tmp_path / "x.npz"), "shape")


def test_inputs_without_x(bundle, tmp_path):
    np.savez(tmp_path / "x.npz", data=np.zeros((2, 5)))
    refused(bramcast("golden", bundle, "--inputs", tmp_path / "x.npz"), "x.npz", "data")


def test_unknown_simulator(bundle):
    done = bramcast("sim", bundle, "--inputs", DIGITS / "inputs.npz", "--simulator", "modelsim")
    refused(done, "modelsim", "verilator")


def test_unknown_option_exits_with_2(bundle):
    done = bramcast("golden", bundle, "--wrong")
    assert done.returncode == 2 and "--wrong" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("key", ["layer", "channels", "strides", "nests"])
def test_manifest_that_does_not_fit_the_program(copy, key):
    manifest = json.loads((copy / "manifest.json").read_text())
    if key == "layer":
        manifest["nests"][0]["layer"] = 9
    elif key == "channels":
        manifest["nests"][0]["channels"][0] = 77
    elif key == "strides":
        manifest["input"]["strides"] = [0, 0, 9]
    else:
        manifest["nests"] = []
    (copy / "manifest.json").write_text(json.dumps(manifest))
    named = {"strides": "input", "layer": "nests.0.layer"}.get(key, "nests")
    refused(bramcast("golden", copy, "--inputs", DIGITS / "inputs.npz"), "manifest.json", named)


def test_model_that_prints_and_exits(tmp_path):
    recipe = custom(tmp_path, extra="print('hello')", forward="self.fc(x)")
    done = bramcast("pack", recipe, "-o", tmp_path / "b", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["parameters"] == 28
    model = recipe.parent / "model.py"
    model.write_text(model.read_text().replace("return Net()", "raise SystemExit(0)"))
    refused(bramcast("pack", recipe, "-o", tmp_path / "b"), "model.py:15", "SystemExit")


def test_operation_that_is_not_captured_is_refused(tmp_path):
    forward = "(lambda y: (y.view(-1).relu_(), y)[1])(self.fc(x))"
    recipe = custom(tmp_path, forward=forward, x=np.ones((3, 6), np.float32) * [[1], [-1], [1]])
    state = {"fc.weight": torch.ones(4, 6), "fc.bias": torch.zeros(4)}
    torch.save(state, recipe.parent / "weights.pth")
    done = bramcast("pack", recipe, "-o", tmp_path / "b")
    assert done.returncode == 2 and "Traceback" not in done.stderr


def test_labels_that_the_network_cannot_give(tmp_path):
    recipe = custom(tmp_path)
    np.savez(recipe.parent / "inputs.npz", x=np.ones((3, 6), np.float32), y=np.array([0, 4, 1]))
    refused(bramcast("pack", recipe, "-o", tmp_path / "b"), "inputs.npz", "0..4", "0..3")


def test_own_files_in_a_bundle_are_not_lost(copy):
    (copy / "notes.txt").write_text("mine")
    done = bramcast("pack", DIGITS / "mlp.toml", "-o", copy)
    refused(done, "notes.txt")
    assert (copy / "notes.txt").read_text() == "mine"


def test_tensor_that_repeats_a_stored_number_without_end(tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"fc.weight": torch.zeros(1).expand(1 << 18, 1 << 18)}, path)
    refused(bramcast("inspect", path), "w.pth", "fc.weight", "68,719,476,736", "stores 1 ")
    refused(bramcast("export", path, "-o", tmp_path / "o"), "fc.weight")
    torch.save({"fc.weight": torch.zeros(4, 1).expand(4, 6)}, path)  # a usual one is read
    assert bramcast("inspect", path).returncode == 0


def test_manifest_that_is_a_device(tmp_path):
    (tmp_path / "manifest.json").symlink_to("/dev/null")
    done = bramcast("golden", tmp_path, "--inputs", DIGITS / "inputs.npz")
    refused(done, "manifest.json: is no file")


def test_too_little_memory_is_no_internal_error(monkeypatch):
    def hungry(*arguments, **options):
        raise MemoryError("Unable to allocate 256. GiB")

    monkeypatch.setattr("bramcast.cli.inspect.read_recipe", hungry)
    done = bramcast("inspect", "w.pth", "--recipe", "r.toml")
    refused(done, "error: there is not enough memory (Unable to allocate 256. GiB)")


def test_network_that_gives_inf_for_a_late_sample_names_it(tmp_path):
    state = {"fc.weight": torch.full((4, 6), 1e30), "fc.bias": torch.zeros(4)}
    x = np.full((40, 6), 1e-3, np.float32)
    x[23] = 1.0  # 6e30 * 1e8 is beyond float32
    recipe = custom(tmp_path, "self.fc(x) * 1e8", x=x, checkpoint=state)
    done = bramcast("pack", recipe, "-o", tmp_path / "b")
    refused(done, "infinite or NaN from layer 'fc'", "model.py:12", "sample 23 of", "inputs.npz")


@pytest.mark.parametrize("labels", [{"y": np.zeros(40, np.int64)}, {}], ids=["labels", "none"])
def test_network_whose_insides_are_inf_for_a_late_sample_names_it(tmp_path, labels):
    state = {"fc.weight": torch.full((4, 6), 1e30), "fc.bias": torch.zeros(4)}
    x, x_cal = np.full((40, 6), 1e-3, np.float32), np.full((20, 6), 1e-3, np.float32)
    x[23] = 1.0  # 6e30 * 1e8 is beyond float32, 6e30 * 1e8 * 1e-38 is not
    recipe = custom(
        tmp_path, "torch.relu(self.fc(x) * 1e8) @ torch.eye(4) * 1e-38", x=x, checkpoint=state
    )
    np.savez(recipe.parent / "inputs.npz", x=x, x_cal=x_cal, **labels)
    done = bramcast("pack", recipe, "-o", tmp_path / "b")
    refused(done, "infinite or NaN", "for sample 23 of", "inputs.npz")
    assert "Warning" not in done.stderr


@pytest.mark.parametrize("weight", [1e30, -3e38])
def test_network_that_gives_inf_names_its_first_layer(tmp_path, weight):
    state = {"fc.weight": torch.full((4, 6), weight), "fc.bias": torch.zeros(4)}
    x = np.ones((3, 6), np.float32) * [[0], [1], [1]]
    recipe = custom(tmp_path, "self.fc(x) * 1e30", x=x, checkpoint=state)
    done = bramcast("pack", recipe, "-o", tmp_path / "b")
    refused(done, "infinite or NaN from layer 'fc'", "model.py:12", "sample 1 of", "inputs.npz")
    assert "in-place" not in done.stderr


def test_graph_of_torch_fx_prints_no_traceback(tmp_path):
    forward = "torch.matmul(x, self.fc.weight.T) + self.fc.bias"
    recipe = custom(tmp_path, forward, x=np.zeros((3, 5), np.float32))
    model = recipe.parent / "model.py"
    model.write_text(
        model.read_text().replace("return Net()", "return torch.fx.symbolic_trace(Net())")
    )
    done = process("pack", recipe, "-o", tmp_path / "b")
    refused(done, "error: model: the model fails on samples of shape (5,)")


@pytest.mark.parametrize(
    ("section", "place"),
    [
        ("[core]\nlanes = true", "core.lanes"),
        ("[core]\nprogram_depth = true", "core.program_depth"),
        ("[quantize]\ninput_exponents = [true, 2]", "quantize.input_exponents"),
        ('[quantize.layers."fc"]\nweight_frac = true', "quantize.layers.fc.weight_frac"),
        ("[regress]\nmax_doubt = false", "regress.max_doubt"),
    ],
)
def test_true_is_no_number(recipe, tmp_path, section, place):
    recipe.write_text(recipe.read_text() + section + "\n")
    refused(bramcast("pack", recipe, "-o", tmp_path / "b"), "recipe.toml", place)


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("[core]\npairs = true", ["core.pairs", "tiles must be 2, 4 or 8"]),
        (
            "[core]\ntiles = 2\npairs = true\n[quantize]\nactivation_bits = 16",
            ["core.pairs", "quantize.activation_bits is 16"],
        ),
        ("[core]\ntiles = 3", ["core.tiles", "1, 2, 4 or 8"]),
    ],
)
def test_tiles_and_pairs_that_no_core_has(recipe, tmp_path, section, said):
    recipe.write_text(recipe.read_text() + section + "\n")
    refused(bramcast("pack", recipe, "-o", tmp_path / "b"), "recipe.toml", *said)
    assert not (tmp_path / "b").exists()


def test_true_where_it_belongs(recipe, tmp_path):
    recipe.write_text(recipe.read_text() + "shrink = true\n[core]\nnarrow = true\n")
    assert bramcast("pack", recipe, "-o", tmp_path / "b").returncode == 0


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("net.caffemodel", bytes(range(128, 256)) * 9),
        ("weights.bin", b"\n\x05LeNet\xa2\x06\x31\n\x05conv1\x12\x0bConvolution" + bytes(900)),
        ("deploy.prototxt", b'name: "LeNet"\nlayer {\n  name: "data"\n  type: "Input"\n}\n'),
    ],
)
def test_caffe_files_are_called_what_they_are(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    refused(bramcast("inspect", tmp_path / name), name, "Caffe", "ONNX")


def test_damaged_checkpoint_is_told_without_pytorchs_advice(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"\xff\xfe" + bytes(range(256)) * 4)
    done = bramcast("inspect", tmp_path / "w.pth")
    refused(done, "w.pth", "damaged or cut off")
    assert "file an issue" not in done.stderr and "error: )" not in done.stderr


def test_messages_name_the_bundle_and_not_what_is_written_first(recipe, tmp_path, monkeypatch):
    def invalid(images, core):
        raise ProgramError("program line 1: wrong")

    monkeypatch.setattr("bramcast.golden.machine.validate", invalid)
    done = bramcast("pack", recipe, "-o", tmp_path / "b")
    refused(done, f"{tmp_path / 'b' / 'program.mem'}: program line 1")
    assert not (tmp_path / "b").exists()


def test_run_that_is_too_long_is_told_before_packing(tmp_path, monkeypatch):
    extra = "nn.Conv2d(8, 32, 17, padding=8)"
    forward = "self.extra(self.fc(x).repeat(1, 8192).view(-1, 8, 64, 64))[:, :, 0, 0]"
    recipe = custom(tmp_path, forward, extra, np.zeros((2, 6), np.float32))
    module = load_module("model.py:build", recipe.parent)
    torch.save(module.state_dict(), recipe.parent / "weights.pth")
    text = recipe.read_text()
    recipe.write_text(text + "[core]\nlanes = 1\n")
    monkeypatch.setattr("bramcast.pack.prepare.check_against_module", None)  # never reached
    done = bramcast("pack", recipe, "-o", tmp_path / "b")
    refused(done, "core.lanes", "1 lanes x 1 taps", "67,108,864", "lanes x taps of 5 or more")
    recipe.write_text(text + "[core]\nlanes = 1\ntiles = 2\n")
    done = bramcast("pack", recipe, "-o", tmp_path / "b")
    refused(done, "1 lanes x 1 taps x 2 tiles", "lanes x taps of 3 or more")


def test_byte_order_mark_is_taken(recipe, tmp_path):
    recipe.write_text("\ufeff" + recipe.read_text(), encoding="utf-8")
    assert bramcast("pack", recipe, "-o", tmp_path / "b").returncode == 0
    assert (tmp_path / "b" / "manifest.json").exists()
