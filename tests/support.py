# SPDX-License-Identifier: Apache-2.0
"""What several tests need: recipes for small networks, the shared models, the simulators."""

import contextlib
import copy
import hashlib
import inspect
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any

import networks
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bramcast.golden.frames import arrays_from_beats, frames_from_arrays
from bramcast.golden.load import load

ROOT = Path(__file__).resolve().parents[1]
MODELS = Path(os.environ.get("BRAMCAST_MODELS", ROOT.parent / "shared" / "models"))
DIGITS = ROOT / "examples" / "digits"
FOLDERS = ("api", "board", "cli", "golden", "hw", "pack", "root", "sim")  # the package's

# One core that every network of tests/networks.py fits, so that simulators are compiled once.
COMMON_CORE = """
[core]
lanes = {lanes}
program_depth = 1024
weights_depth = 8192
bias_depth = 2048
scratch_depth = 4096
"""
# The same for networks with tables, products of two tensors and time steps.
SMOOTH_CORE = COMMON_CORE.replace("program_depth = 1024", "program_depth = 8192") + (
    "table_depth = 4096\ngates = true\n"
)


def common_core(name: str, lanes: int) -> str:
    """The [core] section that a network of tests/networks.py shares with others."""
    core = SMOOTH_CORE if name in networks.SMOOTH else COMMON_CORE
    return core.format(lanes=lanes)


_exports: dict[bytes, Any] = {}
_export = torch.export.export


def _content(module: torch.nn.Module, example: tuple[torch.Tensor, ...]) -> bytes | None:
    """A hash of all that a network's export depends on.

    None if that is not known: a class that is not of tests/networks.py or torch's, or an attribute
    that is neither a value nor part of every module (a function, say).
    """
    facts: list[object] = [module, module.training, [(x.shape, x.dtype) for x in example]]
    for name, part in module.named_modules():
        try:
            file = os.path.realpath(inspect.getfile(type(part)))
        except TypeError:  # a class that exec() made
            return None
        ours = file == os.path.realpath(networks.__file__)
        if not ours and not file.startswith(os.path.dirname(os.path.realpath(torch.__file__))):
            return None
        every = vars(torch.nn.Module())
        own = {k: v for k, v in vars(part).items() if k not in every and (ours or k[0] != "_")}
        plain = {k: v for k, v in own.items() if isinstance(v, (int, float, str, tuple, NoneType))}
        if plain.keys() != own.keys():
            return None
        facts += [name, type(part).__qualname__, plain]
    made = hashlib.sha256(repr(facts).encode())
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        made.update(name.encode() + value.detach().numpy().tobytes())
    return made.digest()


def _export_once(module: torch.nn.Module, example: tuple[torch.Tensor, ...], **how: Any) -> Any:
    """torch.export.export, which takes a quarter of the time that small networks are packed in."""
    key = None if how else _content(module, example)
    if key is None:
        return _export(module, example, **how)
    if key not in _exports:
        _exports[key] = _export(copy.deepcopy(module), example)
    return _exports[key]


def write_recipe(folder: Path, name: str, extra: str = "", samples: int = 6, seed: int = 0) -> Path:
    """A recipe for a network of tests/networks.py with random weights and inputs.

    However often it is packed, with whatever core and formats, a process exports it once.
    """
    torch.export.export = _export_once
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(networks.build(name, seed).state_dict(), folder / "weights.pth")
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, *networks.SHAPES[name])).astype(np.float32)
    np.savez(folder / "inputs.npz", x=x)
    python = os.path.relpath(networks.__file__, folder)
    recipe = folder / "recipe.toml"
    recipe.write_text(
        f'[model]\nname = "{name}"\npython = "{python}:{name}"\ncheckpoint = "weights.pth"\n'
        f'inputs = "inputs.npz"\n{extra}'
    )
    return recipe


def text_recipe(
    folder: Path,
    model: str,
    x: NDArray[Any],
    state: Mapping[str, NDArray[Any]],
    extra: str = "",
) -> Path:
    """A recipe for a model's text, which defines ``Net``, with parameters and samples."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.py").write_text(model)
    weights = {k: torch.from_numpy(np.asarray(v, np.float32)) for k, v in state.items()}
    torch.save(weights, folder / "weights.pth")
    np.savez(folder / "inputs.npz", x=x.astype(np.float32))
    recipe = folder / "recipe.toml"
    recipe.write_text(
        '[model]\nname = "net"\npython = "model.py:Net"\ncheckpoint = "weights.pth"\n'
        f'inputs = "inputs.npz"\n{extra}'
    )
    return recipe


def golden_arrays(bundle: Path, x: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Golden's results on real samples, as integers and as real numbers."""
    machine = load(bundle)
    assert machine.manifest is not None
    frames = frames_from_arrays(x.astype(np.float32), machine.manifest.input)
    return arrays_from_beats(machine.run(frames).beats, machine)


def model_recipe(folder: Path, name: str, checkpoint: str = "weights.pth", extra: str = "") -> Path:
    """A recipe for one of the shared models; skips where they are absent."""
    source = MODELS / name
    if not source.is_dir():
        pytest.skip(f"the shared models are not at {MODELS}")
    folder.mkdir(parents=True, exist_ok=True)
    relative = os.path.relpath(source, folder)
    recipe = folder / f"{name}.toml"
    recipe.write_text(
        f'[model]\npython = "{relative}/model.py:build"\n'
        f'checkpoint = "{relative}/{checkpoint}"\ninputs = "{relative}/inputs.npz"\n{extra}'
    )
    return recipe


Done = subprocess.CompletedProcess[str]


def process(*arguments: object) -> Done:
    """Run the command line as its user does, in a process of its own."""
    command = [sys.executable, "-c", "from bramcast.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def bramcast(*arguments: object) -> Done:
    """Run the command line in this process, which has torch already."""
    from bramcast.cli import main

    call = ["bramcast", *map(str, arguments)]
    out, err = io.StringIO(), io.StringIO()
    old, sys.argv = sys.argv, call
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            with pytest.raises(SystemExit) as left:
                main()
    finally:
        sys.argv = old
    assert isinstance(left.value.code, int)
    return Done(call, left.value.code, out.getvalue(), err.getvalue())


def cli(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """The same as exit code, standard output, standard error."""
    done = bramcast(*arguments)
    return done.returncode, done.stdout, done.stderr


def in_all(*case: object, when: bool = True) -> Any:
    """A test's parameters that only `make test-all` and CI run, and of them a part (conftest.py):
    nearly all is tested by others."""
    return pytest.param(*case, marks=[pytest.mark.slow, pytest.mark.ci] if when else [])


def need(simulator: str) -> None:
    """Skip where a simulator is missing; in CI that is a failure."""
    from bramcast.sim.run.runner import missing

    reason = missing(simulator)
    if reason:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)


def built_wheel(folder: Path) -> Path:
    """The package as a user installs it.

    From a copy: setuptools puts files of earlier builds into the wheel if it finds a build/lib.
    """
    copy = folder / "copy"
    copy.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, copy]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel
