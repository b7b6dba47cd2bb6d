# SPDX-License-Identifier: Apache-2.0
"""The arrows between the folders point one way, and torch stays in a few files."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = {
    "pack": {"pack"},
    "hw": {"hw"},
    "golden": {"golden", "pack"},
    "sim": {"sim", "pack", "golden", "hw"},
    "cli": {"cli", "pack", "golden", "hw", "sim"},
}
TORCH = {"pack/checkpoint.py", "pack/model_file.py", "pack/execute.py", "pack/calibrate.py",
         "pack/capture.py", "pack/capture_state.py", "pack/capture_moves.py",
         "pack/capture_linear.py", "pack/capture_elementwise.py", "pack/capture_pools.py",
         "pack/capture_recurrent.py",
         "pack/onnx_graph.py", "pack/onnx_operators.py", "pack/exported.py",
         "pack/state_dict_mlp.py", "pack/source.py", "pack/traced.py", "pack/straight_through.py",
         "pack/qat.py", "pack/blame.py", "pack/judge.py", "pack/tensors.py",
         "pack/prune.py"}  # fmt: skip
FILES = sorted(path for folder in ALLOWED for path in (ROOT / folder).rglob("*.py"))


def imported_modules(source):
    """Dotted names that a module imports, at its top or anywhere inside."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are never relative"
            if node.module == "bramcast":
                yield from (f"bramcast.{alias.name}" for alias in node.names)
            else:
                yield node.module


def complaints(path, source):
    """What a file of the repository imports but may not."""
    folder = path.split("/")[0]
    for name in imported_modules(source):
        parts = name.split(".")
        if parts[0] == "bramcast" and (len(parts) < 2 or parts[1] not in ALLOWED[folder]):
            yield f"{folder}/ may not import {name}"
        if parts[0] == "torch" and path not in TORCH:
            yield f"{path} may not import torch; only {', '.join(sorted(TORCH))} may"


@pytest.mark.parametrize("path", [p.relative_to(ROOT).as_posix() for p in FILES])
def test_a_file_imports_only_what_its_folder_may(path):
    assert not list(complaints(path, (ROOT / path).read_text()))


@pytest.mark.parametrize(
    "path, source",
    [
        ("pack/x.py", "from bramcast.golden.arith import wrap32"),
        ("pack/x.py", "def f():\n    import bramcast.sim.runner"),
        ("golden/x.py", "from bramcast import sim"),
        ("hw/x.py", "import bramcast.pack.errors"),
        ("golden/x.py", "import torch.nn"),
        ("pack/words.py", "from torch import nn"),
    ],
)
def test_a_forbidden_import_is_seen(path, source):
    assert list(complaints(path, source))


def test_folders_are_flat():
    assert all(len(path.relative_to(ROOT).parts) == 2 for path in FILES)
