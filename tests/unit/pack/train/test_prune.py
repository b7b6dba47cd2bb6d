# SPDX-License-Identifier: Apache-2.0
"""bramcast prune, and the channels that [model] shrink leaves out of the images."""

import json
import tomllib

import networks
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support import DIGITS, cli, write_recipe
from torch import nn
from torch.nn.utils import prune as torch_prune

from bramcast.pack.bundle.errors import CheckpointError, InputError
from bramcast.pack.capture.capture import capture
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import weights_of
from bramcast.pack.passes.fold import fold
from bramcast.pack.passes.shrink import shrink
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.pack.run import execute
from bramcast.pack.samples.inputs import read_inputs
from bramcast.pack.train.prune import Goal, prune
from bramcast.sim.regress.agree import compare_with_graph


def state():
    """Two layers whose magnitudes are easy to order."""
    return {
        "a.weight": torch.tensor([[1.0, -2.0], [3.0, -4.0]]),
        "a.bias": torch.tensor([0.01, 0.02]),
        "b.weight": torch.tensor([[0.5, -5.0, 0.0, 7.0]]),
        "n.num_batches_tracked": torch.tensor(3),
    }


def pruned(tmp_path, what, goal, *filters, suffix=".pth"):
    """What prune makes of a state dict: the new one, and its account."""
    torch.save(what, tmp_path / "old.pth")
    output = tmp_path / f"new{suffix}"
    done = prune(tmp_path / "old.pth", output, goal, filters)
    return load_file(output) if suffix == ".safetensors" else torch.load(output), done


# ---------------------------------------------------------------- which weights


@pytest.mark.parametrize(
    "goal, a, b",
    [
        (Goal(threshold=2.0), [[0, 0], [3, -4]], [[0, -5, 0, 7]]),  # 2.0 itself goes
        (Goal(sparsity=0.5), [[0, 0], [3, -4]], [[0, -5, 0, 7]]),
        (Goal(sparsity=0.75), [[0, 0], [0, -4]], [[0, 0, 0, 7]]),
        # All: 0 0.5 1 2 | 3 4 5 7
        (Goal(sparsity=0.5, overall=True), [[0, 0], [3, -4]], [[0, -5, 0, 7]]),
        (Goal(sparsity=0.75, overall=True), [[0, 0], [0, 0]], [[0, -5, 0, 7]]),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_least_weights_become_zero(tmp_path, goal, a, b, suffix):
    new, done = pruned(tmp_path, state(), goal, suffix=suffix)
    assert new["a.weight"].tolist() == a and new["b.weight"].tolist() == b
    assert new["a.bias"].equal(state()["a.bias"]) and new["n.num_batches_tracked"] == 3
    assert new.keys() == state().keys()
    assert [(t.name, t.zeros_before) for t in done.tensors] == [("a.weight", 0), ("b.weight", 1)]
    assert [t.zeros_after for t in done.tensors] == [np.sum(np.equal(v, 0)) for v in (a, b)]


class ByThreshold(torch_prune.BasePruningMethod):
    """Pruning by a threshold as PyTorch's documents tell people to write it."""

    PRUNING_TYPE = "unstructured"

    def __init__(self, threshold):
        self.threshold = threshold

    def compute_mask(self, t, default_mask):
        return torch.abs(t) > self.threshold


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("threshold", [0.1, 0.25, 1 / 3])
def test_a_threshold_takes_what_pytorchs_recipe_takes(tmp_path, dtype, threshold):
    at = torch.tensor(threshold, dtype=dtype)
    near = [torch.nextafter(at, torch.tensor(to, dtype=dtype)) for to in (0.0, 1.0)]
    weight = torch.stack([at, -at, *near, -near[0], -near[1], 0 * at, 2 * at]).reshape(2, 4)
    layer = nn.Linear(4, 2, bias=False, dtype=dtype)
    layer.weight = nn.Parameter(weight.clone())
    ByThreshold.apply(layer, "weight", threshold=threshold)
    new, _ = pruned(tmp_path, {"weight": weight}, Goal(threshold=threshold))
    assert new["weight"].equal(layer.weight)
    assert (new["weight"] == 0).tolist() == [[True, True, True, False], [True, False, True, False]]


def test_a_bias_is_pruned_only_by_its_name(tmp_path):
    new, _ = pruned(tmp_path, state(), Goal(threshold=100.0), "a")
    assert new["a.bias"].equal(state()["a.bias"]) and not new["a.weight"].any()
    assert new["b.weight"].equal(state()["b.weight"])
    new, _ = pruned(tmp_path, state(), Goal(threshold=0.015), "a.bias")
    assert new["a.bias"].tolist() == [0.0, pytest.approx(0.02)]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_types_stay(tmp_path, dtype):
    what = {"a.weight": torch.tensor([[1.0, 2.0]], dtype=dtype)}
    new, _ = pruned(tmp_path, what, Goal(sparsity=0.5))
    assert new["a.weight"].dtype is dtype and new["a.weight"].tolist() == [[0.0, 2.0]]


def test_tied_tensors_stay_tied(tmp_path):
    shared = torch.tensor([[1.0, 1.0, 1.0, 2.0]])
    what = {"a.weight": shared, "b.weight": shared, "c.weight": torch.tensor([[1.0, 9.0]])}
    new, _ = pruned(tmp_path, what, Goal(sparsity=0.5, overall=True))
    # Six weights, three of them zero: the shared ones count once.
    assert new["a.weight"].tolist() == [[0, 0, 0, 2]] and new["c.weight"].tolist() == [[1, 9]]
    assert new["a.weight"].data_ptr() == new["b.weight"].data_ptr()


def test_a_wrapped_state_dict_becomes_plain(tmp_path):
    what = {"epoch": 3, "state_dict": {f"module.{n}": v for n, v in state().items()}}
    new, done = pruned(tmp_path, what, Goal(threshold=2.0))
    assert list(new) == [f"module.{n}" for n in state()]
    assert any("'state_dict' of old.pth becomes a plain state dict" in n for n in done.notes)


def test_masks_are_carried_out(tmp_path):
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, -2.0], [3.0, -4.0]]))
    torch_prune.l1_unstructured(layer, "weight", amount=1)
    new, done = pruned(tmp_path, layer.state_dict(), Goal(threshold=2.5))
    assert new.keys() == {"weight", "bias"} and new["weight"].tolist() == [[0, 0], [3, -4]]
    assert done.tensors[0].zeros_before == 1 and any("1 pruning masks" in n for n in done.notes)


def test_channels_take_bias_and_batchnorm_along(tmp_path):
    what = {
        "conv.weight": torch.tensor([[2.0, 2.0], [9.0, -9.0], [0.5, -5.0]]).reshape(3, 2, 1, 1),
        "conv.bias": torch.tensor([1.0, 1.0, 1.0]),
        "bn.weight": torch.tensor([1.0, 1.0, 1.0]),
        "bn.bias": torch.tensor([0.5, 0.5, 0.5]),
        "bn.running_mean": torch.tensor([7.0, 7.0, 7.0]),
        "fc.weight": torch.tensor([[1.0, 0.0, 1.0], [9.0, 9.0, 9.0]]),
    }
    new, done = pruned(tmp_path, what, Goal(sparsity=0.3, channels=True))
    assert new["conv.weight"].flatten(1).tolist() == [
        [0, 0],
        [9, -9],
        [0.5, -5],
    ]  # means 2, 9, 2.75
    for name in ("conv.bias", "bn.weight", "bn.bias"):
        assert (new[name] == 0).tolist() == [True, False, False], name
    assert new["bn.running_mean"].tolist() == [7.0, 7.0, 7.0]
    assert new["fc.weight"].equal(what["fc.weight"])  # the outputs
    assert (done.tensors[0].channels_before, done.tensors[0].channels_after) == (0, 1)
    # A threshold takes the channels whose largest weight does not exceed it, but never all.
    new, _ = pruned(tmp_path, what, Goal(threshold=5.0, channels=True))
    assert (new["conv.weight"].flatten(1) == 0).all(1).tolist() == [True, False, True]
    new, _ = pruned(tmp_path, what, Goal(threshold=99.0, channels=True))
    assert (new["conv.weight"].flatten(1) == 0).all(1).tolist() == [True, False, True]


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "goal",
    [{}, {"threshold": 1.0, "sparsity": 0.5}, {"sparsity": 50.0}, {"sparsity": 0.0},
     {"threshold": -1.0}, {"threshold": float("nan")}, {"threshold": 1.0, "overall": True}],
)  # fmt: skip
def test_goals_that_make_no_sense(goal):
    with pytest.raises(InputError, match="--"):
        Goal(**goal)


def refusals():
    normed = torch.nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)).state_dict()
    nan = {"a.weight": torch.tensor([[float("nan")]])}
    return {
        "two": ({"net": state(), "ema": {**state(), "b.weight": torch.zeros(1, 4)}}, "several"),
        "nan": (nan, "a.weight is NaN at flat index 0"),
        "norm": (normed, "weight or spectral normalisation"),
        "bias": ({"a.bias": torch.ones(2)}, "nothing to prune"),
        "sparse": ({"a.weight": torch.eye(2).to_sparse()}, "sparse"),
    }


@pytest.mark.parametrize("case", sorted(refusals()))
def test_refusals_write_nothing(tmp_path, case):
    what, message = refusals()[case]
    torch.save(what, tmp_path / "old.pth")
    with pytest.raises(CheckpointError, match=message):
        prune(tmp_path / "old.pth", tmp_path / "new.pth", Goal(sparsity=0.5))
    assert [p.name for p in tmp_path.iterdir()] == ["old.pth"]


def test_refusals_of_the_command(tmp_path, capsys):
    for arguments, fragment in (
        ([DIGITS / "mlp.pth", "--sparsity", 0.5, "--shrink"], "--shrink needs --recipe"),
        ([DIGITS / "mlp.pth"], "--threshold T or --sparsity S"),
        ([tmp_path / "net.onnx", "--sparsity", 0.5], "before the network is exported"),
    ):
        code, out, err = cli(capsys, "prune", *arguments, "-o", tmp_path / "new.pth")
        assert (code, out) == (2, "") and fragment in err
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- with a recipe


def accuracy(module, inputs):
    with torch.no_grad():
        out = module.eval()(torch.from_numpy(inputs.x).float()).numpy()
    return float((out.argmax(axis=1) == inputs.y).mean())


def test_accuracy_images_and_the_new_recipe(tmp_path, capsys):
    output = tmp_path / "new.pth"
    arguments = ["--sparsity", 0.25, "--channels", "--shrink", "-o", output]
    code, out, _ = cli(capsys, "prune", DIGITS / "mlp.toml", *arguments, "--json")
    found = json.loads(out)
    assert code == 0
    module = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Identity(), nn.Linear(48, 32), nn.ReLU(),
        nn.Linear(32, 10),
    )  # fmt: skip
    inputs = read_inputs(DIGITS / "mlp.toml")
    for when, path in (("before", DIGITS / "mlp.pth"), ("after", output)):
        module.load_state_dict(torch.load(path))
        assert found[when]["float_accuracy"] == accuracy(module, inputs)
        assert abs(found[when]["quantized_accuracy"] - found[when]["float_accuracy"]) < 0.02
    # 48 channels lose 12, 32 lose 8. Words of 16 lanes: 64 * 3 + 48 * 2 + 32 * 1 before,
    # 64 * 3 + 36 * 2 + 24 * 1 after.
    assert found["before"]["words"]["weights"] == 320
    assert found["after"]["words"]["weights"] == 288
    assert found["after"]["channels_removed"] == 12 + 8
    recipe = read_recipe(tmp_path / "new.toml")
    assert recipe.model.shrink and recipe.model.checkpoint == "new.pth" and recipe.core.lanes == 16
    packed = pack(recipe, tmp_path / "bundle")
    assert packed.manifest.float_accuracy == found["after"]["float_accuracy"]


def test_a_foreign_file_in_the_recipes_place_stays(tmp_path):
    (tmp_path / "new.toml").write_text("mine = 1\n")
    done = prune(DIGITS / "mlp.toml", tmp_path / "new.pth", Goal(sparsity=0.1))
    assert (tmp_path / "new.toml").read_text() == "mine = 1\n"
    assert done.recipe is None and any("stays as it is" in n for n in done.notes)


def test_the_new_recipe_keeps_every_key(tmp_path):
    recipe = write_recipe(
        tmp_path / "old", "Mlp96",
        '[quantize]\nrefine = false\n[quantize.layers."0"]\nweight_bits = 4\n'
        '[core]\nlanes = 8\n[images]\nformats = ["mem", "mif"]\n',
    )  # fmt: skip
    prune(recipe, tmp_path / "new" / "w.safetensors", Goal(threshold=0.01))
    old, new = (tomllib.loads(p.read_text()) for p in (recipe, tmp_path / "new" / "w.toml"))
    assert new["model"].pop("checkpoint") == "w.safetensors" and old["model"].pop("checkpoint")
    assert new["model"].pop("inputs") == "../old/inputs.npz" and old["model"].pop("inputs")
    assert new["model"].pop("python").endswith("networks.py:Mlp96") and old["model"].pop("python")
    assert new == old


# ---------------------------------------------------------------- shrink


def integers(name, seed, columns):
    """A network of small integers with zero channels: its float64 results are exact."""
    module = networks.build(name, seed).double()
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for key, value in module.state_dict().items():
            if value.is_floating_point():
                value.copy_(torch.from_numpy(rng.integers(-3, 4, value.shape).astype(float)))
            if key.endswith("running_var"):
                value.fill_(1.0)
            if value.ndim > 1:
                value[torch.from_numpy(rng.random(value.shape[0]) < 0.5)] = 0
                if columns:
                    value[:, torch.from_numpy(rng.random(value.shape[1]) < 0.4)] = 0
        for layer in module.modules():
            if hasattr(layer, "running_var"):
                layer.eps = 0.0
    return module.float()


def outputs(graph: Graph, x):
    *_, step = execute.run(graph, execute.input_tensor(graph, x), execute.real_compute)
    return execute.output_array(graph, [step.result])


NETWORKS = [
    "Mlp96", "VggCeil", "NegativeMax", "SignedUnsignedAdd", "UnalignedConcat", "Grouped", "Slices",
    "Conv1dNet", "DepthwiseFirst", "FlatParts", "PreActivation", "EqualParts", "FlatConcat",
    "TwoHeads", "FrameTurned",
]  # fmt: skip


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_smaller_graph_computes_the_same(name, columns):
    module = integers(name, 3, columns)
    shape = networks.SHAPES[name]
    graph = fold(capture(module.eval(), shape, name, "test"))
    x = np.random.default_rng(0).integers(-4, 5, (3, *shape)).astype(float)
    before = outputs(graph, x)
    shrunk = shrink(graph)
    small, removed = shrunk.graph, shrunk.removed
    assert np.array_equal(outputs(small, x), before)
    assert removed
    assert sum(weights_of(op).size for op in small.ops) < sum(
        weights_of(op).size for op in graph.ops
    )


def three_layers(bias, padding):
    """Conv 1x1 - ReLU - Conv - ReLU - Conv 1x1; channel 1 of the first has no weights."""
    module = nn.Sequential(
        nn.Conv2d(1, 3, 1), nn.ReLU(), nn.Conv2d(3, 2, 3, padding=padding), nn.ReLU(),
        nn.Conv2d(2, 1, 1),
    )  # fmt: skip
    with torch.no_grad():
        for value in module.parameters():
            value.fill_(1.0)
        module[0].weight[1] = 0
        module[0].bias[1] = bias
    return fold(capture(module.eval(), (1, 4, 4), "three", "test"))


@pytest.mark.parametrize(
    "bias, padding, channels, folded",
    [
        (5.0, 0, 2, 1.0 + 9 * 5.0),  # 3 x 3 ones see the constant 5 everywhere
        (-5.0, 0, 2, 1.0),  # ReLU makes it zero
        (-5.0, 1, 2, 1.0),
        (5.0, 1, 3, 1.0),  # the border sees zeros beside it: it has to stay
    ],
)
def test_constants_go_into_biases_unless_a_border_shows(bias, padding, channels, folded):
    shrunk = shrink(three_layers(bias, padding))
    small, removed = shrunk.graph, shrunk.removed
    first, second, _ = small.ops
    assert first.out.channels == channels and second.weight.shape == (2, channels, 3, 3)
    assert second.bias.tolist() == [folded, folded]
    assert [r.op for r in removed] == ([first.name, second.name] if channels == 2 else [])
    if removed:
        assert (removed[0].channels, removed[0].of, removed[1].inputs) == (1, 3, 1)


class Rounded(nn.Module):
    """What the first layer adds up is rounded to multiples of 1/2 in forward()."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 1)

    def forward(self, x):
        return self.b(torch.floor(self.a(x) * 2 + 0.5) / 2)


def test_a_constant_is_rounded_where_forward_rounds_it():
    module = Rounded()
    with torch.no_grad():
        for value in module.parameters():
            value.fill_(1.0)
        module.a.weight[1] = 0
        module.a.bias[1] = 3.3
    small = shrink(fold(capture(module.eval(), (2,), "rounded", "test"))).graph
    assert small.ops[-1].weight.shape[1] == 1
    assert small.ops[-1].bias.tolist() == [1.0 + 3.5]


class PaddedDead(nn.Module):
    """A layer without weights that reads zero padding first."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 2), nn.Linear(4, 2), nn.Linear(2, 1)

    def forward(self, x):
        return self.c(torch.relu(self.b(nn.functional.pad(torch.relu(self.a(x)), (2, 0)))))


@pytest.mark.parametrize("dead", ["b", "ab"])
def test_a_layer_without_weights_keeps_something_to_read(dead):
    module = PaddedDead()
    with torch.no_grad():
        for name in dead:
            getattr(module, name).weight.zero_()
    graph = fold(capture(module.eval(), (3,), "dead", "test"))
    x = np.random.default_rng(0).normal(size=(3, 3))
    small = shrink(graph).graph
    assert all(small.owners(view) for op in small.ops for view in op.views)
    assert np.array_equal(outputs(small, x), outputs(graph, x))


def test_removal_goes_on_backwards():
    # The last layer reads only channel 0, whose weights read only input 2 of the first layer.
    module = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        for value in module.parameters():
            value.fill_(1.0)
        module[4].weight[:, 1:] = 0
        module[2].weight[0, [0, 1, 3, 4]] = 0
    small = shrink(fold(capture(module.eval(), (4,), "back", "test"))).graph
    assert [op.weight.shape[:2] for op in small.ops] == [(1, 4), (1, 1), (2, 1)]
    assert small.input.elements == 4  # the frame stays


def test_time_steps_stay():
    module = integers("GruNet", 0, True)
    graph = fold(capture(module, networks.SHAPES["GruNet"], "gru", "test"))
    shrunk = shrink(graph)
    small, removed = shrunk.graph, shrunk.removed
    steps = [op.name for op in graph.ops if op.name.startswith("gru.")]
    assert len(steps) > 20 and [op.name for op in small.ops if op.name in steps] == steps
    assert removed and not {r.op for r in removed} & set(steps)


class Twice(nn.Module):
    """One layer that is used twice: its weights are stored once."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.b(torch.relu(self.a(torch.relu(self.a(x)))))


def test_weights_that_serve_twice_stay():
    module = Twice().eval()
    with torch.no_grad():
        module.a.weight[1:] = 0
    shrunk = shrink(fold(capture(module, (4,), "twice", "test")))
    small, removed = shrunk.graph, shrunk.removed
    assert [op.weight.shape[:2] for op in small.ops] == [(4, 4), (4, 4), (2, 4)] and not removed


@pytest.mark.parametrize("name", ["VggCeil", "UnalignedConcat", "Grouped"])
def test_images_shrink_and_golden_still_agrees(tmp_path, name):
    recipe = write_recipe(tmp_path, name)
    state = torch.load(tmp_path / "weights.pth")
    for value in state.values():
        if value.ndim > 1:
            value[::2] = 0
    torch.save(state, tmp_path / "weights.pth")
    words = []
    for flag in ("false", "true"):
        text = recipe.read_text().replace("[model]\n", f"[model]\nshrink = {flag}\n")
        (tmp_path / f"{flag}.toml").write_text(text)
        packed = pack(read_recipe(tmp_path / f"{flag}.toml"), tmp_path / flag)
        agreement = compare_with_graph(packed, tmp_path / flag, lambda *_: None)
        assert agreement.mismatches == 0, agreement.text
        words.append({i.name: i.used for i in packed.manifest.images})
    assert words[1]["weights"] < 0.7 * words[0]["weights"]
    assert words[1]["bias"] <= words[0]["bias"]


def test_safetensors_are_read(tmp_path):
    save_file(state(), tmp_path / "old.safetensors")
    done = prune(tmp_path / "old.safetensors", tmp_path / "new.pth", Goal(threshold=2.0))
    assert torch.load(done.output)["a.weight"].tolist() == [[0, 0], [3, -4]]
