# SPDX-License-Identifier: Apache-2.0
"""What a first-time user meets: messages that help, short tables, doubts that are told."""

import json
import re
import shlex
import subprocess
import zlib

import numpy as np
import pytest
import torch
from support import DIGITS, ROOT, cli, write_recipe

from bramcast.golden.load import load

MODEL = """
import torch
from torch import nn

class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 4)

    def forward(self, x):
        y = self.fc(x)
        if y.sum() > 0:
            return y
        return 2 * y

class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 4)
        self.look = nn.MultiheadAttention(6, 2, batch_first=True, bias=False)

    def forward(self, x):
        x = x[:, None, :]
        return self.fc(self.look(x, x, x)[0].flatten(1))

class Steps(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(1, 4, batch_first=True)

    def forward(self, x):
        return self.rnn(x[:, :, None])[0][:, -1]
"""


@pytest.fixture
def bundle(mlp_bundle):
    return mlp_bundle


@pytest.fixture
def digits():
    with np.load(DIGITS / "inputs.npz") as file:
        return {"x": file["x"], "y": file["y"]}


def model_recipe(folder, name):
    """A recipe for a class of MODEL whose checkpoint is its own random weights."""
    (folder / "model.py").write_text(MODEL)
    scope: dict[str, type[torch.nn.Module]] = {}
    exec(compile(MODEL, str(folder / "model.py"), "exec"), scope)
    torch.save(scope[name]().state_dict(), folder / "weights.pth")
    np.savez(folder / "inputs.npz", x=np.ones((3, 6), np.float32))
    (folder / "recipe.toml").write_text(
        f'[model]\npython = "model.py:{name}"\ncheckpoint = "weights.pth"\ninputs = "inputs.npz"\n'
    )
    return folder / "recipe.toml"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("[core]\nlane = 16", "core.lane: unknown key; did you mean 'lanes'?"),
        ("[cores]\nlanes = 16", "cores: unknown key; did you mean 'core'?"),
        ('[quantize.layers."a"]\nweigth_bits = 4', "did you mean 'weight_bits'?"),
        (
            "[regress]\nzzz = 1",
            "unknown key; known are max_accuracy_loss, max_doubt, max_class_loss",
        ),
        ("[core]\nlanes = sixteen", "not TOML"),
    ],
)
def test_key_that_is_mistyped_is_told_with_the_right_one(line, says, tmp_path, capsys):
    recipe = write_recipe(tmp_path, "Mlp96", f"{line}\n")
    code, out, err = cli(capsys, "pack", recipe, "-o", tmp_path / "b")
    assert (code, out) == (2, "") and says in err and err.count("\n") == 1


def test_checkpoint_in_place_of_a_recipe(capsys, tmp_path):
    code, _, err = cli(capsys, "pack", DIGITS / "mlp.pth", "-o", tmp_path / "b")
    assert code == 2 and "mlp.pth" in err and "give a recipe" in err


def test_samples_in_place_of_a_checkpoint(capsys):
    code, _, err = cli(capsys, "inspect", DIGITS / "inputs.npz")
    assert code == 2 and "inputs.npz: is an .npz file of arrays, no checkpoint" in err


def test_control_flow_on_data_names_its_line_and_prints_no_graph(tmp_path, capfd):
    recipe = model_recipe(tmp_path, "Branches")
    code, out, err = cli(capfd, "pack", recipe, "-o", tmp_path / "b")
    assert code == 2 and out == ""
    assert err.count("\n") == 1 and "model.py:12" in err and "depends on data" in err


def test_attention_is_refused_as_what_it_is(tmp_path, capsys):
    recipe = model_recipe(tmp_path, "Attention")
    code, _, err = cli(capsys, "pack", recipe, "-o", tmp_path / "b")
    assert code == 2 and "model.py:24: layer 'look': attention" in err


def test_layers_of_a_bare_state_dict_come_from_its_file(tmp_path, capsys):
    torch.save({"a.weight": torch.ones(4, 6), "b.weight": torch.ones(2, 4)}, tmp_path / "bare.pth")
    np.savez(tmp_path / "inputs.npz", x=np.ones((20, 6), np.float32))
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('[model]\ncheckpoint = "bare.pth"\ninputs = "inputs.npz"\n')
    code, out, _ = cli(capsys, "pack", recipe, "-o", tmp_path / "b", "--json")
    assert code == 0
    assert [layer["source"] for layer in json.loads(out)["layers"]] == ["bare.pth", "bare.pth"]


def test_labels_of_another_form_are_told_how_to_become_right(bundle, digits, tmp_path, capsys):
    for y, says in (
        (np.eye(10)[digits["y"]], "y.argmax(axis=1)"),
        (digits["y"][:, None], "y.reshape(-1).astype(int)"),
        (digits["y"].astype(np.float32), "y.reshape(-1).astype(int)"),
    ):
        np.savez(tmp_path / "x.npz", x=digits["x"], y=y)
        code, _, err = cli(capsys, "golden", bundle, "--inputs", tmp_path / "x.npz")
        assert code == 2 and says in err and "x.npz" in err


@pytest.mark.parametrize(
    ("scale", "says"),
    [(1.0, ""), (16.0, "saturates"), (1 / 64, "x reaches"), (-1.0, "saturates")],
)
def test_inputs_of_another_scale_are_doubted(bundle, digits, scale, says, tmp_path, capsys):
    np.savez(tmp_path / "x.npz", x=digits["x"] * np.float32(scale), y=digits["y"])
    code, out, err = cli(capsys, "golden", bundle, "--inputs", tmp_path / "x.npz", "--json")
    assert code == 0 and json.loads(out)["samples"] == len(digits["x"])
    if says:
        assert says in err and "x.npz" in err and err.count("\n") == 1
    else:
        assert err == ""


@pytest.mark.parametrize("verb", ["golden", "sim", "report", "regress"])
def test_samples_of_another_shape_name_both_files(bundle, verb, tmp_path, capsys):
    np.savez(tmp_path / "other.npz", x=np.zeros((2, 5)))
    more = {"report": ["-o", tmp_path / "r.html"], "regress": [bundle]}.get(verb, [])
    code, _, err = cli(capsys, verb, bundle, *more, "--inputs", tmp_path / "other.npz")
    assert code == 2 and "other.npz" in err and "(5,)" in err and str(bundle) in err


def test_regress_refuses_a_network_with_other_samples(bundle, tmp_path, capsys):
    recipe = write_recipe(tmp_path, "Mlp96")
    assert cli(capsys, "pack", recipe, "-o", tmp_path / "b")[0] == 0
    inputs = DIGITS / "mlp.toml"
    code, _, err = cli(capsys, "regress", bundle, tmp_path / "b", "--inputs", inputs)
    assert code == 2 and "no retraining of the same network" in err and str(tmp_path / "b") in err


@pytest.mark.parametrize(("samples", "says"), [(1, "1 sample "), (15, "15 samples "), (16, "")])
def test_few_calibration_samples_are_told(samples, says, tmp_path, capsys):
    recipe = write_recipe(tmp_path, "Mlp96", samples=samples)
    code, out, err = cli(capsys, "pack", recipe, "-o", tmp_path / "b", "--json")
    assert code == 0
    notes = json.loads(out)["notes"]
    assert [says in note for note in notes if "calibration" in note] == ([True] if says else [])
    assert ("calibration" in err) == bool(says)


def test_pack_and_golden_tell_the_same_cycles_and_accuracy(tmp_path, capsys):
    recipe, folder = DIGITS / "mlp.toml", tmp_path / "b"
    packed = json.loads(cli(capsys, "pack", recipe, "-o", folder, "--check", "--json")[1])
    ran = json.loads(cli(capsys, "golden", folder, "--inputs", recipe, "--json")[1])
    assert (packed["cycles"], packed["accuracy"]) == (ran["cycles"], ran["accuracy"])


def test_golden_writes_what_the_ledger_must_hold(tmp_path, capsys):
    recipe, folder, header = DIGITS / "mlp.toml", tmp_path / "b", tmp_path / "ledger.h"
    packed = json.loads(cli(capsys, "pack", recipe, "-o", folder, "--json")[1])
    code, out, _ = cli(capsys, "golden", folder, "--inputs", recipe, "--ledger", header)
    assert code == 0 and str(header) in out
    text = header.read_text()
    entries = re.findall(r"^  \{0x([0-9A-F]{8})u, (\d+)u, \"(.+)\"\},$", text, re.M)
    assert f"#define BRAMCAST_LEDGER_NESTS {len(entries)}\n" in text
    assert sum(int(cycles) for _, cycles, _ in entries) == packed["cycles"]
    assert {name for _, _, name in entries} == {layer["name"] for layer in packed["layers"]}
    frame = text.split("{\n")[1].split("};")[0].replace("\n", "").split(",")[:-1]
    assert f"#define BRAMCAST_LEDGER_ELEMENTS {len(frame)}\n" in text
    machine = load(folder)
    results = machine.run(np.array([frame], np.int64))
    assert int(entries[-1][0], 16) == zlib.crc32(results.beats.astype("<i4").tobytes())


def test_time_steps_share_one_line(tmp_path, capsys):
    recipe = model_recipe(tmp_path, "Steps")
    out = cli(capsys, "pack", recipe, "-o", tmp_path / "b")[1]
    table = out.split("memory ")[0]
    names = re.findall(r"^(\S+(?: x \d+)?) ", table, re.M)[2:]
    layers = json.loads((tmp_path / "b" / "manifest.json").read_text())["layers"]
    steps = [int(re.search(r" x (\d+)$", name)[1]) if " x " in name else 1 for name in names]
    assert max(steps) > 1 and sum(steps) == len(layers)


def test_hdl_refuses_what_golden_refuses(bundle, tmp_path, capsys):
    folder = tmp_path / "b"
    folder.mkdir()
    for file in bundle.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    lines = (folder / "weights.mem").read_text().splitlines()
    lines[2] = lines[2][:-1] + ("0" if lines[2][-1] != "0" else "1")
    (folder / "weights.mem").write_text("\n".join(lines) + "\n")
    code, _, err = cli(capsys, "hdl", folder, "-o", tmp_path / "fpga")
    assert code == 2 and "weights.mem:3" in err and not (tmp_path / "fpga").exists()
    code, out, _ = cli(capsys, "hdl", folder, "-o", tmp_path / "fpga", "--allow-modified", "--json")
    answer = json.loads(out)
    assert code == 0 and answer["module"] == "digits_mlp_top"
    assert answer["files"] == sorted(p.name for p in (tmp_path / "fpga").iterdir())
    assert (tmp_path / "fpga" / "weights.mem").read_text() == "\n".join(lines) + "\n"


def test_report_answers_in_json(bundle, tmp_path, capsys):
    page = tmp_path / "r.html"
    code, out, _ = cli(capsys, "report", bundle, "-o", page, "--json")
    assert code == 0 and page.is_file()
    assert json.loads(out) == {"report": str(page), "hdl_equal": None, "verdict": None}


def test_version_is_that_of_the_package(capsys):
    from importlib.metadata import version

    assert cli(capsys, "--version") == (0, f"bramcast {version('bramcast')}\n", "")


@pytest.mark.parametrize(
    ("model", "bundle"),
    [
        ("examples/digits/mlp.toml", "mlp"),
        ("nets/kws/recipe.toml", "kws"),
        ("/a/my nets/recipe.toml", "my nets"),
        ("my nets/two words.toml", "two words"),
    ],
)
def test_make_takes_paths_with_spaces(model, bundle):
    call = ["make", "-n", "sim", f"MODEL={model}"]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True)
    verbs = [shlex.split(line) for line in done.stdout.splitlines() if "/bramcast " in line]
    assert [words[1] for words in verbs] == ["pack", "golden", "sim", "sim"]
    assert verbs[0][2:] == [model, "-o", f"build/bundles/{bundle}"]
    for words in verbs[1:]:
        assert words[2:5] == [f"build/bundles/{bundle}", "--inputs", model]


def test_make_leaves_the_cache_to_the_command_line():
    assert "BRAMCAST_CACHE" not in (ROOT / "Makefile").read_text()
    assert "`~/.cache/bramcast`" in (ROOT / "docs" / "quickstart.md").read_text()


def test_a_bundle_is_not_drawn_in_silence(bundle, tmp_path, capsys):
    for more in (["--histogram"], ["--histogram", tmp_path / "p.png"], [tmp_path / "p.png"]):
        code, out, err = cli(capsys, "inspect", bundle, *more)
        assert code == 2 and "bramcast report" in err and not out
    assert cli(capsys, "inspect", bundle)[0] == 0
