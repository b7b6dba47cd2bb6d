# SPDX-License-Identifier: Apache-2.0
"""regress: verdicts, limits, the layer that is to blame, reports, many candidates."""

import dataclasses
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from support import DIGITS, MODELS, ROOT, bramcast, in_all, model_recipe, need

from bramcast.golden.load import load
from bramcast.pack.bundle.errors import RefereeError
from bramcast.pack.bundle.images import load_images
from bramcast.pack.bundle.manifest import read_manifest
from bramcast.pack.bundle.program import split_program
from bramcast.pack.bundle.words import to_uint32
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import RegressSection, read_recipe
from bramcast.pack.samples.inputs import read_inputs
from bramcast.sim.regress.candidates import (
    Outcome,
    Seconds,
    Task,
    executor,
    judge,
    judge_all,
    ranking,
    with_checkpoint,
    with_formats,
)
from bramcast.sim.regress.ci_reports import write_error, write_junit, write_markdown
from bramcast.sim.regress.regress import fits, regress

RECIPE = DIGITS / "dscnn.toml"
DAMAGED_LAYER = "features.12"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("regress")


@pytest.fixture(scope="module")
def old(folder):
    pack(read_recipe(RECIPE), folder / "old")
    return folder / "old"


@pytest.fixture(scope="module")
def twin(folder):
    pack(read_recipe(DIGITS / "dscnn_retrained.toml"), folder / "twin")
    return folder / "twin"


@pytest.fixture(scope="module")
def damaged(folder):
    """A checkpoint with one layer's weights lost."""
    state = torch.load(DIGITS / "dscnn.pth", weights_only=True)
    weight = state[f"{DAMAGED_LAYER}.weight"]
    assert weight.dim() == 4
    weight[: len(weight) // 2] *= -1
    torch.save(state, folder / "damaged.pth")
    return folder / "damaged.pth"


@pytest.fixture(scope="module")
def inputs():
    return read_inputs(RECIPE)


def classes_of(bundle, folder):
    """What golden answers, by the program itself."""
    done = bramcast("golden", bundle, "--inputs", RECIPE, "-o", folder / "out.npz")
    assert done.returncode == 0, done.stderr
    out = np.load(folder / "out.npz")["out_int"]
    return out.reshape(len(out), -1).argmax(axis=1)


def test_a_twin_is_a_drop_in(old, twin, inputs, folder):
    result = regress(old, twin, inputs, RegressSection())
    assert result.verdict == "drop-in"
    was, now = classes_of(old, folder), classes_of(twin, folder)
    assert result.agreement == (was == now).mean()
    assert result.accuracy_new == (now == inputs.y).mean()
    for score in result.classes:
        mine = inputs.y == score.label
        assert score.samples == mine.sum()
        assert score.new == (now[mine] == score.label).mean()
    assert {c.label for c in result.classes} == set(range(10))
    # Lines that differ, counted in the text files; what changed must be copied, the program not.
    for image in result.images:
        lines = [(b / f"{image.name}.mem").read_text().splitlines() for b in (old, twin)]
        assert image.changed == sum(a != b for a, b in zip(*lines, strict=True)), image.name
    assert {"weights.mem", "weights.coe", "bias.mem", "images.bin"} <= set(result.copy)
    assert not any(name.startswith("program") for name in result.copy)


def test_the_same_bundle_changes_nothing(old, inputs):
    result = regress(old, old, inputs, RegressSection(min_agreement=100, max_class_loss=0))
    assert result.verdict == "drop-in"
    assert result.copy == [] and result.moved == []
    assert all(row.like == 1 for row in result.layers)


def test_damage_is_named_by_its_layer_first(old, damaged, folder):
    report, page = folder / "report.xml", folder / "report.md"
    done = bramcast(
        "regress", old, damaged, "--recipe", RECIPE, "--inputs", RECIPE,
        "--junit", report, "--markdown", page,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    verdict = next(line for line in done.stdout.splitlines() if line.startswith("worse: "))
    assert verdict.startswith(f"worse: layer {DAMAGED_LAYER} ")
    suite = ET.parse(report).getroot().find("testsuite")
    failed = {case.get("name") for case in suite if case.find("failure") is not None}
    assert "accuracy" in failed and "fits the core" not in failed
    assert suite.get("failures") == str(len(failed))
    message = suite.find("testcase[@name='accuracy']/failure").get("message")
    assert message.startswith(f"layer {DAMAGED_LAYER} ")
    text = page.read_text()
    assert f"layer {DAMAGED_LAYER} " in text and "| BROKEN |" in text
    assert "Copy:" not in text


@pytest.mark.parametrize(
    ("limit", "word", "verdict"),
    [
        ({"max_accuracy_loss": 0.0}, "accuracy fell", "undecided"),
        ({"max_doubt": 0.6}, "can't decide", "undecided"),
        ({"max_class_loss": 1.0}, "class 5", "undecided"),
        ({"min_agreement": 99.0}, "keep their class", "undecided"),
        ({"min_agreement": 99.9}, "keep their class", "worse"),
        ({"min_snr": 60.0}, "signal to noise", "worse"),
    ],
)
def test_each_limit_breaks(old, twin, inputs, limit, word, verdict):
    assert regress(old, twin, inputs, RegressSection()).passed
    result = regress(old, twin, inputs, RegressSection(**limit))
    assert result.verdict == verdict and not result.passed
    assert any(word in reason for reason in result.reasons)


def only(inputs, chosen):
    """Some of the samples."""
    return dataclasses.replace(inputs, x=inputs.x[chosen], y=inputs.y[chosen])


def test_one_sample_is_undecided_and_says_how_many_are_needed(old, twin, inputs):
    result = regress(old, twin, only(inputs, [0]), RegressSection())
    assert result.verdict == "undecided"
    # Nothing differs: the interval ends at z * z / (n + z * z), below 2 % from 189 on.
    assert result.samples_needed == 189
    assert "about 189 samples" in result.reasons[0]
    assert result.p_value == 1


def test_the_verdict_knows_its_interval(old, twin, inputs, folder):
    result = regress(old, twin, inputs, RegressSection())
    was, now = (classes_of(b, folder) == inputs.y for b in (old, twin))
    lost, won = (was & ~now).sum(), (~was & now).sum()
    low, high = result.interval
    assert low < 100 * (lost - won) / len(was) < high < 2
    done = bramcast("regress", old, twin, "--inputs", RECIPE, "--json")
    found = json.loads(done.stdout)
    assert found["verdict"] == "drop-in" and found["interval"] == [low, high]
    assert found["samples_needed"] is None and found["p_value"] == result.p_value


@pytest.fixture(scope="module")
def random_network(folder):
    """A bundle with random weights, whose manifest knows its accuracy."""
    torch.manual_seed(3)
    recipe = read_recipe(RECIPE)
    state = torch.load(DIGITS / "dscnn.pth", weights_only=True)
    for name, tensor in state.items():
        if name.endswith("weight") and tensor.dim() > 1:
            tensor.normal_(std=0.3)
    torch.save(state, folder / "random.pth")
    model = dataclasses.replace(recipe.model, checkpoint=str(folder / "random.pth"))
    pack(dataclasses.replace(recipe, model=model), folder / "random")
    return folder / "random"


def test_labels_that_the_old_bundle_does_not_meet_give_no_verdict(old, random_network, inputs):
    shifted = dataclasses.replace(inputs, y=(inputs.y + 1) % 10)
    with pytest.raises(RefereeError, match=r"no verdict: .* its manifest says 97.83 %"):
        regress(old, random_network, shifted, RegressSection())
    mixed = np.random.default_rng(0).permutation(inputs.y)
    with pytest.raises(RefereeError, match="no verdict"):
        regress(old, random_network, dataclasses.replace(inputs, y=mixed), RegressSection())


def test_an_old_bundle_that_guesses_is_no_referee(random_network, twin, inputs):
    with pytest.raises(RefereeError, match="guessing as often"):
        regress(random_network, twin, inputs, RegressSection())


def test_random_weights_are_worse_with_and_without_labels(old, random_network, inputs):
    assert regress(old, random_network, inputs, RegressSection()).verdict == "worse"
    bare = dataclasses.replace(inputs, y=None)
    result = regress(old, random_network, bare, RegressSection())
    assert result.verdict == "worse" and "another function" in " ".join(result.reasons)


def test_without_labels_a_twin_keeps_its_classes(old, twin, inputs):
    bare = dataclasses.replace(inputs, y=None)
    assert regress(old, twin, bare, RegressSection()).verdict == "drop-in"
    one = dataclasses.replace(inputs, x=inputs.x[:1], y=None)
    assert regress(old, twin, one, RegressSection()).verdict == "undecided"


@pytest.mark.parametrize("labels", [True, False])
def test_samples_with_another_sign_give_no_verdict(old, twin, inputs, labels):
    other = dataclasses.replace(inputs, x=-inputs.x, y=inputs.y if labels else None)
    with pytest.raises(RefereeError, match="no verdict"):
        regress(old, twin, other, RegressSection())


def test_no_verdict_is_exit_code_2_and_one_line(old, twin, inputs, folder):
    np.savez(folder / "shifted.npz", x=inputs.x, y=(inputs.y + 1) % 10)
    done = bramcast("regress", old, twin, "--inputs", folder / "shifted.npz")
    assert done.returncode == 2 and done.stdout == ""
    assert "shifted.npz: no verdict" in done.stderr and len(done.stderr.splitlines()) == 1


def test_reports_know_what_is_undecided(old, twin, inputs, folder):
    np.savez(folder / "few.npz", x=inputs.x[:20], y=inputs.y[:20])
    report, page = folder / "few.xml", folder / "few.md"
    done = bramcast(
        "regress", old, twin, "--inputs", folder / "few.npz", "--junit", report, "--markdown", page
    )
    assert done.returncode == 1 and "\nundecided: 20 samples can't decide" in done.stdout
    failures = list(ET.parse(report).getroot().iter("failure"))
    assert failures and {failure.get("type") for failure in failures} == {"undecided"}
    assert ": undecided" in page.read_text() and "| open |" in page.read_text()
    assert "Copy:" not in page.read_text()


def test_strict_takes_a_drop_in_only(old, louder, twin, folder):
    pack(with_checkpoint(read_recipe(RECIPE), louder), folder / "strict")
    arguments = ("regress", old, folder / "strict", "--inputs", RECIPE)
    assert bramcast(*arguments).returncode == 0
    done = bramcast(*arguments, "--strict")
    assert done.returncode == 1 and "repack where drop-in is wanted" in done.stdout
    assert "copy: " not in done.stdout
    assert bramcast("regress", old, twin, "--inputs", RECIPE, "--strict").returncode == 0


def test_what_is_kept_and_copied_is_named_by_path(old, folder, tmp_path):
    new = DIGITS / "dscnn_retrained.pth"
    arguments = ("regress", old, new, "--recipe", RECIPE, "--inputs", RECIPE)
    page = tmp_path / "page.md"
    done = bramcast(*arguments, "--keep", tmp_path / "kept", "--markdown", page)
    bundle = tmp_path / "kept" / "dscnn_retrained"
    assert f"\nkept in {bundle}\n" in done.stdout
    copied = re.findall(r"^copy: (.*)$", done.stdout, re.MULTILINE)
    patch = f"or, into a finished bitstream: bramcast patch BITSTREAM {bundle} -o NEW\n"
    assert done.stdout.endswith(patch)
    names = {p.name for p in bundle.iterdir() if p.read_bytes() != (old / p.name).read_bytes()}
    assert {Path(path).name for path in copied} == names - {
        "manifest.json", "float_results.npz", "provenance.json"
    }  # fmt: skip
    assert all(Path(path).parent == bundle and f"`{path}`" in page.read_text() for path in copied)
    done = bramcast(*arguments, "--json")
    assert json.loads(done.stdout)["copy"] == [] and json.loads(done.stdout)["bundle"] is None
    assert json.loads(done.stdout)["patch"] is None
    done = bramcast(*arguments)
    assert "copy: " not in done.stdout and "--keep FOLDER" in done.stdout


def test_two_checkpoints_of_one_name_are_not_kept_in_one_place(old, tmp_path):
    new = [tmp_path / name / "w.pth" for name in "ab"]
    for path in new:
        path.parent.mkdir()
        path.touch()
    done = bramcast("regress", old, *new, "--inputs", RECIPE, "--keep", tmp_path / "kept")
    assert done.returncode == 2 and "two checkpoints" in done.stderr


def test_reports_are_written_without_a_verdict(old, twin, inputs, tmp_path):
    np.savez(tmp_path / "shifted.npz", x=inputs.x, y=(inputs.y + 1) % 10)
    report, page = tmp_path / "r.xml", tmp_path / "r.md"
    arguments = ("--inputs", tmp_path / "shifted.npz", "--junit", report, "--markdown", page)
    done = bramcast("regress", old, twin, *arguments)
    assert done.returncode == 2
    (error,) = ET.parse(report).getroot().iter("error")
    assert "no verdict" in error.get("message") and ET.parse(report).getroot().get("errors") == "1"
    assert page.read_text().startswith("## no verdict\n") and "shifted.npz" in page.read_text()


def test_reports_are_well_formed_whatever_a_message_holds(tmp_path):
    report, page = tmp_path / "r.xml", tmp_path / "r.md"
    message = "\x1b[31mno\x1b[0m file 'a\x00b\udc80\uffff' <&>"
    write_error(report, page, message)
    (error,) = ET.parse(report).getroot().iter("error")
    assert error.get("message") == "no file 'a\ufffdb\ufffd\ufffd' <&>"
    assert "no file 'a\ufffdb" in page.read_text(encoding="utf-8")
    write_junit(report, [Outcome(Path("n\x07.pth"), None, message)])
    write_markdown(page, [Outcome(Path("n\udc80.pth"), None, message)])
    assert "no file" in ET.parse(report).getroot().find(".//failure").get("message")


def test_junit_has_the_times_that_were_taken(old, twin, inputs, tmp_path, monkeypatch):
    result = regress(old, twin, inputs, RegressSection(), simulate=lambda bundle: "")
    write_junit(tmp_path / "r.xml", [Outcome(twin, result, seconds=Seconds(20, 4, 8))])
    cases = {
        c.get("name"): float(c.get("time")) for c in ET.parse(tmp_path / "r.xml").iter("testcase")
    }
    assert (cases.pop("packs"), cases.pop("HDL against golden")) == (20, 8)
    assert len(cases) > 5 and all(abs(t - 4 / len(cases)) < 0.001 for t in cases.values())
    # A clock that goes a second further at each look: 1 to pack or compare, 1 to simulate.
    ticks = itertools.count()
    monkeypatch.setattr("bramcast.sim.regress.candidates.perf_counter", lambda: float(next(ticks)))
    equal = SimpleNamespace(equal=True, comparison=SimpleNamespace(first=None))
    monkeypatch.setattr("bramcast.sim.regress.candidates.simulate", lambda *a, **k: equal)
    outcome = judge(Task(old, twin, RECIPE, RegressSection(), sim=1))
    assert outcome.seconds == Seconds(pack=0, compare=2, hdl=1)
    new = DIGITS / "dscnn_retrained.pth"
    outcome = judge(Task(old, new, RECIPE, RegressSection(), RECIPE))
    assert outcome.seconds == Seconds(pack=1, compare=1, hdl=0)


@pytest.mark.slow
@pytest.mark.ci
def test_the_workflow_of_the_docs_runs_as_it_stands(old, inputs, tmp_path):
    need("verilator")
    text = (ROOT / "docs" / "regression.md").read_text()
    _, block = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)  # the first has the action
    steps = yaml.safe_load(block)["jobs"]["regress"]["steps"]
    install, *scripts = [step["run"] for step in steps if "run" in step]
    assert install == "pip install './bramcast[torch,sim]'" and not re.search("[A-Z]{4,}", install)
    shutil.copytree(old, tmp_path / "fpga" / "bundle")
    training = tmp_path / "training"
    training.mkdir()
    for name in ("model.py", "inputs.npz"):
        shutil.copy(DIGITS / name, training)
    shutil.copy(DIGITS / "dscnn_retrained.pth", training / "weights.pth")
    recipe = RECIPE.read_text().replace("dscnn.pth", "weights.pth")
    (training / "recipe.toml").write_text(recipe)

    def run():
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        env = {**os.environ, "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"), "PATH": path}
        return [
            subprocess.run(["bash", "-e", "-c", s], cwd=tmp_path, env=env).returncode
            for s in scripts
        ]

    assert run() == [0, 0]
    assert "weights.pth: drop-in" in (tmp_path / "summary.md").read_text()
    assert (tmp_path / "candidate" / "weights" / "weights.mem").is_file()
    assert (tmp_path / "regress.xml").is_file()
    np.savez(training / "inputs.npz", x=inputs.x, y=(inputs.y + 1) % 10)
    assert run() == [2, 0]
    assert "## no verdict" in (tmp_path / "summary.md").read_text()


@pytest.fixture
def louder(folder):
    """A checkpoint with larger logits: calibrated anew, the output has another format."""
    state = torch.load(DIGITS / "dscnn.pth", weights_only=True)
    for name in ("classifier.weight", "classifier.bias"):
        state[name] *= 1.6
    torch.save(state, folder / "louder.pth")
    return folder / "louder.pth"


def test_the_old_formats_make_a_drop_in(old, louder, inputs, folder):
    recipe = dataclasses.replace(
        read_recipe(RECIPE),
        model=dataclasses.replace(read_recipe(RECIPE).model, checkpoint=str(louder)),
    )
    pack(recipe, folder / "anew")
    anew = regress(old, folder / "anew", inputs, RegressSection())
    assert anew.verdict == "repack" and "output format" in anew.reasons[0]
    keep = folder / "old_formats"
    outcome = judge(Task(old, louder, RECIPE, RegressSection(), RECIPE, keep))
    assert outcome.verdict == "drop-in"
    assert outcome.reasons[-1] == "packed with the old bundle's formats and depths"
    # What is kept is what was judged: the old program, byte for byte, and golden's accuracy.
    assert (keep / "louder" / "program.mem").read_bytes() == (old / "program.mem").read_bytes()
    assert sorted(p.name for p in keep.iterdir()) == ["louder"]
    right = (classes_of(keep / "louder", folder) == inputs.y).mean()
    assert outcome.regression.accuracy_new == right


def test_formats_of_a_bundle_as_a_recipe(old):
    manifest = read_manifest(old)
    recipe = with_formats(read_recipe(RECIPE), manifest)
    assert recipe.quantize.input == str(manifest.input.format.q)
    layers = recipe.quantize.layers
    assert {name: layer.output for name, layer in layers.items() if layer.output} == {
        layer.name: str(layer.format.q) for layer in manifest.layers[:-1]
    }
    # Q19.12 of UQ3.5 and weights: 12 - 5.
    assert str(manifest.layers[-1].format.q) == "Q19.12"
    assert str(manifest.layers[-2].format.q) == "UQ3.5"
    assert layers["classifier"].weight_frac == 7
    assert recipe.core.weights_depth == manifest.core.weights_depth


def test_saturation_has_a_limit(old, twin, inputs, folder):
    bright = dataclasses.replace(inputs, x=inputs.x * 1.5)
    limits = RegressSection(max_accuracy_loss=100, max_saturation=0.1)
    assert regress(old, twin, inputs, limits).passed
    result = regress(old, twin, bright, limits)
    assert any("saturate" in reason for reason in result.reasons)


def test_another_core_needs_synthesis(old, inputs, folder):
    recipe = read_recipe(RECIPE)
    recipe = dataclasses.replace(recipe, core=dataclasses.replace(recipe.core, lanes=8))
    pack(recipe, folder / "lanes8")
    result = regress(old, folder / "lanes8", inputs, RegressSection())
    assert result.verdict == "resynthesize"
    assert result.reasons[0] == "lanes 16 -> 8"
    strict = regress(old, folder / "lanes8", inputs, RegressSection(accept="repack"))
    assert strict.verdict == "worse" and not strict.passed


def test_other_tiles_need_synthesis_and_other_strips_are_named(old, inputs, folder):
    recipe = read_recipe(RECIPE)
    for name, more in (("tiles", {"tiles": 4}), ("pairs", {"tiles": 4, "pairs": True})):
        pack(
            dataclasses.replace(recipe, core=dataclasses.replace(recipe.core, **more)),
            folder / name,
        )
    assert regress(old, folder / "tiles", inputs, RegressSection()).reasons[0] == "tiles 1 -> 4"
    result = regress(folder / "tiles", folder / "pairs", inputs, RegressSection())
    assert (result.verdict, result.reasons) == ("resynthesize", ["pairs False -> True"])
    manifest, machine = read_manifest(folder / "tiles"), load(folder / "tiles")
    changed = list(machine.program)
    changed[1] = dataclasses.replace(changed[1], lo=changed[1].lo + 1)  # any other program
    layers = [
        dataclasses.replace(layer, strip_rows=1) if layer.name == "features.6" else layer
        for layer in manifest.layers
    ]
    assert manifest.layers[2].strips == "2 rows x 4"
    other = SimpleNamespace(program=changed, manifest=manifest)
    fit, reasons = fits(
        manifest, dataclasses.replace(manifest, layers=layers), (machine, other), changed
    )
    assert fit == "repack"
    assert reasons[1] == "strips of layer features.6: 2 rows x 4 -> 1 row x 8"


@pytest.mark.parametrize("flag", ["gates", "narrow"])
def test_what_a_program_does_not_need_does_not_matter(old, inputs, folder, flag):
    recipe = read_recipe(RECIPE)
    core = dataclasses.replace(recipe.core, **{flag: True}, scratch_depth=300)
    with_it = folder / f"with_{flag}"
    pack(dataclasses.replace(recipe, core=core), with_it)
    assert getattr(read_manifest(with_it).core, flag) and not getattr(read_manifest(old).core, flag)
    for one, other in ((old, with_it), (with_it, old)):
        result = regress(one, other, inputs, RegressSection())
        assert result.verdict == "drop-in", result.reasons


def test_a_program_with_products_needs_a_core_with_gates(tmp_path):
    recipe = DIGITS / "gru.toml"
    pack(read_recipe(recipe), tmp_path / "gru")
    pack(read_recipe(recipe), tmp_path / "plain")
    path = tmp_path / "plain" / "manifest.json"
    path.write_text(path.read_text().replace('"gates": true', '"gates": false'))
    manifest = read_manifest(tmp_path / "gru")
    assert manifest.core.gates and not read_manifest(tmp_path / "plain").core.gates
    program = split_program(to_uint32(load_images(tmp_path / "gru", manifest)["program"]))
    machines = load(tmp_path / "gru"), load(tmp_path / "gru")
    fit, reasons = fits(read_manifest(tmp_path / "plain"), manifest, machines, program)
    assert fit == "resynthesize"
    assert reasons == ["core.gates is needed and the core is built without it"]


def test_an_autoencoder_is_judged_by_its_error(tmp_path):
    (tmp_path / "model.py").write_text(
        "from torch import nn\ndef build():\n    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), "
        "nn.Linear(8, 8))\n"
    )
    identity = {
        f"{layer}.{name}": torch.eye(8) if name == "weight" else torch.zeros(8)
        for layer in (0, 2)
        for name in ("weight", "bias")
    }
    x = np.random.default_rng(0).uniform(0.1, 1, (64, 8)).astype(np.float32)
    np.savez(tmp_path / "inputs.npz", x=x)
    text = '[model]\npython = "model.py:build"\ncheckpoint = "{}.pth"\ninputs = "inputs.npz"\n'
    bundles = []
    for name, gain in (("old", 0.9), ("new", 0.8)):
        torch.save(identity | {"2.weight": gain * torch.eye(8)}, tmp_path / f"{name}.pth")
        (tmp_path / f"{name}.toml").write_text(text.format(name))
        pack(read_recipe(tmp_path / f"{name}.toml"), tmp_path / name)
        bundles.append(tmp_path / name)
    result = regress(*bundles, read_inputs(tmp_path / "inputs.npz"), RegressSection())
    assert result.accuracy_new is None
    # The output is gain * x: the error is (1 - gain)**2 of the mean square, but for rounding.
    power = float((x.astype(np.float64) ** 2).mean())
    assert abs(result.error_old / (0.01 * power) - 1) < 0.1
    assert abs(result.error_new / (0.04 * power) - 1) < 0.1
    assert result.verdict == "worse"
    assert any("mean squared error" in reason for reason in result.reasons)
    limits = RegressSection(max_error_growth=500)  # it grew by some 300 %
    result = regress(*bundles, read_inputs(tmp_path / "inputs.npz"), limits)
    assert not any("mean squared error" in reason for reason in result.reasons)


def test_nan_is_refused_and_wrong_calls_are_errors(old, folder, tmp_path):
    state = torch.load(DIGITS / "dscnn.pth", weights_only=True)
    state["features.6.weight"][3] = float("nan")
    torch.save(state, folder / "nan.pth")
    done = bramcast("regress", old, folder / "nan.pth", "--recipe", RECIPE, "--inputs", RECIPE)
    assert done.returncode == 1
    assert "refused: " in done.stdout and "features.6.weight" in done.stdout
    for arguments, word in (
        ((old, tmp_path / "none.pth", "--inputs", RECIPE), "no such bundle or checkpoint"),
        ((old, DIGITS / "dscnn.pth", "--inputs", RECIPE), "--recipe"),
        ((old, tmp_path, "--inputs", RECIPE), "manifest.json"),
        ((old, old, "--inputs", RECIPE, "--junit", tmp_path), "can't be written"),
    ):
        done = bramcast("regress", *arguments)
        assert done.returncode == 2, arguments
        assert word in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("dask", [None, in_all("local")])
def test_many_candidates_are_ranked(old, twin, damaged, dask, folder):
    tasks = [
        Task(old, new, RECIPE, RegressSection(), RECIPE, folder / "kept")
        for new in (damaged, twin, old)
    ]
    seen = []
    with executor(2, dask) as pool:
        outcomes = judge_all(tasks, pool, lambda what, done, of: seen.append((done, of)))
    assert [outcome.new for outcome in outcomes] == [old, twin, damaged]
    assert [outcome.verdict for outcome in outcomes] == ["drop-in", "drop-in", "worse"]
    assert seen[-1] == (3, 3)
    assert (folder / "kept" / "damaged" / "weights.mem").is_file()
    one = judge(tasks[1]).regression
    assert one.checks == outcomes[1].regression.checks


def test_the_command_ranks(old, twin):
    done = bramcast("regress", old, twin, old, "--inputs", RECIPE, "--jobs", "2", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["ranking"]
    assert [Path(entry["candidate"]).name for entry in found] == ["old", "twin"]


def test_who_is_refused_comes_last(old, twin, inputs):
    good = Outcome(twin, regress(old, twin, inputs, RegressSection()))
    broken = Outcome(old, regress(old, twin, inputs, RegressSection(min_snr=60)))
    open_ = Outcome(old, regress(old, twin, only(inputs, slice(20)), RegressSection()))
    assert (broken.verdict, open_.verdict) == ("worse", "undecided")
    refused = Outcome(old, None, "layer x is NaN")
    assert ranking([refused, broken, open_, good]) == [good, open_, broken, refused]


@pytest.mark.cosim
def test_the_hdl_is_part_of_the_verdict(old, twin):
    need("verilator")
    task = Task(old, twin, RECIPE, RegressSection(), sim=1)
    checks = {check.name: check for check in judge(task).regression.checks}
    assert checks["HDL against golden"].state == "ok"


@pytest.mark.slow
def test_the_mlperf_dscnn_against_its_twin(tmp_path):
    recipe = model_recipe(tmp_path, "kws_dscnn_mlperf")
    pack(read_recipe(recipe), tmp_path / "old")
    twin = MODELS / "kws_dscnn_mlperf" / "retrained" / "weights.pth"
    result = judge(Task(tmp_path / "old", twin, recipe, RegressSection(), recipe)).regression
    assert result.passed, result.reasons
    state = torch.load(MODELS / "kws_dscnn_mlperf" / "weights.pth", weights_only=True)
    state["blocks.2.3.weight"].normal_(std=0.2, generator=torch.Generator().manual_seed(0))
    torch.save(state, tmp_path / "damaged.pth")
    task = Task(tmp_path / "old", tmp_path / "damaged.pth", recipe, RegressSection(), recipe)
    assert judge(task).reasons[0].startswith("layer blocks.2.3 ")


def test_time_steps_are_one_line_of_the_table(folder, tmp_path):
    recipe = DIGITS / "gru.toml"
    pack(read_recipe(recipe), tmp_path / "gru")
    done = bramcast("regress", tmp_path / "gru", tmp_path / "gru", "--inputs", recipe)
    names = [line.split("  ")[0] for line in done.stdout.splitlines()]
    assert "gru.h x 6" in names and "classifier" in names
    assert not [name for name in names if re.fullmatch(r"gru.h_[3-6]", name)]
