# SPDX-License-Identifier: Apache-2.0
"""Writes a changed copy of a recipe that keeps its author's text."""

import os
from collections.abc import Mapping
from pathlib import Path

import tomlkit
from tomlkit.items import Table

from bramcast.pack.recipe.recipe import PATHS, Recipe


def with_widths(recipe: Recipe, widths: Mapping[str, int], target: Path) -> str:
    """The recipe's TOML with the widths of some layers' weights, for a file ``target``.

    Comments and order stay; relative paths are those seen from the target's folder.
    """
    document = tomlkit.parse(recipe.path.read_text(encoding="utf-8-sig"))
    model = document["model"]
    assert isinstance(model, Table)
    old, new = recipe.path.parent.resolve(), target.parent.resolve()
    if old != new:
        for key in PATHS:
            if key in model:
                model[key] = _moved(str(model[key]), old, new)
        if "python" in model:
            file, _, name = str(model["python"]).rpartition(":")
            model["python"] = f"{_moved(file, old, new)}:{name}"
    if "name" not in model:  # it is made of the file's name, and that is another one
        model["name"] = recipe.name
    narrow = {name: bits for name, bits in widths.items() if bits < 8}
    if narrow:
        layers = _table(_table(document, "quantize"), "layers")
        for name, bits in narrow.items():
            _table(layers, name)["weight_bits"] = bits
        _table(document, "core")["narrow"] = True
    return tomlkit.dumps(document)


def _table(parent: tomlkit.TOMLDocument | Table, key: str) -> Table:
    if key not in parent:
        parent[key] = tomlkit.table(is_super_table=key == "layers")
    table = parent[key]
    assert isinstance(table, Table)
    return table


def _moved(path: str, old: Path, new: Path) -> str:
    if os.path.isabs(path):
        return path
    return Path(os.path.relpath(old / path, new)).as_posix()
