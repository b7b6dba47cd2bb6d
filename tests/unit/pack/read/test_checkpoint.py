# SPDX-License-Identifier: Apache-2.0
"""Checkpoints as they are found: wrapped, prefixed, pruned, normalised, damaged or hostile."""

import argparse
import copy
import io
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support import MODELS
from torch import nn
from torch.nn.utils import parametrizations, prune
from torch.nn.utils import spectral_norm as old_spectral_norm

from bramcast.pack.bundle.errors import CheckpointError, InputError
from bramcast.pack.read.checkpoint import load_checkpoint
from bramcast.pack.read.model_file import load_module


class Net(nn.Module):
    """Two layers with weights and a BatchNorm."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(torch.relu(self.bn(self.conv(x))).mean((2, 3)))


X = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def net(seed=0):
    torch.manual_seed(seed)
    made = Net()
    made.bn.running_mean.uniform_(-0.5, 0.5)
    made.bn.running_var.uniform_(0.3, 2.0)
    return made.eval()


def loaded(path, choice=None, model=None):
    """What a network computes after the checkpoint has been put into it."""
    model = load_checkpoint(net(9) if model is None else model, path, choice)
    with torch.no_grad():
        return model.eval()(X)


def saved(tmp_path, what):
    torch.save(what, tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


def gives(path, model, choice=None, tolerance=0.0):
    with torch.no_grad():
        want = model.eval()(X)
    assert (loaded(path, choice) - want).abs().max() <= tolerance


def prefixed(state, prefix):
    return {prefix + name: value for name, value in state.items()}


WRAPPED = {
    "plain": lambda s: s,
    "training state": lambda s: {
        "epoch": 7, "state_dict": s, "best_acc": np.float64(0.5), "args": argparse.Namespace(lr=1),
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]},
        "optim_state_dict": {"fc.weight": torch.zeros(5, 4)},
    },
    "Lightning": lambda s: {
        "pytorch-lightning_version": "2.1", "hyper_parameters": {"lr": 1e-3},
        "state_dict": {**prefixed(s, "model."), "criterion.weight": torch.ones(5)},
    },
    "model_state_dict": lambda s: {"model_state_dict": s},
    "net": lambda s: {"net": s, "acc": 3},
    "module": lambda s: {"module": s},
    "params": lambda s: {"params": s},
    "generator": lambda s: {"generator": s, "discriminator": {"main.weight": torch.ones(2)}},
    "nested": lambda s: {"checkpoint": {"weights": {"model": s}}, "mean": torch.zeros(3)},
    "compiled and parallel": lambda s: prefixed(s, "module._orig_mod."),
    "three prefixes": lambda s: prefixed(s, "module.model.net."),
    "compiled inside": lambda s: {
        n.replace("conv.", "conv._orig_mod."): v for n, v in s.items()
    },
    "one dictionary per layer": lambda s: {
        layer: {n.partition(".")[2]: v for n, v in s.items() if n.startswith(layer)}
        for layer in ("conv", "bn", "fc")
    },
    "averaged": lambda s: {"n_averaged": torch.tensor(3), **prefixed(s, "module.")},
    "thop": lambda s: {**s, "total_ops": torch.zeros(1), "fc.total_params": torch.zeros(1)},
    "numpy": lambda s: {n: v.numpy() for n, v in s.items()},
    "without counters": lambda s: {n: v for n, v in s.items() if "num_batches" not in n},
    "double": lambda s: {n: v.double() for n, v in s.items()},
    "transposed storage": lambda s: {**s, "fc.weight": s["fc.weight"].t().contiguous().t()},
    "parameters": lambda s: {n: nn.Parameter(v, v.is_floating_point()) for n, v in s.items()},
}  # fmt: skip


@pytest.mark.parametrize("form", WRAPPED)
def test_a_state_dict_is_found_in_what_is_around_it(form, tmp_path):
    gives(saved(tmp_path, WRAPPED[form](net().state_dict())), net())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_as_it_is(dtype, tmp_path):
    state = net().state_dict()
    rounded = {n: v.to(dtype) if v.is_floating_point() else v for n, v in state.items()}
    want = net()
    want.load_state_dict(rounded)
    gives(saved(tmp_path, rounded), want)
    save_file(rounded, tmp_path / "weights.safetensors")
    gives(tmp_path / "weights.safetensors", want)


def test_shared_storage_and_views(tmp_path):
    state = net().state_dict()
    pool = torch.cat([v.flatten() for v in state.values() if v.is_floating_point()])
    start = 0
    for name, value in state.items():
        if value.is_floating_point():
            state[name] = pool[start : start + value.numel()].view(value.shape)
            start += value.numel()
    gives(saved(tmp_path, state), net())


def test_tensors_saved_on_a_gpu(tmp_path):
    buffer = io.BytesIO()
    torch.save(net().state_dict(), buffer)
    source, path = zipfile.ZipFile(buffer), tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as target:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith("data.pkl"):
                assert b"X\x03\x00\x00\x00cpu" in data
                data = data.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:1")
            target.writestr(name, data)
    gives(path, net())


def test_the_old_file_format(tmp_path):
    torch.save(net().state_dict(), tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    gives(tmp_path / "w.pth", net())


def test_tied_parameters_may_be_saved_once(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(torch.relu(self.a(x)))

    model, fresh, x = Tied(), Tied(), torch.randn(3, 4)
    for dropped in ("a.weight", "b.weight"):
        state = {n: v for n, v in model.state_dict().items() if n != dropped}
        load_checkpoint(fresh, saved(tmp_path, state))
        assert torch.equal(fresh(x), model(x))


def test_layers_in_one_module_more_than_the_checkpoint_knows(tmp_path):
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = net(9)

        def forward(self, x):
            return self.model(x)

    path = saved(tmp_path, prefixed(net().state_dict(), "module."))
    assert torch.equal(loaded(path, model=Outer()), net()(X))


# --- parametrizations --------------------------------------------------------------------------


def test_pruning_masks_are_multiplied_in(tmp_path):
    model = net()
    prune.random_unstructured(model.fc, "weight", 0.5)
    prune.ln_structured(model.conv, "weight", 0.5, 2, 0)
    prune.random_unstructured(model.conv, "bias", 0.5)
    path = saved(tmp_path, {"state_dict": model.state_dict()})
    gives(path, model)
    half = {n: v.half() if v.is_floating_point() else v for n, v in model.state_dict().items()}
    gives(saved(tmp_path, half), model, tolerance=1e-2)


@pytest.mark.parametrize("dim", [0, 1, 3, None])
@pytest.mark.parametrize("kind", ["old", "new"])
def test_weight_normalisation_along_any_axis(kind, dim, tmp_path):
    model = net()
    norm = torch.nn.utils.weight_norm if kind == "old" else parametrizations.weight_norm
    model.conv = norm(model.conv, dim=dim)
    model.fc = norm(model.fc, dim=min(dim, 1) if dim is not None else None)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("_g", "original0")):
                parameter.mul_(1.5)
    gives(saved(tmp_path, model.state_dict()), model, tolerance=1e-5)


def test_old_weight_norm_fits_a_model_with_the_new_one(tmp_path):
    old, new = net(), net(9)
    old.fc = torch.nn.utils.weight_norm(old.fc)
    new.fc = parametrizations.weight_norm(new.fc)
    path = saved(tmp_path, prefixed(old.state_dict(), "module."))
    assert (loaded(path, model=new) - old(X)).abs().max() < 1e-5


def test_a_pruned_and_normalised_weight(tmp_path):
    model = net()
    model.fc = torch.nn.utils.weight_norm(model.fc)
    prune.random_unstructured(model.fc, "weight_v", 0.5)
    model(X)
    gives(saved(tmp_path, model.state_dict()), model, tolerance=1e-5)


@pytest.mark.parametrize("norm", [old_spectral_norm, parametrizations.spectral_norm])
def test_spectral_normalisation(norm, tmp_path):
    model = net()
    model.conv, model.fc = norm(model.conv), norm(model.fc)
    for _ in range(3):
        model.train()(X)
    model.eval()(X)
    gives(saved(tmp_path, model.state_dict()), model, tolerance=1e-5)


def test_a_parametrization_of_ones_own_is_refused(tmp_path):
    model = net()
    parametrizations.orthogonal(model.fc)
    with pytest.raises(CheckpointError, match=r"fc.parametrizations.*remove_parametrizations"):
        loaded(saved(tmp_path, model.state_dict()))


def test_batch_norm_without_affine_or_counters(tmp_path):
    model, fresh = net(), net(9)
    for m in (model, fresh):
        m.bn = nn.BatchNorm2d(4, affine=False)
    model.bn.running_mean.uniform_(-1, 1)
    state = {n: v for n, v in model.state_dict().items() if "num_batches" not in n}
    assert torch.equal(loaded(saved(tmp_path, state), model=fresh), model.eval()(X))


# --- which of several --------------------------------------------------------------------------


AVERAGES = {
    "beside": lambda raw, ema: {"state_dict": raw, "state_dict_ema": ema},
    "nested": lambda raw, ema: {"model": raw, "ema": {"decay": 0.9, "module": ema}},
    "prefix": lambda raw, ema: {"state_dict": {**prefixed(raw, "model."), **prefixed(ema, "e.")}},
}
NAMES = {
    "beside": ("state_dict", "state_dict_ema"),
    "nested": ("model", "ema.module"),
    "prefix": ("state_dict.model", "state_dict.e"),
}


@pytest.mark.parametrize("form", AVERAGES)
def test_averaged_weights_beside_raw_ones_are_asked_for(form, tmp_path):
    path = saved(tmp_path, AVERAGES[form](net(1).state_dict(), net(2).state_dict()))
    raw, ema = NAMES[form]
    with pytest.raises(CheckpointError) as caught:
        loaded(path)
    for name in (repr(raw), repr(ema), '[model] state = "'):
        assert name in str(caught.value)
    gives(path, net(1), raw)
    gives(path, net(2), ema)
    with pytest.raises(CheckpointError, match="no state dict 'nothing'.*there are"):
        loaded(path, "nothing")


def test_equal_copies_are_no_question(tmp_path):
    state = net().state_dict()
    gives(saved(tmp_path, {"state_dict": state, "ema": copy.deepcopy(state)}), net())


# --- what does not fit -------------------------------------------------------------------------


def refused(path, *fragments, error=CheckpointError):
    with pytest.raises(error) as caught:
        loaded(path)
    for fragment in (path.name, *fragments):
        assert fragment in str(caught.value), str(caught.value)


def test_missing_and_surplus_tensors_are_named_with_the_nearest(tmp_path):
    state = net().state_dict()
    state["fc1.bias"] = state.pop("fc.bias")
    refused(saved(tmp_path, state), "no tensor 'fc.bias' of shape (5,)", "'fc1.bias' of shape (5,)")
    state["fc.bias"] = torch.zeros(5)
    refused(saved(tmp_path, state), "'fc1.bias' of shape (5,)", "'fc.bias' of shape (5,)")


def test_a_checkpoint_of_another_network(tmp_path):
    refused(saved(tmp_path, {"a.b": torch.ones(2)}), "8 of", "are missing", "a.b")
    refused(saved(tmp_path, {}), "are missing")


def test_shapes_that_differ(tmp_path):
    state = {**net().state_dict(), "fc.weight": torch.ones(4, 5)}
    refused(saved(tmp_path, prefixed(state, "module.")), "fc.weight", "(4, 5)", "(5, 4)")


@pytest.mark.parametrize("value, said", [(float("nan"), "NaN"), (float("inf"), "infinite")])
def test_numbers_that_are_none(value, said, tmp_path):
    state = net().state_dict()
    state["fc.weight"][1, 2] = value
    refused(saved(tmp_path, state), "fc.weight", said, "index 6")


def test_negative_variance_is_named_and_zero_is_fine(tmp_path):
    state = net().state_dict()
    state["bn.running_var"][2] = -0.5
    refused(saved(tmp_path, state), "bn.running_var", "negative at index 2", "-0.5")
    model = net()
    model.bn.running_var[2] = 0
    gives(saved(tmp_path, model.state_dict()), model)
    path, without = saved(tmp_path, model.state_dict()), net(9)
    without.bn.eps = 0.0
    with pytest.raises(CheckpointError, match="bn.running_var is zero.*eps"):
        load_checkpoint(without, path)


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda v: v.to_sparse(), "sparse"),
        (lambda v: torch.quantize_per_tensor(v, 0.1, 0, torch.qint8), "qint8"),
        (lambda v: v.to(torch.complex64), "complex64"),
        (lambda v: v.to("meta"), "meta"),
    ],
)
def test_tensors_that_are_not_plain_numbers(make, said, tmp_path):
    state = net().state_dict()
    state["fc.weight"] = make(state["fc.weight"])
    refused(saved(tmp_path, state), "fc.weight", said)


# --- files that are something else -------------------------------------------------------------

FILES = {
    "empty.pth": (b"", "empty (0 bytes)"),
    "empty.safetensors": (b"", "empty (0 bytes)"),
    "pointer.pth": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
    "pointer.safetensors": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "page.pth": (b"<!DOCTYPE html><html>Not found</html>", "text file", "<!DOCTYPE html>"),
    "notes.pt": (b"epoch 3: accuracy 0.93\n", "text file", "accuracy 0.93"),
    "keras.pth": (b"\x89HDF\r\n\x1a\n" + b"\0" * 40, "HDF5", "onnx"),
    "noise.pth": (bytes(range(256)) * 9, "state_dict"),
    "long.safetensors": (b"\xff" * 8 + b'{"a":1}', "safetensors"),
    "json.safetensors": (b"\x05\0\0\0\0\0\0\0{bad}", "safetensors"),
    "net.onnx": (b"\x08\x07\x12\x07pytorch" * 9, "[model] onnx"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_something_else_is_said_to_be(name, tmp_path):
    content, *said = FILES[name]
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, *said)


def test_a_folder_and_a_missing_file(tmp_path):
    (tmp_path / "folder.pth").mkdir()
    refused(tmp_path / "folder.pth", "is a folder", error=InputError)
    refused(tmp_path / "no.pth", "no such", error=InputError)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("keep", [0.01, 0.3, 0.7, 0.99])
def test_a_file_that_is_cut_off(keep, zipped, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(net().state_dict(), path, _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    refused(path)
    save_file(net().state_dict(), tmp_path / "weights.safetensors")
    data = (tmp_path / "weights.safetensors").read_bytes()
    (tmp_path / "weights.safetensors").write_bytes(data[: int(len(data) * keep)])
    refused(tmp_path / "weights.safetensors", "safetensors")


def test_safetensors_under_another_name(tmp_path):
    save_file(net().state_dict(), tmp_path / "weights.pth")
    gives(tmp_path / "weights.pth", net())


def test_what_holds_no_tensors(tmp_path):
    for what, said in ([1, 2], "list"), ({"epoch": 3}, "'epoch'"), (torch.ones(3), "Tensor"):
        refused(saved(tmp_path, what), said, "state_dict")


# --- code is never run -------------------------------------------------------------------------


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_is_refused_and_not_run(zipped, tmp_path):
    path, trap = tmp_path / "weights.pth", tmp_path / "trapped"
    what = {"state_dict": net().state_dict(), "extra": Trap(trap)}
    torch.save(what, path, _use_new_zipfile_serialization=zipped)
    refused(path, "never runs", "open", "torch.save")
    path.write_bytes(pickle.dumps(Trap(trap)))
    refused(path)
    assert not trap.exists()
    torch.load(saved(tmp_path, what), weights_only=False)["extra"].close()
    assert trap.exists()  # it would have


def test_a_pickled_module_is_refused_with_the_way_to_save_its_state(tmp_path):
    refused(saved(tmp_path, nn.Linear(2, 3)), "torch.nn.modules.linear.Linear", "m.state_dict()")


def test_torchscript_and_exported_programs_are_told_apart(tmp_path):
    torch.jit.trace(net(), X).save(str(tmp_path / "net.pt"))
    refused(tmp_path / "net.pt", "TorchScript", "torch.jit.load")
    torch.export.save(torch.export.export(net(), (X,)), tmp_path / "net.pt2")
    refused(tmp_path / "net.pt2", "[model] exported")


# --- other people's files ----------------------------------------------------------------------


@pytest.mark.skipif(not MODELS.is_dir(), reason="the shared models are not here")
class TestSharedModels:
    @pytest.mark.parametrize(
        "file, expected",
        [
            ("dataparallel_wrapper", "same"),
            ("pruned_weight_orig_mask", "pruned"),
            ("fp16", "fp16"),
        ],
    )
    def test_forms_of_the_ds_cnn_give_the_expected_outputs(self, file, expected):
        forms = MODELS / "checkpoint_forms"
        module = load_module("model.py:build", MODELS / "kws_dscnn_mlperf")
        load_checkpoint(module, forms / f"{file}.pth")
        arrays = np.load(forms / "expected.npz")
        with torch.no_grad():
            got = module(torch.from_numpy(arrays["x"])).numpy()
        assert np.abs(got - arrays[expected]).max() < 1e-4

    def test_a_training_state_with_an_optimizer_object_is_refused(self):
        refused(MODELS / "mnist_ai8x_int8_small" / "raw.pth.tar", "torch.optim.sgd.SGD", "never")

    def test_an_untouched_old_file(self):
        folder = MODELS / "mnist_lenet"
        module = load_module("model.py:build", folder)
        load_checkpoint(module, folder / "raw.pt")
        with torch.no_grad():
            got = module(torch.from_numpy(np.load(folder / "inputs.npz")["x"][:50])).numpy()
        assert np.abs(got - np.load(folder / "expected.npz")["out"][:50]).max() < 1e-4
