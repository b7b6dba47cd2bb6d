# SPDX-License-Identifier: Apache-2.0
"""bramcast.cast and Bundle: what the command line makes, of modules and arrays in memory."""

import copy
import doctest
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import several
import torch
from support import ROOT, bramcast, text_recipe
from torch import nn

import bramcast as api
from bramcast.api.bundle import Bundle
from bramcast.pack.bundle.errors import InputError

OLD = ROOT / "tests" / "data" / "bundles" / "digits_mlp"
MODEL = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 3)
        )
"""


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 3)
        )


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(1)
    made = Net()
    made(torch.randn(200, 6))  # running statistics
    return made


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def y(model, x):
    return copy.deepcopy(model).eval()(torch.from_numpy(x)).argmax(dim=1)


@pytest.fixture(scope="module")
def bundle(model, x, y):
    return api.cast(model, torch.from_numpy(x), y, lanes=4, name="my net / 1")


DATED = "provenance.json"  # the one file that differs


def content(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.name != DATED}


def test_cast_writes_what_the_command_line_writes(model, x, y, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = {k: v.numpy() for k, v in model.state_dict().items()}
    recipe = text_recipe(tmp_path, MODEL, x, state, "[core]\nlanes = 4\n")
    np.savez(tmp_path / "inputs.npz", x=x, y=y.numpy())
    assert bramcast("pack", recipe, "-o", "told").returncode == 0
    told = content("told")
    assert content(api.cast(recipe, output="a").path) == told
    short = api.cast("model.py:Net", x, y, weights="weights.pth", lanes=4, name="net")
    assert content(short.path) == told
    # Of a module in memory nothing but the layers' place in the author's file is not known.
    made = api.cast(model, x, y, lanes=4, name="net")
    memory = content(made.path)
    assert {n for n in told if memory[n] != told[n]} == {"manifest.json"}
    one, other = (json.loads(c["manifest.json"]) for c in (memory, told))
    for manifest in (one, other):
        del manifest["sha256"]
        for layer in manifest["layers"]:
            del layer["source"]
    assert one == other


def test_the_module_stays_as_it_is(model, x):
    mine = copy.deepcopy(model).train()
    mine[3].eval()
    before = {k: v.clone() for k, v in mine.state_dict().items()}
    api.cast(mine, x, lanes=4)
    assert [part.training for part in mine] == [True, True, True, False, True]
    assert all(torch.equal(v, before[k]) for k, v in mine.state_dict().items())
    assert all(p.requires_grad for p in mine.parameters())


@pytest.mark.parametrize("wrap", [lambda m: m.double(), nn.DataParallel, lambda m: m.half()])
def test_other_types_and_wrappers_are_cast(model, x, bundle, wrap):
    made = api.cast(wrap(copy.deepcopy(model).eval()), x, lanes=4)
    assert made.output_shape == bundle.output_shape
    near = np.abs(made.predict(x) - bundle.predict(x)).max()
    assert near < 0.1


def test_golden_answers_as_the_command_line(bundle, x, y, tmp_path):
    np.savez(tmp_path / "x.npz", x=x, y=y.numpy())
    done = bramcast(
        "golden", bundle.path, "--inputs", tmp_path / "x.npz", "-o", tmp_path / "out.npz", "--json"
    )
    told = json.loads(done.stdout)
    with np.load(tmp_path / "out.npz") as out:
        assert np.array_equal(out["out_int"], bundle.predict(x, integers=True))
        assert np.array_equal(out["out"], bundle.predict(x.tolist()))
    assert told["cycles"] == bundle.cycles
    assert told["accuracy"] == bundle.accuracy(x, y) == bundle.accuracy(tmp_path / "x.npz")


def test_a_bundle_lives_as_long_as_its_object_or_where_it_is_saved(model, x, tmp_path):
    made = api.cast(model, x, lanes=4)
    folder, files = made.path, content(made.path)
    kept = made.save(tmp_path / "kept")
    assert kept.path == tmp_path / "kept" and kept.save(kept.path) is kept
    del made
    assert not folder.exists()
    assert content(tmp_path / "kept") == files
    again = Bundle.open(tmp_path / "kept")
    assert np.array_equal(again.predict(x), kept.predict(x))


def test_several_outputs_have_their_names():
    x = np.random.default_rng(0).normal(size=(400, 20)).astype(np.float32)
    wanted = several.answers("Heads", x)
    labels = wanted[1].argmax(1)
    made = api.cast(several.build("Heads"), x, {"output1": labels}, lanes=4)
    assert made.outputs == ("output0", "output1")
    real = made.predict(x)
    assert [*real] == ["output0", "output1"]
    for got, want in zip(real.values(), wanted, strict=True):
        assert got.shape == want.shape and np.abs(got - want).max() < 0.1 * np.abs(want).max()
    right = (real["output1"].argmax(1) == labels).mean()
    assert made.accuracy(x, {"output1": labels}) == right == made.judgement.accuracy
    outcome = made.regress(several.build("Heads"))
    assert outcome.passed and outcome.verdict == "drop-in"
    with pytest.raises(InputError, match="y_place: no output 'place': there are output0, output1"):
        made.accuracy(x, {"place": labels})


def test_labels_by_name_are_of_several_outputs(bundle, x, y):
    assert bundle.outputs == ()
    with pytest.raises(InputError, match=r"y_kind: no output 'kind': the network has one, y=\[N\]"):
        bundle.accuracy(x, {"kind": y})


def test_a_table_of_layers_adds_up(bundle):
    rows = bundle._layers()
    assert rows["layer"] == ["0", "4"] and rows["op"] == ["Linear", "Linear"]
    assert rows["macs"] == [48, 24] and sum(rows["macs"]) == bundle.manifest.macs
    first = rows["cycles"]
    assert min(first) > 0 and sum(first) == bundle.cycles


def test_old_bundles_are_opened(tmp_path):
    old = Bundle.open(OLD)
    assert old.name and old.cycles > 0 and "digits" in repr(old)
    assert old.predict(np.zeros((1, *old.input_shape))).shape == (1, *old.output_shape)


def test_layers_are_pandas_where_it_is_installed(bundle, monkeypatch):
    class DataFrame:
        def __init__(self, rows, columns):
            self.rows, self.columns = rows, columns

    pandas = ModuleType("pandas")
    pandas.DataFrame = DataFrame  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    assert bundle.layers.columns[:2] == ["layer", "op"] and len(bundle.layers.rows) == 2
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert isinstance(bundle.layers, api.Table)


def test_a_notebook_shows_names_as_text(model, x):
    shown = api.cast(model, x[:5], lanes=4, name="<script>")._repr_html_()
    assert "&lt;script&gt;" in shown and "<script>" not in shown
    assert "<table>" in shown and "5 samples" in shown  # a note: too few


@pytest.mark.parametrize("limit", [{}, {"max_accuracy_loss": 0.1}])
def test_a_network_in_memory_is_judged_as_a_retrained_one(bundle, model, x, y, limit, tmp_path):
    same = bundle.regress(model, x, y, limits=limit, keep=tmp_path)
    assert (same.verdict, same.passed) == ("drop-in", True)
    assert same.bundle == tmp_path / "Net" and content(same.bundle)["weights.mem"]
    torch.manual_seed(5)
    other = bundle.regress(Net(), limits=limit)  # by the samples of the packing
    assert (other.verdict, other.passed) == ("worse", False)


def test_a_bundle_from_the_disk_judges_modules_and_bundles(bundle, model, x, y, tmp_path):
    opened = bundle.save(tmp_path / "b")
    opened = Bundle.open(opened.path)
    assert opened.regress(model, x, y).verdict == "drop-in"
    assert opened.regress(bundle, x, y).verdict == "drop-in"
    assert opened.regress(bundle.path, x, y).verdict == "drop-in"


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda b, m, x: api.cast(m), "x is missing: a network in memory needs its samples"),
        (lambda b, m, x: api.cast(3, x), "int is no network: give an nn.Module, or the path"),
        (lambda b, m, x: api.cast(m, x, lanes=5), "lanes=5: Input should be 1, 2, 4"),
        (lambda b, m, x: api.cast(m, x, settings={"core": 5}), "settings['core']=5: is a section"),
        (lambda b, m, x: api.cast(m, x, settings={"a b": 5}), "settings['a b']=5: is no key of a"),
        (lambda b, m, x: api.cast(m, x, [0, 1]), "arrays: y must be 400 integer labels"),
        (lambda b, m, x: api.cast(m, [[1], [2, 3]]), "arrays: x is no array: "),
        (lambda b, m, x: api.cast(m, None, [0]), "y without x: give the samples"),
        (lambda b, m, x: api.cast(m, x, weights="w.pth"), "weights='w.pth': belongs to the path"),
        (lambda b, m, x: api.cast("gone.onnx", x), "gone.onnx: "),
        (
            lambda b, m, x: b.predict(x[:, :4]),
            "arrays: x has shape (400, 4), 'my net / 1' takes [N, ",
        ),
        (lambda b, m, x: b.predict(x * np.nan), "arrays: x[0] has a value that is NaN"),
        (lambda b, m, x: b.accuracy(x), "arrays: y is missing: accuracy needs labels"),
        (lambda b, m, x: b.regress("w.pth", x), "w.pth: of a checkpoint the network must be known"),
        (lambda b, m, x: b.simulate(x, simulator="vcs"), "unknown simulator 'vcs': choose"),
        (lambda b, m, x: b.simulate(x, jobs=2), "jobs belongs to fast=True"),
        (lambda b, m, x: b.report(sim=2), "x is missing: sim and against need samples"),
        (lambda b, m, x: b.memory("xc7"), "xc7"),
        (lambda b, m, x: Bundle.open("nowhere"), "nowhere"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(bundle, model, x, call, says):
    with pytest.raises(api.UserError) as caught:
        call(bundle, model, x)
    assert says in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.cosim
@pytest.mark.slow
@pytest.mark.ci
def test_the_hdl_agrees(bundle, x):
    from support import need

    need("verilator")
    assert bundle.simulate(x[:2], seed=1).equal
    assert bundle.simulate(x, fast=True).equal
    page = bundle.report(x[:20], sim=1)
    assert "<html" in page.html and "srcdoc" in page._repr_html_()


def test_the_page_about_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "pandas", None)
    result = doctest.testfile(str(ROOT / "docs" / "python.md"), module_relative=False)
    assert result.failed == 0 and result.attempted > 25


# ---------------------------------------------------------------- the names


def test_every_name_is_there_and_none_is_a_sub_packages():
    folders = {p.name for p in ROOT.iterdir() if (p / "__init__.py").is_file()} - {"root", "tests"}
    assert {"api", "pack", "sim"} <= folders
    assert not folders & set(api.__all__)
    assert set(api.__all__) <= set(dir(api))
    page = (ROOT / "docs" / "python.md").read_text()
    for name in api.__all__:
        assert getattr(api, name) is not None
        assert name in ("Fit", "Table") or name in page
    with pytest.raises(AttributeError, match="no attribute 'pakc'"):
        _ = api.pakc
