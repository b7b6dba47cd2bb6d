"""Every pack is judged against the float network, on what varies between samples."""

import json

import numpy as np
import pytest
import torch
from support import DIGITS, bramcast, text_recipe, write_recipe
from torch import nn

from bramcast.pack.blame import blame
from bramcast.pack.calibrate import integer_outputs, real_outputs
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe import read_recipe

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
    assert done.returncode == 0 and "the outputs do not vary between them" in done.stdout
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
