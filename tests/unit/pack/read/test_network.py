# SPDX-License-Identifier: Apache-2.0
"""Networks from torch.export programs and from bare state dicts; exactly one source a recipe."""

import io
import json
import pickle
import zipfile

import networks
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support import in_all, write_recipe
from torch import nn

from bramcast.pack.bundle.errors import (
    CheckpointError,
    InputError,
    RecipeError,
    UnsupportedLayer,
    UserError,
)
from bramcast.pack.pipeline import pack
from bramcast.pack.read.pt2 import load_exported
from bramcast.pack.read.state_dict_mlp import mlp_of_state_dict
from bramcast.pack.recipe.recipe import read_recipe

IMAGES = ("program.mem", "weights.mem", "bias.mem")


def same_images(one, other):
    return all((one / image).read_bytes() == (other / image).read_bytes() for image in IMAGES)


def with_model(recipe, *lines):
    """A recipe whose network comes from somewhere else."""
    kept = [row for row in recipe.read_text().splitlines()
            if not row.startswith(("python", "checkpoint"))]  # fmt: skip
    other = recipe.parent / "other.toml"
    other.write_text("\n".join([kept[0], *lines, *kept[1:]]) + "\n")
    return other


# --- torch.export ------------------------------------------------------------------------------


def saved_program(name, path, batch=1, dynamic=False):
    x = torch.zeros((batch, *networks.SHAPES[name]))
    shapes = ({0: torch.export.Dim("batch")},) if dynamic else None
    program = torch.export.export(networks.build(name), (x,), dynamic_shapes=shapes)
    torch.export.save(program, path)
    return path


@pytest.mark.parametrize("batch", [1, in_all(2), in_all(3), "free"])
@pytest.mark.parametrize(
    "name", ["Slices", "VggCeil", "Conv1dNet", "Normalised", "FrameMaximum", "OutOfOrder"]
)
def test_images_of_an_exported_program_are_those_of_the_model(name, batch, tmp_path):
    recipe = write_recipe(tmp_path, name)
    free = batch == "free"
    saved_program(name, tmp_path / "net.pt2", 2 if free else batch, free)
    want = pack(read_recipe(recipe), tmp_path / "want")
    got = pack(read_recipe(with_model(recipe, 'exported = "net.pt2"')), tmp_path / "got")
    assert same_images(tmp_path / "got", tmp_path / "want")
    assert got.manifest.layers == want.manifest.layers
    assert got.manifest.parameters == want.manifest.parameters


def changed(path, edit, name="models/model.json"):
    """Rewrite one part of an archive."""
    source = zipfile.ZipFile(io.BytesIO(path.read_bytes()))
    with zipfile.ZipFile(path, "w") as target:
        for part in source.namelist():
            data = source.read(part)
            target.writestr(part, edit(data) if part.endswith(name) else data)
    return path


@pytest.fixture
def program(tmp_path):
    return saved_program("Mlp96", tmp_path / "net.pt2", 2, dynamic=True)


def refused(path, *fragments, error=CheckpointError):
    with pytest.raises(error) as caught:
        load_exported(path)
    for fragment in (path.name, *fragments):
        assert fragment in str(caught.value), str(caught.value)


@pytest.mark.parametrize("target", ["torch.os.system", "_operator.attrgetter", "#x:y", "math.sin"])
def test_operators_that_are_not_atens_are_refused(target, program):
    def edit(data):
        return data.replace(b"torch.ops.aten.relu.default", target.encode())

    refused(changed(program, edit), target, error=UnsupportedLayer)


def test_expressions_are_not_evaluated(program, tmp_path):
    trap = tmp_path / "trapped"
    for expression in (f"open('{trap}', 'w')", "9**9**9", "().__class__", "exec (s0)", "Symbol.x"):
        path = tmp_path / "copy.pt2"
        path.write_bytes(program.read_bytes())

        def edit(data, text=expression):
            tree = json.loads(data)
            nodes = json.dumps(tree["graph_module"])
            at = nodes.index('"expr_str": "') + len('"expr_str": "')
            end = nodes.index('"', at)
            tree["graph_module"] = json.loads(nodes[:at] + text + nodes[end:])
            return json.dumps(tree).encode()

        refused(changed(path, edit), "expression")
    assert not trap.exists()


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_pickles_in_an_archive_are_not_run(program, tmp_path):
    trap = tmp_path / "trapped"
    torch.save(Trap(trap), tmp_path / "trap.pt")
    copy = tmp_path / "copy.pt2"
    copy.write_bytes(program.read_bytes())
    refused(changed(copy, lambda _: (tmp_path / "trap.pt").read_bytes(), "model.pt"), "run code")
    for flag in (b"true", b"1"):
        copy.write_bytes(program.read_bytes())
        weight = pickle.dumps(Trap(trap))
        changed(copy, lambda _, w=weight: w, "weight_0")
        edit = "model_weights_config.json"
        changed(copy, lambda d, f=flag: d.replace(b'"use_pickle": false', b'"use_pickle": ' + f),
                edit)  # fmt: skip
        refused(copy, "pickled")
    assert not trap.exists()


def test_compiled_code_and_doubled_parts_are_refused(program, tmp_path):
    data = program.read_bytes()
    with zipfile.ZipFile(program, "a") as archive:
        archive.writestr("net/data/aotinductor/model/x.so", b"\x7fELF")
    refused(program, "aotinductor")
    program.write_bytes(data)
    with zipfile.ZipFile(program, "a") as archive, pytest.warns(UserWarning):
        archive.writestr("net/models/model.json", b"{}")
    refused(program, "twice")


def test_archives_that_are_damaged_or_something_else(program, tmp_path):
    data = program.read_bytes()
    for keep in (10, len(data) // 2, len(data) - 30):
        program.write_bytes(data[:keep])
        refused(program, "torch.export.save")
    torch.save({"a": torch.ones(2)}, tmp_path / "weights.pt2")
    refused(tmp_path / "weights.pt2", "not a torch.export archive")
    program.write_bytes(b"")
    refused(program, "empty")
    refused(tmp_path / "no.pt2", "no such", error=InputError)


def test_diverged_weights_of_a_program_are_named(tmp_path):
    module = networks.build("Mlp96")
    module[2].bias.data[3] = float("inf")
    program = torch.export.export(module, (torch.zeros(2, 96),))
    torch.export.save(program, tmp_path / "net.pt2")
    refused(tmp_path / "net.pt2", "2.bias is infinite at flat index 3")


# --- a bare state dict -------------------------------------------------------------------------


def mlp(*sizes, names=None):
    torch.manual_seed(0)
    state = {}
    for index, (inputs, outputs) in enumerate(zip(sizes, sizes[1:], strict=False)):
        name = names[index] if names else str(2 * index)
        layer = nn.Linear(inputs, outputs)
        state[f"{name}.weight"], state[f"{name}.bias"] = layer.weight.data, layer.bias.data
    return state


def built(tmp_path, state, shape, activation="relu", choice=None):
    torch.save(state, tmp_path / "weights.pth")
    return mlp_of_state_dict(tmp_path / "weights.pth", choice, activation, shape)


def test_images_of_a_bare_state_dict_are_those_of_the_model(tmp_path):
    recipe = write_recipe(tmp_path, "Mlp96")
    pack(read_recipe(recipe), tmp_path / "want")
    for lines in (
        ['checkpoint = "weights.pth"'],
        ['checkpoint = "weights.pth"', 'activations = "relu"'],
    ):
        pack(read_recipe(with_model(recipe, *lines)), tmp_path / "got")
        assert same_images(tmp_path / "got", tmp_path / "want")


def computed(state, order, x, activation=torch.relu):
    for name in order[:-1]:
        x = activation(nn.functional.linear(x, state[f"{name}.weight"], state[f"{name}.bias"]))
    return nn.functional.linear(x, state[f"{order[-1]}.weight"], state[f"{order[-1]}.bias"])


@pytest.mark.parametrize(
    "names, shuffled",
    [
        (["fc1", "fc2", "fc10"], ["fc10", "fc1", "fc2"]),
        (["input", "hidden", "output"], ["hidden", "input", "output"]),
        (["net.enc.a", "net.enc.b", "net.head"], ["net.head", "net.enc.b", "net.enc.a"]),
    ],
)
def test_layers_follow_from_names_and_shapes(names, shuffled, tmp_path):
    state = mlp(12, 9, 9 if names[0] == "fc1" else 8, 5, names=names)
    mixed = {f"{n}.{p}": state[f"{n}.{p}"] for n in shuffled for p in ("bias", "weight")}
    model, x = built(tmp_path, {"state_dict": mixed}, (3, 4)), torch.randn(2, 3, 4)
    assert torch.equal(model(x), computed(state, names, x.flatten(1)))


def test_other_names_activations_and_files(tmp_path):
    weights = mlp(6, 5, 4, 3, names=["l1", "l2", "l3"])
    state = {f"{'W' if n.endswith('weight') else 'b'}{n[1]}": v for n, v in weights.items()}
    del state["b2"]
    weights["l2.bias"] = torch.zeros(4)
    save_file(state, tmp_path / "w.safetensors")
    model = mlp_of_state_dict(tmp_path / "w.safetensors", None, "tanh", (6,))
    x = torch.randn(3, 6)
    want = computed(weights, ["l1", "l2", "l3"], x, torch.tanh)
    assert torch.allclose(model(x), want, atol=1e-6)
    module = {f"module.{n}": v for n, v in mlp(6, 3, names=["type"]).items()}
    assert built(tmp_path, module, (6,))(x).shape == (3, 3)


@pytest.mark.parametrize(
    "state, shape, error, fragments",
    [
        (mlp(6, 5, 4), (7,), InputError, ["7 elements", "0.weight (5, 6)"]),
        (mlp(6, 6, 6, 6, names="acb"), (6,), None, []),
        ({**mlp(6, 5, 5), "x.weight": torch.ones(4, 3)}, (6,), CheckpointError, ["order"]),
        ({**mlp(6, 5), "conv.weight": torch.ones(2, 3, 3, 3)}, (6,), CheckpointError,
         ["'conv.weight' of shape (2, 3, 3, 3)", "[model] python"]),
        ({"bn.running_mean": torch.ones(3)}, (6,), CheckpointError, ["bn.running_mean"]),
        ({"a.weight": torch.full((2, 6), torch.nan)}, (6,), CheckpointError, ["a.weight", "NaN"]),
        ({"raw": mlp(6, 5), "ema": mlp(6, 5)}, (6,), CheckpointError, ["'raw'", "'ema'", "state"]),
        ({"a": 1}, (6,), CheckpointError, ["weights.pth"]),
    ],
)  # fmt: skip
def test_state_dicts_that_are_no_chain_of_layers(state, shape, error, fragments, tmp_path):
    if error is None:
        assert built(tmp_path, state, shape)(torch.zeros(1, 6)).shape == (1, 6)
        return
    with pytest.raises(error) as caught:
        built(tmp_path, state, shape)
    for fragment in ("weights.pth", *fragments):
        assert fragment in str(caught.value), str(caught.value)


def test_one_of_several_state_dicts(tmp_path):
    model = built(tmp_path, {"raw": mlp(6, 5), "ema": mlp(6, 4)}, (6,), choice="ema")
    assert model(torch.zeros(2, 6)).shape == (2, 4)


# --- the recipe --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines, fragments",
    [
        ([], ["no network", "onnx"]),
        (['python = "m.py:f"'], ["checkpoint is missing"]),
        (['onnx = "a.onnx"', 'exported = "b.pt2"'], ["onnx and exported are both given"]),
        (['onnx = "a.onnx"', 'checkpoint = "b.pth"'], ["onnx and checkpoint are both given"]),
        (['onnx = "a.onnx"', 'python = "m.py:f"'], ["onnx and python are both given"]),
        (['onnx = "a.onnx"', 'state = "ema"'], ["state"]),
        (['onnx = "a.onnx"', 'activations = "relu"'], ["activations"]),
        (['python = "m.py:f"', 'checkpoint = "b"', 'activations = "relu"'], ["activations"]),
        (['checkpoint = "b.pth"', 'activations = "swish"'], ["activations", "relu"]),
    ],
)
def test_exactly_one_source(lines, fragments, tmp_path):
    path = tmp_path / "r.toml"
    path.write_text("\n".join(["[model]", 'inputs = "x.npz"', *lines]) + "\n")
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    for fragment in ("r.toml: model", *fragments):
        assert fragment in str(caught.value), str(caught.value)


def test_the_state_of_a_recipe_is_used(tmp_path):
    recipe = write_recipe(tmp_path, "Mlp96")
    state = torch.load(tmp_path / "weights.pth")
    pack(read_recipe(recipe), tmp_path / "want")
    torch.save({"raw": networks.build("Mlp96", 5).state_dict(), "ema": state},
               tmp_path / "weights.pth")  # fmt: skip
    with pytest.raises(UserError, match='state = "ema"'):
        pack(read_recipe(recipe), tmp_path / "got")
    recipe.write_text(recipe.read_text().replace("inputs =", 'state = "ema"\ninputs ='))
    pack(read_recipe(recipe), tmp_path / "got")
    assert same_images(tmp_path / "got", tmp_path / "want")


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    import sys

    from bramcast.pack.bundle.errors import ToolError

    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "bramcast.pack.read.onnx_graph", raising=False)
    recipe = with_model(write_recipe(tmp_path, "Mlp96"), 'onnx = "net.onnx"')
    with pytest.raises(ToolError, match=r"pip install '\.\[onnx\]'"):
        pack(read_recipe(recipe), tmp_path / "got")


def test_arrays_need_no_names_to_be_read(tmp_path):
    state = {n: v.numpy() for n, v in mlp(6, 5).items()}
    assert np.isfinite(built(tmp_path, state, (6,))(torch.ones(1, 6)).detach().numpy()).all()
