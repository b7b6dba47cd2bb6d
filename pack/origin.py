# SPDX-License-Identifier: Apache-2.0
"""Where a bundle comes from: recipe, files and their sums, versions, date."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bramcast.pack.bundle.manifest import sha256
from bramcast.pack.bundle.provenance import Provenance
from bramcast.pack.recipe.recipe import PATHS, Recipe
from bramcast.pack.recipe.text import recipe_text

PACKAGES = ("bramcast", "torch", "numpy")


def origin(recipe: Recipe, command: str | None, in_memory: bool) -> Provenance:
    """What is known of a packing's sources.

    Args:
        command: as it was typed.
        in_memory: the network or its samples are a program's own, and files say nothing of them.
    """
    model = recipe.model
    names = [getattr(model, key) for key in PATHS]
    if model.python is not None:
        names.append(model.python.rpartition(":")[0])
    files = {name: recipe.file(name) for name in names if name}
    return Provenance(
        command=command,
        recipe=recipe.path.name if recipe.path.is_file() else None,
        recipe_text=recipe_text(recipe),
        files={} if in_memory else {n: s for n, f in files.items() if (s := _sum(f)) is not None},
        versions={"Python": platform.python_version()} | {p: _version(p) for p in PACKAGES},
        packed=now(),
    )


def now() -> str:
    """Date and time, UTC; SOURCE_DATE_EPOCH's where that is set, as for reproducible builds.

    >>> import os; os.environ["SOURCE_DATE_EPOCH"] = "86400"
    >>> now(); del os.environ["SOURCE_DATE_EPOCH"]
    '1970-01-02T00:00:00+00:00'
    """
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    moment = datetime.fromtimestamp(int(given), UTC) if given.isdigit() else datetime.now(UTC)
    return moment.isoformat(timespec="seconds")


def _sum(file: Path) -> str | None:
    try:
        return sha256(file.read_bytes())
    except OSError:  # a pipe that was read, or a file that is gone since
        return None


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "?"
