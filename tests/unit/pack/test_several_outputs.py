# SPDX-License-Identifier: Apache-2.0
"""Networks with several outputs: named, one behind the other, each as PyTorch has it."""

import json
import warnings

import numpy as np
import pytest
import several
import torch
from several import write_recipe
from several_packed import packed_like_the_graph
from support import bramcast, in_all, text_recipe

from bramcast.golden.frames import frames_from_arrays, output_packets, outputs_from_beats
from bramcast.golden.load import load
from bramcast.pack.bundle.errors import InputError, UnsupportedLayer
from bramcast.pack.bundle.manifest import read_manifest
from bramcast.pack.bundle.program import Nest
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe

CORES = {
    "8 lanes": (8, 1, 8, 1), "4 lanes, 4 taps": (4, 4, 8, 1), "4 lanes of 16 bits": (4, 1, 16, 1),
    "4 lanes, 2 tiles": (4, 1, 8, 2),
}  # fmt: skip


SHORT = ("8 lanes", "4 lanes, 2 tiles")


def outputs_of(bundle, x):
    machine = load(bundle)
    return outputs_from_beats(
        machine.run(frames_from_arrays(x, machine.manifest.input)).beats, machine
    )


def behind_softmax(name, arrays):
    """Real results behind what the bundle leaves out."""
    whole = [torch.from_numpy(array) for array in arrays]
    if name == "Detector":
        whole[2] = whole[2].softmax(1)
    if name == "Twice":
        whole[1] = whole[1].log_softmax(1)
    return [array.numpy() for array in whole]


@pytest.mark.parametrize("core", SHORT)
def test_each_output_is_a_packet(core, tmp_path):
    """Maps of 6 x 5 and 3 x 3 positions with 6 numbers each, 5 classes."""
    packed, bundle = packed_like_the_graph("Detector", CORES[core], tmp_path)
    machine = load(bundle)
    sizes = [one.integers[0].size for one in outputs_of(bundle, packed.inputs.x[:1])]
    assert list(output_packets(machine)) == sizes == [180, 54, 5]
    sent = [d for d in machine.program if isinstance(d, Nest) and d.stream]
    assert sum(d.packet_end for d in sent) == 2 and not sent[-1].packet_end


@pytest.mark.parametrize("core", [in_all(core, when=core not in SHORT) for core in CORES])
@pytest.mark.parametrize("name", several.SHAPES)
def test_each_output_is_what_pytorch_says(name, core, tmp_path):
    packed, bundle = packed_like_the_graph(name, CORES[core], tmp_path)
    want = several.answers(name, packed.inputs.x)
    got = outputs_of(bundle, packed.inputs.x)
    assert [one.name for one in got] == several.NAMES[name]
    real = behind_softmax(name, [one.real for one in got])
    for one, wanted in zip(real, want, strict=True):
        assert one.shape == wanted.shape
        noise = ((one - wanted) ** 2).sum() / (wanted**2).sum()
        assert 10 * np.log10(noise) < -25, "less than 25 dB between signal and quantization noise"


def test_outputs_leave_in_the_order_in_which_they_are_returned(tmp_path):
    packed = pack(read_recipe(write_recipe(tmp_path, "HeadFirst")), tmp_path / "bundle")
    machine = load(tmp_path / "bundle")
    layers = machine.manifest.layers
    streams = [
        layers[machine.manifest.nests[number - 1].layer].name
        for number, nest in enumerate(machine.program)
        if isinstance(nest, Nest) and nest.stream
    ]
    # The feature and the picture are read inside, so they are copied out behind the head.
    assert list(dict.fromkeys(streams)) == ["head", "output.output1", "output.output2"]
    assert packed.quantized["head"].out.bits == 32  # its results are not rounded


def test_the_manifest_names_them_only_where_there_are_several(tmp_path):
    pack(read_recipe(write_recipe(tmp_path, "Detector")), tmp_path / "bundle")
    text = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert list(text)[-2:] == ["more_outputs", "sha256"]
    assert text["output"]["name"] == "boxes.0" and text["output"]["shape"] == [6, 6, 5]
    assert [one["name"] for one in text["more_outputs"]] == ["boxes.1", "kind"]
    assert [one["shape"] for one in text["more_outputs"]] == [[9, 6], [5]]
    assert [one["name"] for one in text["judgement"]["outputs"]] == several.NAMES["Detector"]
    one = text_recipe(
        tmp_path / "one",
        "from torch import nn\nclass Net(nn.Sequential):\n"
        "    def __init__(self):\n        super().__init__(nn.Linear(2, 2))\n",
        np.eye(2, dtype=np.float32), {"0.weight": np.eye(2), "0.bias": np.zeros(2)},
    )  # fmt: skip
    pack(read_recipe(one), tmp_path / "plain")
    text = json.loads((tmp_path / "plain" / "manifest.json").read_text())
    assert "more_outputs" not in text and "name" not in text["output"]
    assert "outputs" not in text["judgement"]


def test_labels_are_of_the_output_that_they_name(tmp_path):
    """Exact labels of the third output: nearly all are right, and none of the first ones'."""
    x = np.random.default_rng(0).normal(size=(40, 3, 12, 10)).astype(np.float32)
    labels = several.answers("Detector", x)[2].argmax(1)
    recipe = write_recipe(tmp_path, "Detector", y_kind=labels)
    packed = pack(read_recipe(recipe), tmp_path / "bundle")
    assert packed.manifest.float_accuracy == 1.0
    assert packed.manifest.judgement.accuracy >= 0.9
    done = bramcast("golden", tmp_path / "bundle", "--inputs", tmp_path / "inputs.npz", "--json")
    told = json.loads(done.stdout)
    assert told["accuracy"] == packed.manifest.judgement.accuracy
    assert told["beside_float"]["agreement"] == packed.manifest.judgement.agreement


def test_plain_labels_are_those_of_the_first_output(tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 20)).astype(np.float32)
    recipe = write_recipe(tmp_path, "Heads", y=several.answers("Heads", x)[0].argmax(1))
    assert pack(read_recipe(recipe), tmp_path / "bundle").manifest.float_accuracy == 1.0


def test_labels_of_two_outputs_are_refused(tmp_path):
    zeros = np.zeros(40, np.int64)
    recipe = write_recipe(tmp_path, "Heads", y=zeros, y_output1=zeros)
    with pytest.raises(
        InputError, match=r"inputs\.npz: has y and y_output1; one output has labels"
    ):
        pack(read_recipe(recipe), tmp_path / "bundle")


def test_other_arrays_of_the_file_are_no_labels(tmp_path):
    recipe = write_recipe(tmp_path, "Heads", y_test=np.zeros((3, 3)))
    assert pack(read_recipe(recipe), tmp_path / "bundle").inputs.y is None


def test_golden_saves_an_array_for_each_output(tmp_path):
    recipe = write_recipe(tmp_path, "Heads")
    pack(read_recipe(recipe), tmp_path / "bundle")
    x = np.load(tmp_path / "inputs.npz")["x"]
    done = bramcast("golden", tmp_path / "bundle", "--inputs", recipe, "-o", tmp_path / "out.npz")
    assert done.returncode == 0, done.stderr
    assert "  output 'output1': " in done.stdout
    saved = np.load(tmp_path / "out.npz")
    assert sorted(saved) == sorted(
        [f"{kind}_{name}" for kind in ("out", "out_int") for name in ("output0", "output1")]
    )
    for one in outputs_of(tmp_path / "bundle", x):
        assert np.array_equal(saved[f"out_int_{one.name}"], one.integers)
        assert np.array_equal(saved[f"out_{one.name}"], one.real)


def test_vectors_have_a_file_for_each_output(tmp_path):
    recipe = write_recipe(tmp_path, "Heads")
    pack(read_recipe(recipe), tmp_path / "bundle")
    folder = tmp_path / "vectors"
    done = bramcast("golden", tmp_path / "bundle", "--inputs", recipe, "--vectors", folder)
    assert done.returncode == 0, done.stderr
    first = outputs_of(tmp_path / "bundle", np.load(tmp_path / "inputs.npz")["x"][:1])
    for number, one in enumerate(first):
        lines = (folder / f"output{number}.mem").read_text().split()
        assert [int(line, 16) for line in lines] == (one.integers.ravel() % 2**32).tolist()


@pytest.mark.parametrize("kind", ["onnx", "exported"])
def test_other_files_have_several_outputs_too(kind, tmp_path):
    """The same network gives the same images, whatever it comes from."""
    plain = pack(read_recipe(write_recipe(tmp_path, "Detector")), tmp_path / "plain")
    x = torch.from_numpy(plain.inputs.x[:2])
    names = several.NAMES["Detector"]
    if kind == "onnx":
        pytest.importorskip("onnx")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                several.build("Detector"), (x,), str(tmp_path / "net"), dynamo=False,
                input_names=["x"], output_names=names,
                dynamic_axes={name: {0: "batch"} for name in ("x", *names)},
            )  # fmt: skip
    else:
        torch.export.save(torch.export.export(several.build("Detector"), (x,)), tmp_path / "net")
    (tmp_path / "net").rename(tmp_path / f"net.{'onnx' if kind == 'onnx' else 'pt2'}")
    recipe = tmp_path / "other.toml"
    file = next(tmp_path.glob("net.*")).name
    recipe.write_text(f'[model]\n{kind} = "{file}"\ninputs = "inputs.npz"\n')
    other = pack(read_recipe(recipe), tmp_path / "other")
    assert [frame.name for frame in other.manifest.outputs] == names
    got, want = (outputs_of(tmp_path / b, plain.inputs.x) for b in ("other", "plain"))
    for one, wanted in zip(got, want, strict=True):
        assert np.array_equal(one.integers, wanted.integers)


def test_anchors_have_places_of_their_own(tmp_path):
    """Channel 5 a + k is number k of anchor a; an anchor has 4 x 6 boxes of 5 numbers."""
    manifest = pack(read_recipe(write_recipe(tmp_path, "Anchors")), tmp_path / "bundle").manifest
    assert manifest.output.strides == [30, 5, 0]
    assert manifest.output.places == [0, 1, 2, 3, 4, 120, 121, 122, 123, 124]
    path = tmp_path / "bundle" / "manifest.json"
    text = json.loads(path.read_text())
    del text["output"]["places"][0]
    path.write_text(json.dumps(text | {"sha256": None}))
    with pytest.raises(InputError, match=r"manifest\.json: output: places: 9, but c has 10"):
        load(path.parent, allow_modified=True)


REFUSED = {
    "its output 'b' does not depend on the input": "{'a': self.fc(x), 'b': torch.ones(len(x), 2)}",
    "its output 'b' is zero whatever the input": "{'a': self.fc(x), 'b': torch.zeros_like(x)}",
    "its output 'output1': its softmax at the end repeats elements": (
        "self.fc(x), torch.softmax(torch.cat([self.fc(x)[:, :1]] * 2, 1), 1)"
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_an_output_that_can_not_be_is_refused_by_name(message, tmp_path):
    model = (
        "import torch\nfrom torch import nn\nclass Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.fc = nn.Linear(2, 2)\n"
        f"    def forward(self, x):\n        return {REFUSED[message]}\n"
    )
    state = {"fc.weight": np.eye(2), "fc.bias": np.zeros(2)}
    recipe = text_recipe(tmp_path, model, np.eye(2, dtype=np.float32), state)
    with pytest.raises(UnsupportedLayer, match=message):
        pack(read_recipe(recipe), tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_manifest_whose_outputs_share_a_name_is_refused(tmp_path):
    pack(read_recipe(write_recipe(tmp_path, "Heads")), tmp_path / "bundle")
    path = tmp_path / "bundle" / "manifest.json"
    text = json.loads(path.read_text())
    text["more_outputs"][0]["name"] = "output0"
    path.write_text(json.dumps(text | {"sha256": None}))
    assert read_manifest(path.parent).more_outputs[0].name == "output0"
    with pytest.raises(InputError, match="more_outputs: each output needs a name of its own"):
        load(path.parent, allow_modified=True)
