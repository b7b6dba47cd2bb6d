# SPDX-License-Identifier: Apache-2.0
"""Every pack is judged against the float network, on what varies between samples."""

import json
import re

import numpy as np
import pytest
import torch
from support import DIGITS, bramcast, text_recipe, write_recipe
from torch import nn

from bramcast.pack.judge.blame import blame
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.pack.run.calibrate import integer_outputs, real_outputs

NET = """from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.BatchNorm1d(6), nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))
"""


def sensors(folder, offset, extra="", labels=False, samples=120):
    """Six sensors that read offset +- 1, normalised first."""
    torch.manual_seed(4)
    net = nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))
    x = np.random.default_rng(5).normal(offset, 1.0, (samples, 6)).astype(np.float32)
    net[0].running_mean += offset
    net.eval()
    recipe = text_recipe(folder, NET, x, {k: v.numpy() for k, v in net.state_dict().items()}, extra)
    with torch.no_grad():
        real = net.double()(torch.from_numpy(x).double()).numpy()
    if labels:
        np.savez(folder / "inputs.npz", x=x, y=real.argmax(axis=1))
    return recipe, real


def packed_json(recipe, folder, *more):
    done = bramcast("pack", recipe, "-o", folder / "b", "--json", *more)
    return done, json.loads(done.stdout) if done.stdout else None


def golden_outputs(folder):
    out = folder / "out.npz"
    done = bramcast("golden", folder / "b", "--inputs", folder / "inputs.npz", "-o", out)
    assert done.returncode == 0, done.stderr
    return np.load(out)["out"]


def centred(real, got):
    """The definition, spelled out."""
    signal = ((real - real.mean(axis=0)) ** 2).sum(axis=1).mean()
    return 10 * np.log10(signal / ((got - real) ** 2).sum(axis=1).mean())


@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_the_judgement_is_what_golden_gives_beside_pytorch(tmp_path, offset):
    recipe, real = sensors(tmp_path, offset, labels=True)
    done, said = packed_json(recipe, tmp_path)
    assert done.returncode == 0
    got, judged = golden_outputs(tmp_path), said["judgement"]
    assert judged["samples"] == 120
    assert judged["snr"] == pytest.approx(centred(real, got), abs=0.02)
    assert judged["agreement"] == (got.argmax(axis=1) == real.argmax(axis=1)).mean()
    assert (judged["accuracy"], judged["float_accuracy"]) == (judged["agreement"], 1.0)
    assert (judged["snr"] > 30) == (offset == 0.0)
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    assert manifest["judgement"] == judged


def test_an_offset_hides_nothing(tmp_path):
    """Outputs of 300 +- 1 whose error is as large as they vary: much signal, no answer."""
    torch.manual_seed(0)
    net = nn.Linear(6, 3)
    x = np.random.default_rng(1).normal(300.0, 1.0, (100, 6)).astype(np.float32)
    model = "from torch import nn\n\nclass Net(nn.Linear):\n    def __init__(self):\n"
    model += "        super().__init__(6, 3)\n"
    state = {k: v.detach().numpy() for k, v in net.state_dict().items()}
    plain = "[quantize]\ninput_planes = 1\nrefine = false\n"
    recipe = text_recipe(tmp_path, model, x, state, plain)
    packed = pack(read_recipe(recipe), tmp_path / "b")
    (layer,) = packed.manifest.layers
    assert layer.snr > 40 and packed.manifest.judgement.snr < 5
    assert layer.varying < 5


def test_equal_outputs_and_constant_ones(tmp_path):
    model = "from torch import nn\n\nclass Net(nn.Linear):\n    def __init__(self):\n"
    model += "        super().__init__(4, 3)\n"
    x = np.arange(-60, 60).reshape(30, 4)
    state = {"weight": np.arange(-6, 6).reshape(3, 4) * 8.0, "bias": np.zeros(3)}
    exact = '[quantize]\ninput = "Q7.0"\n'
    judged = pack(read_recipe(text_recipe(tmp_path, model, x, state, exact)), tmp_path / "b")
    assert judged.manifest.judgement.snr == 150.0
    assert judged.manifest.judgement.worst_layer is None
    state["weight"] *= 0
    recipe = text_recipe(tmp_path, model, x, state, exact)
    done = bramcast("pack", recipe, "-o", tmp_path / "b")
    assert done.returncode == 0 and "the outputs do not vary" in done.stdout
    assert pack(read_recipe(recipe), tmp_path / "b").manifest.judgement.snr is None
    recipe = text_recipe(tmp_path, model, x[:1], state, exact)
    assert pack(read_recipe(recipe), tmp_path / "b").manifest.judgement.snr is None


def test_a_picture_has_no_class(tmp_path):
    recipe = write_recipe(tmp_path, "NegativeMax", samples=20)
    done, said = packed_json(recipe, tmp_path)
    assert done.returncode == 0
    assert said["judgement"]["agreement"] is None and said["judgement"]["accuracy"] is None


def test_an_autoencoder_is_told_by_how_much_its_error_grows(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 12))
    model = "from torch import nn\n\nclass Net(nn.Sequential):\n    def __init__(self):\n"
    model += "        super().__init__(nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 12))\n"
    x = np.random.default_rng(2).normal(size=(60, 12)).astype(np.float32)
    recipe = text_recipe(
        tmp_path, model, x, {k: v.detach().numpy() for k, v in net.state_dict().items()}
    )
    _, said = packed_json(recipe, tmp_path)
    got = golden_outputs(tmp_path)
    with torch.no_grad():
        real = net.double()(torch.from_numpy(x).double()).numpy()
    grown = 100 * (((got - x) ** 2).sum() / ((real - x) ** 2).sum() - 1)
    assert said["judgement"]["error_growth"] == pytest.approx(grown, abs=0.002)
    assert said["judgement"]["agreement"] is None


def test_last_lines_name_the_layer_that_brings_most_of_the_error(tmp_path):
    narrow = '[quantize.layers."classifier"]\nweight_bits = 2\n'
    text = (DIGITS / "dscnn.toml").read_text().replace("dscnn.pth", str(DIGITS / "dscnn.pth"))
    text = text.replace("inputs.npz", str(DIGITS / "inputs.npz"))
    text = text.replace("model.py", str(DIGITS / "model.py"))
    (tmp_path / "recipe.toml").write_text(text + narrow)
    done = bramcast("pack", tmp_path / "recipe.toml", "-o", tmp_path / "b")
    assert done.returncode == 0
    assert "is layer 'classifier', 0 % the rounding of the input" in done.stdout
    shares = json.loads((tmp_path / "b" / "manifest.json").read_text())["layers"]
    share = {layer["name"]: layer["share"] for layer in shares}
    assert share["classifier"] > 0.9 and sum(share.values()) == pytest.approx(1.0, abs=0.01)


def test_shares_add_up_to_the_error_that_the_output_has(tmp_path):
    """First-order parts of independent roundings: their sum is the error, within 2 dB."""
    packed = pack(read_recipe(DIGITS / "dscnn.toml"), tmp_path / "b")
    graph, fmt, samples = packed.graph, packed.formats.of(packed.graph.input), packed.inputs.x
    got = integer_outputs(graph, packed.quantized, fmt, None, samples)
    error = ((got - real_outputs(graph, samples, None)) ** 2).sum(axis=1).mean()
    found = blame(graph, packed.quantized, fmt, None, samples)
    assert abs(10 * np.log10(found.total / error)) < 2.0


def test_the_inputs_rounding_has_its_share(tmp_path):
    """Features of 1/128 of the first one's size; the weights are whole numbers and exact."""
    model = "from torch import nn\n\nclass Net(nn.Linear):\n    def __init__(self):\n"
    model += "        super().__init__(3, 2)\n"
    x = np.random.default_rng(3).normal(size=(80, 3)) * [1.0, 1 / 128, 1 / 128]
    state = {"weight": np.array([[1, 64, 32], [2, -96, 64]]), "bias": np.zeros(2)}
    recipe = text_recipe(tmp_path, model, x, state, "[quantize]\ninput_planes = 1\n")
    judged = pack(read_recipe(recipe), tmp_path / "b").manifest.judgement
    assert judged.input_share > 0.99


def test_refined_biases_are_no_error(tmp_path):
    """A bias that makes up for rounding is compared with the network that has none of it."""
    from networks import SHAPES

    recipe = write_recipe(tmp_path, "Averages", "[quantize]\nrefine = true\n", samples=40)
    packed = pack(read_recipe(recipe), tmp_path / "b")
    assert packed.inputs.x.shape[1:] == SHAPES["Averages"]
    snr = packed.manifest.judgement.snr
    assert packed.manifest.layers[-1].varying == pytest.approx(snr, abs=2.0)


# --- limits and remedies


SNR = "dB of signal to noise on what varies between samples"


def test_a_good_network_gets_no_note(tmp_path):
    recipe, _ = sensors(tmp_path, 0.0, labels=True)
    done, said = packed_json(recipe, tmp_path)
    assert (done.returncode, done.stderr, said["notes"]) == (0, "", [])
    assert said["judgement"]["broken"] == []


def test_a_network_whose_answers_are_noise_is_told_and_what_may_help(tmp_path):
    recipe, _ = sensors(tmp_path, 300.0, "[quantize]\ninput_planes = 1\n", labels=True)
    done, said = packed_json(recipe, tmp_path)
    assert done.returncode == 0
    assert f"{SNR} (usual: 15 dB; pack.min_snr is a limit)" in done.stderr
    # 12 outputs on 16 lanes: a tap and a weight word for each of six features.
    assert 'what may help: quantize.input_offsets = "auto" (' in done.stderr
    assert "; quantize.input_planes = 2 (about 6 cycles and 6 words" in done.stderr
    broken = {limit["key"]: limit for limit in said["judgement"]["broken"]}
    assert broken["min_snr"]["limit"] == 15.0 and not broken["min_snr"]["given"]
    assert broken["min_snr"]["value"] == said["judgement"]["snr"]
    assert broken["max_accuracy_loss"]["limit"] == 1.0
    assert broken["min_agreement"]["limit"] == 90.0


@pytest.mark.parametrize(
    ("limit", "kept", "says"),
    [
        ("min_snr = 60", "min_snr = 20", f"the output has 3[0-9].[0-9] {SNR}$"),
        ("min_agreement = 100", "min_agreement = 95", "9[0-9].[0-9]{2} % of the samples keep"),
        ("max_accuracy_loss = 0", "max_accuracy_loss = 3", "is [0-2].[0-9]{2} points below the"),
    ],
)
def test_a_given_limit_that_is_broken_is_exit_code_1_and_marks_the_bundle(
    tmp_path, limit, kept, says
):
    recipe, _ = sensors(tmp_path, 0.0, f"[pack]\n{limit}\n", labels=True, samples=2000)
    done, _ = packed_json(recipe, tmp_path)
    assert done.returncode == 1
    line = done.stderr.splitlines()[0]
    assert f"pack.{limit} is broken" in line and re.search(says, line)
    key, value = limit.split(" = ")
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    (broken,) = manifest["judgement"]["broken"]
    assert (broken["key"], broken["limit"], broken["given"]) == (key, float(value), True)
    assert bramcast("golden", tmp_path / "b", "--inputs", recipe).returncode == 0
    recipe.write_text(recipe.read_text().replace(limit, kept))
    done, said = packed_json(recipe, tmp_path)
    assert (done.returncode, done.stderr, said["judgement"]["broken"]) == (0, "", [])


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('min_snr = "high"', "pack.min_snr: "),
        ("min_agreement = 101", "pack.min_agreement: "),
        ("max_accuracy_loss = -1", "pack.max_accuracy_loss: "),
        ("min_snr = nan", "pack.min_snr: "),
        ("min_snir = 20", "pack.min_snir: unknown key; did you mean 'min_snr'?"),
        ("max_accuracy_loss = 1", "pack.max_accuracy_loss: needs labels y"),
    ],
)
def test_a_limit_that_is_none_is_refused_by_its_key(tmp_path, line, says):
    recipe, _ = sensors(tmp_path, 0.0, f"[pack]\n{line}\n")
    done = bramcast("pack", recipe, "-o", tmp_path / "b")
    assert (done.returncode, done.stdout) == (2, "")
    assert "recipe.toml: " + says in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "b").exists()


def test_a_limit_that_the_samples_cannot_judge_is_refused(tmp_path):
    recipe, _ = sensors(tmp_path, 0.0, "[pack]\nmin_snr = 20\n", samples=1)
    done = bramcast("pack", recipe, "-o", tmp_path / "b")
    assert (
        done.returncode == 2 and "pack.min_snr: the float network's outputs do not" in done.stderr
    )


UNEVEN = np.array([1.0, 1 / 128, 1 / 128])


def uneven(folder, extra=""):
    """Features of very different sizes, which the weights make up for."""
    model = "from torch import nn\n\nclass Net(nn.Sequential):\n    def __init__(self):\n"
    model += "        super().__init__(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))\n"
    rng = np.random.default_rng(6)
    x = rng.normal(size=(64, 3)) * UNEVEN
    state = {
        "0.weight": rng.normal(size=(8, 3)) / UNEVEN, "0.bias": rng.normal(size=8) / 4,
        "2.weight": rng.normal(size=(2, 8)), "2.bias": np.zeros(2),
    }  # fmt: skip
    return text_recipe(folder, model, x, state, extra)


def test_the_inputs_remedy_is_named_with_its_line(tmp_path):
    done, said = packed_json(uneven(tmp_path, "[quantize]\ninput_planes = 1\n"), tmp_path)
    assert done.returncode == 0
    assert "input: its rounding leaves layer '0' " in done.stderr
    assert 'what may help: quantize.input_exponents = "auto" (no cycles, no words' in done.stderr
    # The line that was named, written into the recipe: nothing is left to say.
    taken = '[quantize]\ninput_planes = 1\ninput_exponents = "auto"\n'
    done, better = packed_json(uneven(tmp_path, taken), tmp_path)
    assert better["notes"] == []
    assert better["judgement"]["snr"] > said["judgement"]["snr"] + 15


def test_a_narrow_layer_is_named_with_its_line(tmp_path):
    recipe = write_recipe(tmp_path, "Mlp96", '[quantize.layers."4"]\nweight_bits = 2\n', samples=40)
    done, said = packed_json(recipe, tmp_path)
    assert said["judgement"]["worst_layer"] == "4"
    # 12 outputs of 64 inputs on 16 lanes: 64 steps, of which a word holds four.
    line = 'what may help: quantize.layers."4".weight_bits = 8 (no cycles, about 48 words'
    assert line in done.stderr


def test_advise_tries_every_remedy_and_prints_a_table(tmp_path):
    recipe = uneven(tmp_path, "[quantize]\ninput_planes = 1\n")
    done = bramcast("pack", recipe, "--advise")
    assert done.returncode == 0
    rows = done.stdout.splitlines()
    start = next(i for i, row in enumerate(rows) if row.startswith("recipe "))
    assert [re.split("  +", row)[0] for row in rows[start + 1 :]] == [
        "as it is",
        'quantize.input_exponents = "auto"',
        "quantize.input_planes = 2",
        "quantize.activation_bits = 16",
    ]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "inputs.npz", "model.py", "recipe.toml", "weights.pth"
    ]  # fmt: skip
    # What the table says is what packing with the line gives.
    _, said = packed_json(recipe, tmp_path, "--advise")
    for trial in said["advice"][1:]:
        key = trial["line"].removeprefix("quantize.")
        kept = "" if key.startswith("input_planes") else "input_planes = 1\n"
        folder = tmp_path / key.split(" ")[0]
        _, alone = packed_json(uneven(folder, f"[quantize]\n{kept}{key}\n"), folder)
        assert trial["judgement"] == alone["judgement"] and trial["cycles"] == alone["cycles"]
        used = {image["name"]: image["used"] for image in alone["images"]}
        assert trial["words"] == used | {"scratch": alone["scratch_words"]}
