# SPDX-License-Identifier: Apache-2.0
"""What lies in a folder that a recipe could name. Nothing is imported or run."""

import ast
from pathlib import Path

from bramcast.pack.bundle.errors import InputError

BUILD = "build"  # what a network is called by where nothing else is said


def builders(path: Path) -> list[str]:
    """The functions and classes of a model file that may be called without an argument.

    Classes are those that derive from something called ...Module or Sequential, in this file as
    well; functions those whose name says that they make something.

    Raises:
        InputError: it can't be read, or is no Python.
    """
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give the network's Python file") from None
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise InputError(f"{path}{f':{line}' if line else ''}: is no Python: {error}") from None
    modules: set[str] = set()
    found = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            bases = {ast.unparse(base).rpartition(".")[2] for base in node.bases}
            if any(b.endswith(("Module", "Sequential")) or b in modules for b in bases):
                modules.add(node.name)
                if _alone(node.body):
                    found.append(node.name)
        elif isinstance(node, ast.FunctionDef) and not _asks(node):
            if node.name.startswith((BUILD, "make", "create", "get_model", "model")):
                found.append(node.name)
    return found


def builder_of(path: Path) -> str:
    """The one of ``builders`` that is meant where the file alone is named.

    Raises:
        InputError: there is none, or several and none is called build.
    """
    names = builders(path)
    if BUILD in names or len(names) == 1:
        return BUILD if BUILD in names else names[0]
    if not names:
        raise InputError(
            f"{path}: no function or class in it makes a network without an argument: write a "
            f"build() that returns the nn.Module, or name another: {path}:NAME"
        )
    choice = ", ".join(f"{path.name}:{name}" for name in names)
    raise InputError(f"{path}: which of its networks? give one of {choice}")


def _alone(body: list[ast.stmt]) -> bool:
    """Whether a class can be made without an argument."""
    made = [n for n in body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
    return not made or not _asks(made[0], own=1)


def _asks(function: ast.FunctionDef, own: int = 0) -> bool:
    """Whether a function needs an argument, beside the first ``own``."""
    named = function.args
    places = len(named.posonlyargs) + len(named.args) - own
    return places > len(named.defaults) or None in named.kw_defaults


def networks(folder: Path) -> list[str]:
    """Networks in a folder: MODEL.py:NAME, and files that hold a network with its weights."""
    names = []
    for path in sorted(folder.glob("*.py")):
        try:
            names += [f"{path.name}:{name}" for name in builders(path)]
        except InputError:
            continue
    return names + files(folder, ".onnx", ".pt2")


def files(folder: Path, *suffixes: str) -> list[str]:
    """Names of the files with such a suffix, the newest first."""
    there = [path for path in folder.iterdir() if path.suffix in suffixes and path.is_file()]
    return [p.name for p in sorted(there, key=lambda p: (-p.stat().st_mtime, p.name))]
