# SPDX-License-Identifier: Apache-2.0
"""action.yml, and the workflow of the docs that uses it: their very steps run here, one by one.

What GitHub provides (checkout, Python, caches, artifacts) is named and left out, and so is the
installation, which is looked at instead.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import yaml
from support import DIGITS, ROOT, need

from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe

ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
PROVIDED = {"checkout", "setup-python", "cache", "upload-artifact"}


def workflow():
    """Steps of the first workflow in the docs."""
    text = (ROOT / "docs" / "regression.md").read_text()
    block = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0]
    return yaml.safe_load(block)["jobs"]["regress"]["steps"]


@dataclass
class Runner:
    """A workspace in which steps run as a runner runs them."""

    workspace: Path
    failed: bool = False
    outputs: dict[str, str] = field(default_factory=dict)
    provided: list[str] = field(default_factory=list)

    def run(self, steps, context):
        for step in steps:
            if self.failed and step.get("if") != "always()":
                continue
            uses = step.get("uses")
            if uses is None:
                self._script(step, context)
            elif uses.startswith("./"):
                self._action(step)
            else:
                name, _, version = uses.removeprefix("actions/").partition("@")
                assert name in PROVIDED and re.fullmatch(r"v\d+", version), uses
                self.provided.append(name)

    def _action(self, step):
        action = yaml.safe_load((self.workspace / step["uses"] / "action.yml").read_text())
        known = action["inputs"]
        assert set(step["with"]) <= set(known), step["with"]
        given = {name: one.get("default", "") for name, one in known.items()} | step["with"]
        missing = [n for n, one in known.items() if one.get("required") and n not in step["with"]]
        assert not missing
        context = {f"inputs.{name}": value for name, value in given.items()}
        context["github.action_path"] = str(self.workspace / step["uses"])
        context["runner.temp"] = str(self.workspace / "temp")
        self.run(action["runs"]["steps"], context)

    def _script(self, step, context):
        def value(text):
            return re.sub(r"\$\{\{ *([\w.-]+) *\}\}", lambda found: context[found[1]], str(text))

        assert "${{" not in step["run"], "an expression in a script is open to injection"
        assert step["shell"] == "bash"
        if "pip install" in step["run"]:
            assert step["run"].endswith('"$ACTION[torch,onnx,sim,report]"')
            return
        notes = {name: self.workspace / f"{name}.txt" for name in ("output", "summary")}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        env = os.environ | {name: value(text) for name, text in step["env"].items()}
        env |= {"GITHUB_OUTPUT": str(notes["output"]), "PATH": path}
        env |= {"GITHUB_STEP_SUMMARY": str(notes["summary"])}
        env["BRAMCAST_CACHE"] = os.environ.get("BRAMCAST_CACHE", "~/.cache/bramcast")
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        self.failed |= subprocess.run(command, cwd=self.workspace, env=env).returncode != 0
        for line in notes["output"].read_text().splitlines():
            name, _, text = line.partition("=")
            self.outputs[name] = text


@pytest.fixture
def workspace(tmp_path):
    """A repository with a bundle in the field and a retrained checkpoint, as the docs have it."""
    (tmp_path / "bramcast").mkdir()
    shutil.copy(ROOT / "action.yml", tmp_path / "bramcast")
    training = tmp_path / "training"
    training.mkdir()
    for name, copy in (
        ("model.py", "model.py"),
        ("inputs.npz", "inputs.npz"),
        ("mlp.pth", "weights.pth"),
    ):
        shutil.copy(DIGITS / name, training / copy)
    recipe = (DIGITS / "mlp.toml").read_text().replace("mlp.pth", "weights.pth")
    (training / "recipe.toml").write_text(recipe)
    pack(read_recipe(training / "recipe.toml"), tmp_path / "fpga" / "bundle")
    return tmp_path


def retrained(workspace, change):
    import torch

    path = workspace / "training" / "weights.pth"
    state = torch.load(path, weights_only=True)
    change(state)
    torch.save(state, path)


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.cosim
def test_the_action_passes_a_drop_in_and_leaves_everything_behind(workspace):
    need("verilator")
    retrained(workspace, lambda state: state["1.weight"].mul_(1.01))
    runner = Runner(workspace)
    runner.run(workflow(), {})
    assert not runner.failed and runner.outputs == {"verdict": "drop-in"}
    assert runner.provided == ["checkout", "setup-python", "cache", "upload-artifact"]
    out = workspace / "bramcast-regress"
    assert (out / "candidate" / "weights" / "weights.mem").is_file()
    assert "HDL against golden" in (out / "regress.xml").read_text()
    assert "weights.pth: drop-in" in (workspace / "summary.txt").read_text()
    assert "drop-in" in (out / "regress.html").read_text()


def test_the_action_fails_a_bad_retraining_and_tells_why_there_is_no_verdict(workspace):
    steps = workflow()
    next(step for step in steps if step["uses"] == "./bramcast")["with"]["sim"] = "false"

    def mixed_up(state):
        state["6.weight"][[3, 5, 8]] = state["6.weight"][[5, 8, 3]].clone()

    retrained(workspace, mixed_up)
    runner = Runner(workspace)
    runner.run(steps, {})
    assert runner.failed and runner.outputs == {"verdict": "worse"}
    assert runner.provided[-1] == "upload-artifact"  # also then
    with np.load(workspace / "training" / "inputs.npz") as file:
        arrays = dict(file)
    arrays["y"] = (arrays["y"] + 1) % 10
    np.savez(workspace / "training" / "inputs.npz", **arrays)
    shutil.rmtree(workspace / "bramcast-regress")
    runner = Runner(workspace)
    runner.run(steps, {})
    assert runner.failed and runner.outputs == {"verdict": "none"}
    assert "## no verdict" in (workspace / "summary.txt").read_text()
    assert "no verdict" in (workspace / "bramcast-regress" / "regress.html").read_text()


def test_the_docs_name_every_input():
    text = (ROOT / "docs" / "regression.md").read_text()
    assert all(re.search(rf"^\|.*`{name}`", text, flags=re.M) for name in ACTION["inputs"])


def test_simulators_are_kept_where_the_action_compiles_them():
    cache = next(step for step in ACTION["runs"]["steps"] if "cache" in step.get("uses", ""))
    script = next(step for step in ACTION["runs"]["steps"] if step.get("id") == "regress")
    assert cache["with"]["path"] == script["env"]["BRAMCAST_CACHE"]
    assert cache["with"]["key"].startswith(cache["with"]["restore-keys"])
