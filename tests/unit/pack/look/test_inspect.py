# SPDX-License-Identifier: Apache-2.0
"""bramcast inspect: statistics by hand, damaged and wrapped files, pictures, the docs' commands."""

import json
import math
import struct
import sys
import textwrap

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import save_file
from support import DIGITS, MODELS, ROOT, cli
from torch import nn
from torch.nn.utils import prune, weight_norm

from bramcast.cli.inspect import bars, ruler
from bramcast.pack.bundle.errors import CheckpointError, InputError
from bramcast.pack.look.inspect import inspect
from bramcast.pack.recipe.recipe import read_recipe


def report(tmp_path, values, name="fc.weight", bits=8):
    """The report on one tensor that was saved under a name."""
    torch.save({name: values}, tmp_path / "w.pth")
    (found,) = inspect(tmp_path / "w.pth", bits=bits).tensors
    return found


# ---------------------------------------------------------------- statistics


def test_statistics_by_hand(tmp_path):
    found = report(tmp_path, torch.tensor([[-1.0, 0.0], [0.5, 1.5]]))
    s = found.statistics
    assert (s.low, s.high, s.smallest, s.mean) == (-1.0, 1.5, 0.5, 0.25)
    assert s.std == pytest.approx(math.sqrt(0.8125), rel=1e-12)  # (1.25**2 + .25**2) * 2 / 4
    assert (found.count, found.zeros, found.sparsity) == (4, 1, 0.25)
    assert (found.shape, found.dtype, found.bytes, found.kind) == (
        (2, 2),
        "float32",
        16,
        "parameter",
    )
    assert str(found.proposal.fmt) == "Q1.6"
    assert (found.proposal.underflow, found.proposal.saturated) == (0, 0)


@pytest.mark.parametrize(
    "bits, fmt, underflow, saturated",
    # 1.0 and a hundred times 3/128. 8 bits: Q0.7 holds 3/128 and cuts 1.0 to 127/128. 4 bits:
    # Q0.3 and finer lose 1.0 by 1/8 and more, Q1.2 makes 3/128 zero, all cost more than Q1.2's
    # 100 * (3/128)**2 = 0.055 but Q0.3's 0.055 + 1/64. 16 bits: all exact in Q1.14.
    [(8, "Q0.7", 0, 1), (4, "Q1.2", 100, 0), (16, "Q1.14", 0, 0)],
)
def test_format_underflow_and_saturation_by_hand(tmp_path, bits, fmt, underflow, saturated):
    values = torch.tensor([[1.0] + [3 / 128] * 100])
    proposal = report(tmp_path, values, bits=bits).proposal
    assert (str(proposal.fmt), proposal.underflow, proposal.saturated) == (
        fmt,
        underflow,
        saturated,
    )


def test_fractions_of_the_output_channels(tmp_path):
    # 1.5 * 2**6 = 96 and 0.25 * 2**8 = 64 fit 7 bits, twice as much does not; zeros have none.
    values = torch.tensor([[1.5, 0.5], [0.25, 0.125], [0.0, 0.0]])
    assert report(tmp_path, values).proposal.channels == (6, 8)
    assert report(tmp_path, torch.zeros(2, 2)).proposal.channels is None
    assert report(tmp_path, torch.ones(3), "fc.bias").proposal.channels is None


def test_what_float16_loses(tmp_path):
    # Half of the least subnormal, 2**-25 = 2.98e-8; the least normal, 2**-14 = 6.1e-5; 65504.
    values = torch.tensor([1e-8, 0.0, 1e-5, -1e-5, 6.2e-5, 65504.0, -70000.0])
    half = report(tmp_path, values).half
    assert (half.zero, half.subnormal, half.infinite) == (1, 2, 1)


def test_values_that_no_format_can_scale_are_still_described(tmp_path):
    found = report(tmp_path, torch.tensor([[1e-310, 0.0]], dtype=torch.float64))
    assert found.proposal is None and found.statistics.high == 1e-310
    found = report(tmp_path, torch.tensor([[1e308, -1e308]], dtype=torch.float64))
    assert found.statistics.std == 1e308 and sum(found.histogram.counts) == 2


@pytest.mark.parametrize(
    "dtype, name", [(torch.float16, "float16"), (torch.bfloat16, "bfloat16"), (torch.int8, "int8")]
)
def test_types_are_those_of_the_file(tmp_path, dtype, name):
    found = report(tmp_path, torch.tensor([[1, 2, 3]]).to(dtype))
    assert (found.dtype, found.statistics.high) == (name, 3.0)
    assert found.bytes == 3 * (1 if dtype is torch.int8 else 2)
    assert (found.proposal is None) == (dtype is torch.int8)


def test_histogram_counts(tmp_path):
    # Eight bins at least: [0, 1), [1, 2) .. [7, 8].
    found = report(tmp_path, torch.tensor([0.0, 0.5, 7.5, 8.0, 3.0]))
    assert (found.histogram.low, found.histogram.high) == (0.0, 8.0)
    assert found.histogram.counts == (2, 0, 0, 1, 0, 0, 0, 2)


# ---------------------------------------------------------------- files as they are found


def test_damaged_tensors_are_flagged(tmp_path, capsys):
    nan, inf = float("nan"), float("inf")
    state = {
        "a.weight": torch.tensor([[1.0, nan, 3.0]]),
        "b.weight": torch.full((2, 2), nan),
        "bn.running_mean": torch.tensor([0.0, -inf]),
        "bn.running_var": torch.tensor([1.0, -0.5]),
        "empty": torch.zeros(0, 3),
        "sparse": torch.eye(2).to_sparse(),
        "meta": torch.zeros(2, device="meta"),
        "complex": torch.zeros(2, dtype=torch.complex64),
    }
    torch.save(state, tmp_path / "w.pth")
    code, out, err = cli(capsys, "inspect", tmp_path / "w.pth", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out, parse_constant=pytest.fail)  # no NaN in JSON
    by_name = {t["name"]: t for t in found["tensors"]}
    assert [by_name["a.weight"][k] for k in ("nan", "min", "max")] == [1, 1.0, 3.0]
    assert by_name["b.weight"]["min"] is None and by_name["b.weight"]["nan"] == 4
    assert by_name["bn.running_mean"]["infinite"] == 1
    damaged = {"a.weight", "b.weight", "bn.running_mean", "bn.running_var"}
    assert set(found["damaged"]) == damaged | {"sparse", "meta", "complex"}
    code, out, err = cli(capsys, "inspect", tmp_path / "w.pth", "--histogram")
    assert code == 0 and "damaged: a.weight: 1 NaN" in err
    assert "bn.running_var: a negative variance" in err


def test_tied_tensors(tmp_path):
    shared = torch.arange(6.0).reshape(2, 3)
    state = {
        "embed.weight": shared, "head.weight": shared, "copy.weight": shared.clone(),
        "a.bias": torch.zeros(3), "b.bias": torch.zeros(3), "other": shared.t().contiguous(),
    }  # fmt: skip
    torch.save(state, tmp_path / "w.pth")
    found = inspect(tmp_path / "w.pth")
    (group,) = found.tied  # equal zeros are no tie, another shape neither
    assert group.names == ("embed.weight", "head.weight", "copy.weight") and not group.shared
    del state["copy.weight"]
    state["b.bias"] = state["a.bias"]
    torch.save(state, tmp_path / "w.pth")
    found = inspect(tmp_path / "w.pth")
    assert [(g.names, g.shared) for g in found.tied] == [
        (("embed.weight", "head.weight"), True),
        (("a.bias", "b.bias"), True),
    ]
    assert (found.parameters, found.bytes) == (6 + 3 + 6, 4 * 15)  # shared memory counts once


def test_masks_and_norms_are_carried_out(tmp_path):
    layer, normed = nn.Linear(2, 2), weight_norm(nn.Linear(2, 1))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        normed.weight_v.copy_(torch.tensor([[3.0, 4.0]]))
        normed.weight_g.copy_(torch.tensor([[10.0]]))
    prune.l1_unstructured(layer, "weight", amount=2)
    torch.save(nn.ModuleDict({"a": layer, "n": normed}).half().state_dict(), tmp_path / "w.pth")
    found = {t.name: t for t in inspect(tmp_path / "w.pth").tensors}
    a, n = found["a.weight"], found["n.weight"]
    assert (a.zeros, a.statistics.low, a.statistics.high, a.dtype) == (2, 0.0, 4.0, "float16")
    assert set(a.made_of) == {"a.weight_orig", "a.weight_mask"}
    assert (n.statistics.low, n.statistics.high) == (6.0, 8.0)  # 10 / 5 * (3, 4)
    assert set(found) == {"a.weight", "a.bias", "n.weight", "n.bias"}


@pytest.mark.parametrize(
    "wrap, names, note",
    [
        (lambda s: {"epoch": 1, "state_dict": {f"module.{n}": v for n, v in s.items()}},
         ["fc.weight", "fc.bias"], "module."),
        (lambda s: {f"_orig_mod.{n}": v for n, v in s.items()}, ["fc.weight", "fc.bias"], None),
        (lambda s: {"net": s, "ema": s}, ["net.fc.weight", "net.fc.bias", "ema.fc.weight",
                                          "ema.fc.bias"], "2 state dicts"),
    ],
)  # fmt: skip
def test_wrappers(tmp_path, wrap, names, note):
    torch.save(wrap({"fc.weight": torch.rand(2, 3), "fc.bias": torch.rand(2)}), tmp_path / "w.pth")
    found = inspect(tmp_path / "w.pth")
    assert [t.name for t in found.tensors] == names
    assert note is None or any(note in n for n in found.notes)


def test_state_chooses(tmp_path):
    torch.save({"net": {"w": torch.zeros(1)}, "ema": {"w": torch.ones(1)}}, tmp_path / "w.pth")
    (found,) = inspect(tmp_path / "w.pth", state="ema").tensors
    assert (found.name, found.statistics.low) == ("w", 1.0)
    with pytest.raises(CheckpointError, match="'raw'.*'net', 'ema'"):
        inspect(tmp_path / "w.pth", state="raw")


def test_types_with_and_without_the_model(tmp_path):
    guessed = {t.name: t.layer for t in inspect(DIGITS / "dscnn.pth").tensors}
    assert guessed["features.0.weight"] == "Conv2d" and guessed["features.1.bias"] == "BatchNorm"
    known = {t.name: t.layer for t in inspect(DIGITS / "dscnn.toml").tensors}
    assert known["features.1.bias"] == "BatchNorm2d" and known["classifier.weight"] == "Linear"
    assert {t.layer for t in inspect(DIGITS / "gru.pth", ["gru"]).tensors} == {"GRU"}
    kinds = {t.name: t.kind for t in inspect(DIGITS / "dscnn.pth").tensors}
    assert kinds["features.1.running_var"] == "buffer" and kinds["features.1.bias"] == "parameter"


def test_what_does_not_fit_the_model_is_noted(tmp_path):
    state = torch.load(DIGITS / "gru.pth")
    state["gru.weight_hh_l0"] = torch.zeros(3, 3)
    state["extra"] = state.pop("classifier.bias")
    torch.save(state, tmp_path / "w.pth")
    found = inspect(tmp_path / "w.pth", recipe=read_recipe(DIGITS / "gru.toml"))
    assert {t.kind for t in found.tensors} == {"parameter"}
    notes = found.notes
    assert any("1 of the model's tensors are not in the file: classifier.bias" in n for n in notes)
    assert any("1 tensors are not the model's: extra" in n for n in notes)
    assert any("another shape than the model's: gru.weight_hh_l0" in n for n in notes)


def test_model_without_a_recipe(capsys):
    model = f"{DIGITS / 'model.py'}:Gru"
    code, out, _ = cli(capsys, "inspect", DIGITS / "gru.pth", "--model", model, "--json")
    assert code == 0 and json.loads(out)["tensors"][0]["layer"] == "GRU"


def test_safetensors_onnx_and_exported_programs(tmp_path):
    weight = torch.tensor([[1.0, -2.0], [0.0, 0.5]])
    save_file({"fc.weight": weight}, tmp_path / "w.safetensors")
    tensor = helper.make_tensor("fc.weight", TensorProto.FLOAT, (2, 2), weight.flatten().tolist())
    node = helper.make_node("MatMul", ["x", "fc.weight"], ["y"])
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, 2]) for n in "xy"]
    graph = helper.make_graph([node], "g", infos[:1], infos[1:], [tensor])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "w.onnx")
    layer = nn.Sequential()
    layer.add_module("fc", nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        layer.fc.weight.copy_(weight)
    program = torch.export.export(layer.eval(), (torch.zeros(2, 2),))
    torch.export.save(program, tmp_path / "w.pt2")
    for suffix in ("safetensors", "onnx", "pt2"):
        (found,) = inspect(tmp_path / f"w.{suffix}").tensors
        s = found.statistics
        assert (found.name, found.shape, found.kind) == ("fc.weight", (2, 2), "parameter"), suffix
        assert (s.low, s.high, s.smallest, found.zeros) == (-2.0, 1.0, 0.5, 1)


@pytest.mark.parametrize("pattern, count", [("gru", 4), ("gru.bias*", 2), ("/h_l0$/", 4), ("*", 6)])
def test_filters(pattern, count):
    assert len(inspect(DIGITS / "gru.pth", [pattern]).tensors) == count


def test_wrong_input(tmp_path, capsys):
    with pytest.raises(CheckpointError, match="no tensor fits 'gry'; there are gru.weight_ih_l0"):
        inspect(DIGITS / "gru.pth", ["gry"])
    with pytest.raises(CheckpointError, match="no regular expression"):
        inspect(DIGITS / "gru.pth", ["/(/"])
    with pytest.raises(InputError, match="--bits 7"):
        inspect(DIGITS / "gru.pth", bits=7)
    for arguments in (["absent.pth"], [DIGITS / "train.py"], [DIGITS / "gru.pth", "x.png"]):
        code, out, err = cli(capsys, "inspect", *arguments)
        assert code == 2 and err.count("\n") == 1 and not out


def shared_files():
    patterns = ("*/*.pth", "*/*.pt", "*/*.safetensors", "*/*/*.pth")
    return sorted(path for p in patterns for path in MODELS.glob(p)) or [None]


@pytest.mark.parametrize("path", shared_files(), ids=lambda p: p and f"{p.parent.name}/{p.name}")
def test_every_shared_checkpoint(path, capsys):
    if path is None:
        pytest.skip(f"the shared models are not at {MODELS}")
    code, out, err = cli(capsys, "inspect", path)
    assert (code, err) == (0, "") and "parameters" in out
    code, out, err = cli(capsys, "inspect", path, "--histogram", "--log")
    assert (code, err) == (0, "")


# ---------------------------------------------------------------- pictures and tables


def test_bars_and_ruler():
    assert bars((0, 8, 32, 1)) == ["  █ ", "  █ ", "  █ ", " ██▁"]
    # log1p(3) is half of log1p(15)
    assert bars((3, 15), log=True) == [" █", " █", "██", "██"]
    assert ruler(-1.0, 1.0, -1.0, 0.5, 9) == "|───0─|──"


def png_size(data):
    """Width and height by the file's own header."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", data[16:24])


def test_pictures_have_pages_of_24(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    torch.save({f"layer{i}.weight": torch.rand(4, 4) for i in range(26)}, tmp_path / "w.pth")
    # The two files may come in any order.
    code, out, _ = cli(capsys, "inspect", "--histogram", tmp_path / "h.png", tmp_path / "w.pth")
    assert code == 0 and "h-2.png" in out
    assert sorted(p.name for p in tmp_path.glob("*.png")) == ["h-2.png", "h.png"]
    first, second = (png_size((tmp_path / n).read_bytes()) for n in ("h.png", "h-2.png"))
    assert first[0] > 1000 and first[1] > 1000 > second[1]


def test_drawing_without_matplotlib_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, err = cli(capsys, "inspect", DIGITS / "gru.pth", tmp_path / "h.png", "--histogram")
    assert code == 2 and "pip install '.[plot]'" in err and not list(tmp_path.iterdir())


def test_pictures_of_other_kinds_are_refused(tmp_path, capsys):
    code, _, err = cli(capsys, "inspect", DIGITS / "gru.pth", tmp_path / "h.bmp", "--histogram")
    assert code == 2 and ".png, .svg, .pdf" in err


def test_tables_are_never_cut(tmp_path, capsys):
    name = "a.very.long.name." * 6 + "weight"
    torch.save({name: torch.rand(3, 3)}, tmp_path / "w.pth")
    for extra in ([], ["--wide"]):
        code, out, _ = cli(capsys, "inspect", tmp_path / "w.pth", *extra)
        assert code == 0 and name in out and "…" not in out


def test_the_tables_fit_100_columns(capsys):
    _, out, _ = cli(capsys, "inspect", DIGITS / "mlp.toml")
    assert max(len(line.rstrip()) for line in out.splitlines()[:-1]) <= 100
    assert "1.weight" in out and "5,018 parameters" in out


def test_the_pages_python_runs(tmp_path, monkeypatch, capsys):
    page = (ROOT / "docs" / "inspect.md").read_text().split("## From Python")[1]
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "build").mkdir()
    monkeypatch.chdir(tmp_path)
    exec(textwrap.dedent(page), {})
    out = capsys.readouterr().out
    assert "1.weight (48, 64) float32" in out and "0.weight" not in out
    assert np.load("build/first.npy").shape == (4, 64)
    state = torch.load("build/pruned.pth", weights_only=True)
    assert (state["1.weight"] == 0).float().mean() >= 0.3
