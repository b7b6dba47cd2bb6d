# SPDX-License-Identifier: Apache-2.0
"""Each extra alone brings what its verbs need, and its absence is told with its name.

A Python whose imports are held to the packages of an extra, and those that these ask for, stands
for an environment in which only that extra was installed: in seconds, for CI. `make extras` makes
the environments themselves, and installs the wheel there.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

import numpy as np
import pytest
import torch
from packaging.requirements import Requirement
from support import DIGITS, ROOT, built_wheel, need

from bramcast.pack.bundle.manifest import read_manifest
from bramcast.sim.run.serial import serial_core

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
OLD = ROOT / "tests" / "data" / "bundles" / "digits_mlp"
HELD = """
import sys
class Held:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in ABSENT:
            return self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)
sys.meta_path[:] = map(Held, sys.meta_path)
"""
# What its verbs do; without the extra the first one is refused with its name.
LINES = {
    "torch": [
        "inspect m.pth", "pack model.py:Mlp mlp.pth --inputs inputs.npz -o b",
        "export m.pth -o m.csv", "prune m.pth --sparsity 0.5 -o p.pth",
    ],
    "onnx": ["inspect net.onnx", "pack net.onnx --inputs inputs.npz -o o"],
    "board": [],  # needs a port: see below
    "sim": [f"sim {OLD} --inputs inputs.npz --samples 1"],
    "plot": ["inspect m.safetensors --histogram p.png"],
    "dask": [f"regress {OLD} {OLD} {OLD} --inputs inputs.npz --dask local"],
    "report": [f"report {OLD} -o r.html"],
    "notebook": [f"report {OLD} -o r.html", "inspect m.pth"],
}  # fmt: skip
BARE = [
    f"golden {OLD} --inputs inputs.npz", f"images {OLD}", f"memory {OLD} --device xc7a35t",
    f"hdl {OLD} -o fpga", "init model.py:Mlp mlp.pth --inputs inputs.npz --force", "--version",
]  # fmt: skip
# What is no verb: calls of docs/python.md, and scripts of a checkout.
CALL = "import bramcast; b = bramcast.cast('mlp.toml', progress={bar!r}); b.predict('inputs.npz')"
SCRIPTS = {
    "torch": [["-c", CALL.format(bar=None)]],
    "notebook": [
        ["-c", CALL.format(bar="tqdm") + "; b.report()._repr_html_(); b.layers.to_numpy()"]
    ],
    "train": [["train.py", "gru"]],
    "bench": [["bench/accuracy.py", "mlp.toml"], ["bench/speed.py", "--help"]],
}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(needs: Iterable[str]) -> set[str]:
    """The distributions that requirements bring, by their canonical names."""
    found: set[tuple[str, str]] = set()
    todo = [(Requirement(text), "") for text in needs]
    while todo:
        requirement, extra = todo.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        for wanted in ("", *requirement.extras):
            key = canonical(requirement.name), wanted
            if key not in found:
                found.add(key)
                try:
                    inner = distribution(requirement.name).requires or []
                except PackageNotFoundError:
                    continue
                todo += [(Requirement(text), wanted) for text in inner]
    return {name for name, _ in found}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with what the lines name."""
    from safetensors.torch import save_file

    here = tmp_path_factory.mktemp("extras")
    for name in ("model.py", "mlp.pth", "mlp.toml", "inputs.npz", "train.py"):
        (here / name).write_bytes((DIGITS / name).read_bytes())
    (here / "bench").symlink_to(ROOT / "bench")
    state = {"fc.weight": torch.eye(4), "fc.bias": torch.zeros(4)}
    torch.save(state, here / "m.pth")
    save_file(state, here / "m.safetensors")
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    names = [("x", [1, 1, 8, 8]), ("y", [1, 64])]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in names)
    weight = numpy_helper.from_array(np.eye(64, dtype=np.float32), "w")
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "net", [x], [y], [weight])
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), here / "net.onnx")
    return here


def run(folder, extra, line):
    """Run a line of the command line with the packages of an extra, "" for none."""
    there = closure([*PROJECT["dependencies"], *EXTRAS.get(extra, [])]) | {"bramcast"}
    absent = sorted(
        module
        for module, homes in packages_distributions().items()
        if not {canonical(home) for home in homes} & there
    )
    site = folder / f"site-{extra}"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(HELD.replace("ABSENT", repr(set(absent))))
    command = [sys.executable, "-m", "bramcast", *shlex.split(line)]
    paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("extra", ["", *LINES])
def test_an_extra_alone_brings_what_its_verbs_need(folder, extra):
    if extra == "sim":
        need("verilator")
    for line in LINES[extra] if extra else BARE:
        done = run(folder, extra, line)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("extra", ["torch", "onnx", "sim", "plot", "dask", "report", "board"])
def test_an_extra_that_is_missing_is_told_by_its_name(folder, extra):
    without = {"onnx": "torch", "plot": "torch"}.get(extra, "")
    line = (LINES[extra] or ["board /dev/null b --inputs inputs.npz"])[0]
    done = run(folder, without, line.replace(" b ", f" {OLD} "))
    assert done.returncode == 2 and f"pip install '.[{extra}]'" in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize(
    "there, line, missing",
    [
        # Nothing that takes long comes first, and what is told is enough: onnx brings torch, too.
        ("sim", f"report {OLD} --inputs inputs.npz --sim -o r.html", "report"),
        ("", "inspect net.onnx", "onnx"),
        ("", "export net.onnx -o n.csv", "onnx"),
        ("", "pack net.onnx --inputs inputs.npz -o o", "onnx"),
    ],
)
def test_what_is_missing_is_told_at_once_and_whole(
    folder, there, line, missing, tmp_path, monkeypatch
):
    monkeypatch.setenv("BRAMCAST_CACHE", str(tmp_path))
    done = run(folder, there, line)
    assert done.returncode == 2 and f"pip install '.[{missing}]'" in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())  # no simulator was compiled


# ---------------------------------------------------------------- installed


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, where packages can be had."""
    ask = ["install", "--dry-run", "--no-deps", "--ignore-installed", "-q", "numpy"]
    done = subprocess.run([sys.executable, "-m", "pip", *ask], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"pip finds no packages: {done.stderr.strip().splitlines()[-1]}")
    return built_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def installed(wheel, folder, tmp_path):
    """A function: a fresh environment with one extra, and what runs a command of it."""
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    with tempfile.TemporaryDirectory(dir=tmp_path) as home:  # some have a gigabyte: not kept
        clean |= {"BRAMCAST_CACHE": f"{home}/cache", "PATH": f"{home}/bin:{os.environ['PATH']}"}

        def made(extra):
            def ran(*command):
                return subprocess.run(
                    command, cwd=folder, env=clean, capture_output=True, text=True
                )

            python = f"{home}/bin/python"
            assert ran(sys.executable, "-m", "venv", home).returncode == 0
            pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            what = f"{wheel}[{extra}]" if extra else wheel
            done = ran(*pip, "-c", ROOT / "constraints.txt", what)
            assert done.returncode == 0, done.stderr
            where = ran(python, "-c", "import bramcast; print(bramcast.__file__)").stdout
            assert Path(where.strip()).is_relative_to(home)
            return ran

        yield made


@pytest.mark.slow
@pytest.mark.parametrize("extra", ["", *LINES, "all", "train", "bench"])
def test_an_extra_installed_alone_runs_its_verbs(installed, folder, extra):
    """In a fresh environment; what another extra brings is refused with its name."""
    run = installed(extra)
    there = closure(EXTRAS.get(extra, []))
    with ExitStack() as stack:
        lines = {"": [["--help"], *map(shlex.split, BARE)]}
        lines |= {name: [shlex.split(line) for line in LINES[name]] for name in LINES}
        port = "/dev/null"
        if extra in ("board", "all"):  # the simulator of the tests' own environment stands there
            need("verilator")
            manifest = read_manifest(OLD)
            port = stack.enter_context(serial_core(manifest.core, len(manifest.nests))).port
        lines["board"] = [["board", port, str(OLD), "--inputs", "inputs.npz", "--samples", "1"]]
        for name, arguments in [(name, line) for name, some in lines.items() for line in some]:
            done = run("bramcast", *arguments)
            said = f"{arguments}\n{done.stdout}{done.stderr}"
            if closure(EXTRAS.get(name, [])) <= there:
                assert done.returncode == 0, said
            elif done.returncode:  # torch alone brings jinja2, for one
                assert done.returncode == 2 and done.stderr.count("\n") == 1, said
                assert re.search(r"pip install '\.\[\w+\]'", done.stderr), said
        for name, scripts in SCRIPTS.items():
            for script in scripts if closure(EXTRAS[name]) <= there else []:
                done = run("python", *script)
                assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"


def test_every_extra_for_users_has_its_verbs_here():
    assert {*LINES, "all", "train", "bench", "synth", "tools", "docs", "dev"} == set(EXTRAS)
