# SPDX-License-Identifier: Apache-2.0
"""The arrows point one way: between folders, and between the rooms of pack/ and of sim/."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {
    "pack": {"pack"},
    "hw": {"hw"},
    "golden": {"golden", "pack.bundle"},
    "sim": {"sim", "pack", "golden", "hw", "board"},
    "board": {"board", "pack.axi", "pack.bundle"},
    "api": {"api", "board", "pack", "golden", "hw", "sim"},
    "cli": {"api", "board", "cli", "pack", "golden", "hw", "sim"},
    "root": {"api", "cli", "pack.bundle.errors"},  # bramcast itself
}
# In the order in which the data meets them: each imports itself and what stands before it.
PACK = (
    "bundle", "activations", "recipe", "samples", "read", "graph", "capture", "passes",
    "quantize", "run", "lower", "judge", "prepare", "notes", "contents", "origin",
    "pipeline", "fit", "train",
)  # fmt: skip
SIM = ("run", "folder", "board", "benches", "regress", "report")
# Beside the road: what they import of it, and who may import them.
BESIDE = {
    "device": ({"bundle"}, {"lower"}),
    "axi": ({"bundle"}, set()),
    "bitstream": ({"bundle"}, set()),
    "look": ({*PACK[: PACK.index("run")]}, set()),
}
TORCH = {"read", "capture", "run", "judge", "train"}
NAMES_TORCH = {"api/given.py"}  # says to a type checker what is a network; does not import it
OLD_NAMES = {"driver", "export", "inspect", "manifest", "prune", "qat"}  # which docs/ print
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
NAMES = [path.relative_to(ROOT).as_posix() for path in FILES]


@cache
def modules():
    return {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in NAMES}


def imported_modules(source):
    """Dotted names that a module imports, at its top or anywhere inside; ours without bramcast."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.removeprefix("bramcast.") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are never relative"
            base = node.module.removeprefix("bramcast").removeprefix(".")
            wholes = [f"{base}.{alias.name}" if base else alias.name for alias in node.names]
            yield from {whole if whole in modules() or not base else base for whole in wholes}


def room_of(module):
    """The room of a module of pack or sim: ``bundle`` of ``pack.bundle.formats.coe``."""
    return (*module.split("."), "")[1]


def allowed(folder, room):
    """The rooms of its own folder that a room may import."""
    order = PACK if folder == "pack" else SIM
    if room in BESIDE:
        return {room, *BESIDE[room][0]}
    # What is beside the road serves those that name it and the road's end.
    late = PACK.index("prepare")
    served = {
        name
        for name, (_, users) in BESIDE.items()
        if folder == "pack" and (room in users or order.index(room) >= late)
    }
    return {*order[: order.index(room) + 1], *served}


def complaints(path, source):
    """What a file of the repository imports but may not."""
    module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    folder = module.split(".")[0]
    room = room_of(module) if folder in ("pack", "sim") else ""
    for name in imported_modules(source):
        top = name.split(".")[0]
        if top in FOLDERS or name == "bramcast":
            if not any(f"{name}.".startswith(f"{other}.") for other in FOLDERS[folder]):
                yield f"{folder}/ may not import {name}"
            elif top == folder and room and room not in OLD_NAMES:
                if room_of(name) not in allowed(folder, room):
                    yield f"{module}: {room} stands before {room_of(name)}, which it imports"
        if top == "torch" and not (folder == "pack" and room in TORCH) and path not in NAMES_TORCH:
            yield f"{path} may not import torch; only {', '.join(sorted(TORCH))} of pack may"


@pytest.mark.parametrize("path", NAMES)
def test_a_file_imports_only_what_stands_before_it(path):
    assert not list(complaints(path, (ROOT / path).read_text()))


@pytest.mark.parametrize(
    "path, source",
    [
        ("pack/bundle/x.py", "from bramcast.golden.arith import wrap32"),
        ("board/x.py", "from bramcast.sim.run.runner import build"),
        ("board/x.py", "import bramcast.pack.pipeline"),
        ("golden/x.py", "from bramcast.board.line import Line"),
        ("pack/train/x.py", "def f():\n    import bramcast.sim.run.runner"),
        ("golden/x.py", "from bramcast import sim"),
        ("golden/x.py", "from bramcast.pack.recipe.recipe import read_recipe"),
        ("hw/x.py", "import bramcast.pack.bundle.errors"),
        ("golden/x.py", "import torch.nn"),
        ("pack/bundle/words.py", "from torch import nn"),
        ("pack/passes/x.py", "from bramcast.pack.run import execute"),
        ("pack/graph/x.py", "from bramcast.pack.passes.fold import fold"),
        ("pack/quantize/x.py", "from bramcast.pack.device.memory import free_depth"),
        ("pack/device/x.py", "from bramcast.pack.graph.graph import Graph"),
        ("sim/run/x.py", "from bramcast.sim.report import report"),
        ("pack/run/x.py", "if TYPE_CHECKING:\n    from bramcast.pack.pipeline import Packed"),
    ],
)
def test_a_forbidden_import_is_seen(path, source):
    assert list(complaints(path, source))


def test_no_module_imports_itself_by_way_of_others():
    arrows = {}
    for name, path in zip(NAMES, FILES, strict=True):
        module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        arrows[module] = {m for m in imported_modules(path.read_text()) if m in modules()}
    free = set()
    while found := {m for m, to in arrows.items() if m not in free and to - {m} <= free}:
        free |= found
    assert not set(arrows) - free


def test_every_room_has_its_place():
    there = {room_of(m) for m in modules() if m.startswith("pack.")} - OLD_NAMES
    assert there == {*PACK, *BESIDE}
    assert {room_of(m) for m in modules() if m.startswith("sim.")} == {*SIM}
