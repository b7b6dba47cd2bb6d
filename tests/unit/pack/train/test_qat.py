# SPDX-License-Identifier: Apache-2.0
"""Retraining computes as the core does, before and after, and its gradients are the real ones."""

import subprocess
import sys
from dataclasses import replace

import networks
import numpy as np
import pytest
import torch
from support import MODELS, ROOT, model_recipe, write_recipe
from torch import nn

from bramcast.golden.frames import arrays_from_beats, frames_from_arrays
from bramcast.golden.layers import layer_results
from bramcast.golden.load import load as load_bundle
from bramcast.pack.bundle.errors import InputError, RangeError, UnsupportedLayer
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import ModelSection, Recipe, read_recipe
from bramcast.pack.recipe.text import recipe_text
from bramcast.pack.train import qat

TWO_PLANES = "[quantize]\ninput_planes = 2\n"
REFINED = "[quantize]\nrefine = true\n"
SIXTEEN = "[quantize]\nactivation_bits = 16\n"
TENSOR = '[quantize]\nweight_formats = "tensor"\n[core]\ntaps = 4\n'

# What each of them is there for is in its docstring; the others run among the slow tests.
INPUT_SCALES = '[quantize]\ninput_exponents = "auto"\n'
OFFSETS = "[quantize]\ninput_offsets = 0.75\ninput_planes = 2\n"
FAST = [
    ("Mlp96", TWO_PLANES), ("VggCeil", ""), ("VggCeil", SIXTEEN), ("Averages", TENSOR),
    ("SignedUnsignedAdd", REFINED), ("Grouped", ""), ("Normalised", ""), ("Repeats", ""),
    ("FrameMaximum", TWO_PLANES), ("PerElement", ""), ("SmoothActivations", ""),
    ("SqueezeExcite", ""), ("HandLstm", ""), ("Conv1dNet", INPUT_SCALES), ("NormBehind", ""),
    ("Mlp96", OFFSETS), ("VggCeil", OFFSETS),
]  # fmt: skip
CALLS = {"python": [], "bramcast": ["-c", "from bramcast.cli import main; main()"]}
RECURRENT = ["GruNet", "LstmNet", "RnnNet", "HandGru"]
# Probabilities: the wrapped network has the softmax, the core's results have not (test_softmax.py).
APART = [*RECURRENT, "FirstStates", "ConvThenGru", "Probabilities"]
SLOW = [(n, "") for n in networks.SHAPES if n not in APART and (n, "") not in FAST]


def golden_outputs(bundle, x):
    """Golden's integers of every layer, by name, and its real outputs."""
    golden = load_bundle(bundle)
    results = golden.run(frames_from_arrays(x, golden.manifest.input), keep_layers=True)
    layers = {r.layer.name: r.values for r in layer_results(golden, results)}
    return layers, arrays_from_beats(results.beats, golden)[1]


def assert_equals_golden(model, bundle, x):
    """Every bit of every layer and of the real outputs; the bundle has its layout's copies, too."""
    layers, outputs = golden_outputs(bundle, x)
    got = model.layers(torch.from_numpy(x))
    kinds = {layer.name: layer.op for layer in load_bundle(bundle).manifest.layers}
    apart = {kinds[name] for name in layers if name not in got}
    assert apart <= {"copy", "gather", "rearrange"}
    assert "rearrange" in apart or got.keys() <= layers.keys()  # it takes a copy's place
    assert [name for name in got if name in layers] == [name for name in layers if name in got]
    for name, values in layers.items():
        if name in got:
            np.testing.assert_array_equal(got[name], values, err_msg=name)
    with torch.no_grad():
        real = model(torch.from_numpy(x))
    assert real.dtype == torch.float64
    np.testing.assert_array_equal(real.numpy(), outputs)


def train(model, x, steps=12):
    """Adam on the squared error to random targets: the losses, and who ever got a gradient."""
    torch.manual_seed(1)
    with torch.no_grad():
        target = torch.randn_like(model(x))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses, alive = [], set()
    for _ in range(steps):
        loss = (model(x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        named = model.module.named_parameters()
        alive |= {n for n, p in named if p.grad is not None and p.grad.any()}
    return losses, alive


def check_network(folder, name, extra):
    """The whole road: wrap, pack, train, save, pack."""
    recipe = read_recipe(write_recipe(folder, name, extra))
    # At 4 bits hardly anything is left of the fine plane's weights.
    model = qat.load(recipe, weight_bits=8 if extra == TWO_PLANES else 4)
    x = np.load(folder / "inputs.npz")["x"]
    keys = list(networks.build(name).state_dict())

    # With formats by hand only: a network that is retrained for no step at all.
    first = model.save(folder / "first.toml")
    before = pack(first, folder / "first").manifest
    assert_equals_golden(model, folder / "first", x)

    losses, alive = train(model, torch.from_numpy(x))
    assert min(losses[-3:]) < losses[0]
    dead = {n for n, _ in model.module.named_parameters()} - alive
    assert dead == set(model.untrained) == {"prelu.weight"} & set(keys)

    saved = model.save(folder / "saved.toml")
    assert read_recipe(folder / "saved.toml") == saved
    state = torch.load(folder / "saved.pth", weights_only=True)
    assert list(state) == keys
    assert all(torch.equal(v, model.module.state_dict()[k]) for k, v in state.items())
    after = pack(saved, folder / "saved").manifest
    assert_equals_golden(model, folder / "saved", x)
    assert before.input == after.input
    layers = zip(before.layers[:-1], after.layers[:-1], strict=True)
    assert all(a.format.frac >= b.format.frac for a, b in layers)


@pytest.mark.parametrize("name, extra", FAST)
def test_wrapped_network_is_the_packed_one_before_and_after_training(name, extra, tmp_path):
    check_network(tmp_path, name, extra)


@pytest.mark.slow
@pytest.mark.parametrize("name, extra", SLOW)
def test_every_network_can_be_retrained(name, extra, tmp_path):
    check_network(tmp_path, name, extra)


def test_without_retraining_the_integers_are_those_of_pack(tmp_path):
    recipe = read_recipe(write_recipe(tmp_path, "VggCeil"))
    packed = pack(recipe, tmp_path / "bundle")
    assert_equals_golden(qat.load(recipe), tmp_path / "bundle", packed.inputs.x)


def test_widths_of_the_recipe_stay(tmp_path):
    extra = (
        '[quantize.layers."0"]\nweight_bits = 8\n[quantize.layers."2"]\noutput = "UQ4.4"\n'
        '[quantize.layers."4"]\nweight = "Q1.0"\n'
    )
    model = qat.load(write_recipe(tmp_path, "Mlp96", extra), weight_bits=4)
    layers = model.save(tmp_path / "saved.toml").quantize.layers
    assert [layers[name].bits for name in "024"] == [8, 4, 2]
    assert layers["2"].output == "UQ4.4"
    pack(read_recipe(tmp_path / "saved.toml"), tmp_path / "bundle")
    assert_equals_golden(model, tmp_path / "bundle", np.load(tmp_path / "inputs.npz")["x"])


# --- gradients ---------------------------------------------------------------------------------


class Two(nn.Module):
    """Linear, BatchNorm, Hardtanh, Linear."""

    def __init__(self):
        super().__init__()
        self.a, self.bn, self.act = nn.Linear(2, 3), nn.BatchNorm1d(3, eps=0.0), nn.Hardtanh(-1, 1)
        self.b = nn.Linear(3, 1)

    def forward(self, x):
        return self.b(self.act(self.bn(self.a(x))))


def simple_recipe(folder, x):
    np.savez(folder / "inputs.npz", x=x)
    return Recipe(ModelSection(inputs="inputs.npz", checkpoint="w.pth"), path=folder / "r.toml")


def test_gradients_are_exact_where_nothing_is_rounded_and_zero_where_it_saturates(tmp_path):
    # All numbers are sums of few powers of two, which the formats hold.
    module = Two().eval()
    with torch.no_grad():
        module.a.weight[:] = torch.tensor([[1.0, 0.5], [-0.5, 1.0], [1.0, 1.0]])
        module.a.bias[:] = torch.tensor([0.25, 0.0, 4.0])  # the last channel saturates
        module.bn.running_var[:] = torch.tensor([4.0, 1.0, 1.0])
        module.bn.running_mean[:] = torch.tensor([0.5, 0.0, 0.0])
        module.b.weight[:] = torch.tensor([[0.5, -1.0, 1.0]])
        module.b.bias[:] = 0.125
    x = np.array([[0.5, -0.25], [0.25, 0.75], [-1.0, 0.25], [1.0, 1.0]], np.float32)
    model = qat.wrap(module, simple_recipe(tmp_path, x))
    assert module.training is False
    got = model(torch.from_numpy(x))
    want = module(torch.from_numpy(x))
    assert torch.equal(got, want.double())
    weight = torch.tensor([[1.0], [2.0], [-1.0], [0.5]])
    real = torch.autograd.grad((want * weight).sum(), list(module.parameters()))
    ours = torch.autograd.grad((got * weight).sum(), list(model.parameters()))
    for (name, _), a, b in zip(module.named_parameters(), ours, real, strict=True):
        assert torch.equal(a, b), name
    assert not ours[0][2].any() and ours[0][0].any()  # a.weight of the saturated channel


def test_batchnorm_and_dropout_stay_as_in_the_core(tmp_path):
    model = qat.load(write_recipe(tmp_path, "VggCeil"), weight_bits=4)  # has both
    x = torch.from_numpy(np.load(tmp_path / "inputs.npz")["x"])
    statistics = {n: b.clone() for n, b in model.module.named_buffers()}
    trained = model.train()(x)
    assert model.module.training and torch.equal(trained, model.eval()(x))
    assert all(torch.equal(b, statistics[n]) for n, b in model.module.named_buffers())


def test_parameters_that_the_network_does_not_use_are_named(tmp_path):
    module = Two()
    module.spare = nn.Linear(2, 2)
    module.b.bias.requires_grad_(False)
    model = qat.wrap(module, simple_recipe(tmp_path, np.ones((4, 2), np.float32)))
    assert model.untrained == ("spare.weight", "spare.bias")
    assert module.training


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_layers_are_refused_by_name(name, tmp_path):
    cell = {"GruNet": "gru.l0.r", "LstmNet": "one.i", "RnnNet": "rnn.h", "HandGru": "gates.part2"}
    with pytest.raises(UnsupportedLayer, match=rf"layer '{cell[name]}' is recurrent"):
        qat.load(write_recipe(tmp_path, name))


def test_samples_of_another_shape_are_refused(tmp_path):
    model = qat.load(write_recipe(tmp_path, "Mlp96"))
    with pytest.raises(InputError, match=r"takes samples of shape \(96,\), got \(95,\)"):
        model(torch.zeros(2, 95))


def test_weights_that_are_not_numbers_are_refused(tmp_path):
    model = qat.load(write_recipe(tmp_path, "Mlp96"))
    with torch.no_grad():
        model.module[2].weight[3, 4] = float("nan")
    with pytest.raises(RangeError, match="layer '2' has weights that are NaN"):
        model(torch.zeros(2, 96))


def test_parameters_on_another_device_are_refused(tmp_path):
    model = qat.load(write_recipe(tmp_path, "Mlp96")).to("meta")
    with pytest.raises(InputError, match="0.weight is on meta"):
        model(torch.zeros(2, 96))


def test_saving_never_overwrites_what_it_began_with(tmp_path):
    recipe = write_recipe(tmp_path, "Mlp96")
    model = qat.load(recipe)
    before = recipe.read_bytes(), (tmp_path / "weights.pth").read_bytes()
    for name in ("recipe.toml", "weights.toml"):
        with pytest.raises(InputError, match="would be overwritten"):
            model.save(tmp_path / name)
    assert before == (recipe.read_bytes(), (tmp_path / "weights.pth").read_bytes())
    assert not (tmp_path / "recipe.pth").exists()


def test_a_network_without_a_checkpoint_can_be_trained_but_not_saved(tmp_path):
    write_recipe(tmp_path, "Mlp96")
    exported = torch.export.export(networks.build("Mlp96"), (torch.zeros(2, 96),))
    torch.export.save(exported, tmp_path / "mlp.pt2")
    recipe = Recipe(
        ModelSection(inputs="inputs.npz", exported="mlp.pt2"), path=tmp_path / "new.toml"
    )
    model = qat.wrap(networks.build("Mlp96"), recipe)
    with pytest.raises(InputError, match="comes from mlp.pt2"):
        model.save(tmp_path / "saved.toml")
    assert not list(tmp_path.glob("saved*"))


class ZeroOffset(nn.Module):
    """BatchNorm without offset before a padded convolution folds; with an offset it does not."""

    def __init__(self):
        super().__init__()
        self.bn, self.conv = nn.BatchNorm2d(2), nn.Conv2d(2, 3, 3, padding=1)

    def forward(self, x):
        return self.conv(self.bn(torch.relu(x)))


def test_a_network_that_folds_otherwise_after_training_is_not_saved(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 2, 5, 5)).astype(np.float32)
    model = qat.wrap(ZeroOffset().eval(), simple_recipe(tmp_path, x))
    with torch.no_grad():
        model.module.bn.bias[0] = 0.5
    with pytest.raises(UnsupportedLayer, match="fold otherwise"):
        model.save(tmp_path / "saved.toml")
    assert not list(tmp_path.glob("saved*"))


# --- recipes and examples ----------------------------------------------------------------------


def test_a_recipe_survives_being_written(tmp_path):
    text = r"""
[model]
python = "a \"b\".py:Ü"
checkpoint = "x.pth"
inputs = "i.npz"
state = "ema"
[quantize]
input_planes = 2
input = "Q3.4"
plane_shift = 3
calibration = "percentile"
percentile = 99.5
[quantize.layers."a.0 \\ b"]
weight_frac = [3, -4]
output = "UQ4.4"
[core]
lanes = 8
gates = true
rq = 2
[images]
formats = ["mem", "mif"]
[regress]
max_accuracy_loss = 0.25
"""
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    recipe = read_recipe(path)
    again = tmp_path / "again.toml"
    again.write_text(recipe_text(recipe), encoding="utf-8")
    assert replace(read_recipe(again), path=path) == recipe


@pytest.mark.slow
def test_the_commands_of_the_page_run(tmp_path):
    pytest.importorskip("sklearn")
    page = (ROOT / "docs" / "retraining.md").read_text()
    commands = [line.split() for line in page.splitlines() if line.startswith("    ")]
    assert [c[0] for c in commands if c[0] in CALLS] == ["python", "bramcast", "bramcast"]
    said = []
    for program, *words in (c for c in commands if c[0] in CALLS):
        words = [word.replace("build/", f"{tmp_path}/") for word in words]
        call = [sys.executable, *CALLS[program], *words]
        done = subprocess.run(call, capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    real, narrow, retrained = [
        float(line.split()[-2]) for line in said[0].splitlines() if line.endswith("%")
    ]
    assert narrow < real - 2 and retrained > real - 1
    assert "5,990 of 5,990 outputs equal" in said[0]
    assert f"accuracy {retrained:.2f} %" in said[2]


EPOCHS, BATCH, RATE = 6, 50, 3e-4


@pytest.mark.slow
def test_the_keyword_spotter_keeps_its_accuracy_with_4_bit_weights(tmp_path, capsys):
    if not (MODELS / "data_gsc_v2_mfcc").is_dir():
        pytest.skip(f"the shared models are not at {MODELS}")
    data = np.load(MODELS / "data_gsc_v2_mfcc" / "data.npz")
    x, y, mine = data["x"], data["y"].astype(np.int64), data["split"] == 0
    recipe = read_recipe(model_recipe(tmp_path, "kws_dscnn_mlperf"))
    np.savez(tmp_path / "inputs.npz", x=x[~mine], y=y[~mine], x_cal=x[mine][::5])
    recipe = replace(recipe, model=replace(recipe.model, inputs="inputs.npz"))
    images, labels = torch.from_numpy(x), torch.from_numpy(y)

    def right(network):
        with torch.no_grad():
            got = torch.cat([network(part) for part in images[~mine].split(130)]).argmax(1)
        return int((got == labels[~mine]).sum())

    model = qat.load(recipe, weight_bits=4)
    real, narrow = right(model.module), right(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    steps = EPOCHS * (mine.sum() // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, int(steps))
    generator = torch.Generator().manual_seed(0)
    chosen = torch.from_numpy(np.flatnonzero(mine))
    for _ in range(EPOCHS):
        for part in chosen[torch.randperm(len(chosen), generator=generator)].split(BATCH):
            loss = nn.functional.cross_entropy(model(images[part]), labels[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    retrained, count = right(model), int((~mine).sum())
    with capsys.disabled():
        counts = {"float": real, "4 bits": narrow, "4 bits retrained": retrained}
        print("", *(f"{k} {100 * v / count:.2f} %" for k, v in counts.items()), sep="\n")
    assert retrained >= real - 0.02 * count

    model.save(tmp_path / "retrained.toml")
    call = [sys.executable, *CALLS["bramcast"]]
    bundle, out = tmp_path / "bundle", tmp_path / "out.npz"
    for command in (
        ["pack", tmp_path / "retrained.toml", "-o", bundle],
        ["golden", bundle, "--inputs", tmp_path / "inputs.npz", "-o", out],
    ):
        subprocess.run([*call, *command], check=True, capture_output=True)
    with torch.no_grad():
        want = torch.cat([model(part) for part in images[~mine].split(130)]).numpy()
    np.testing.assert_array_equal(np.load(out)["out"], want)
    assert_equals_golden(model, bundle, x[~mine][:100])
