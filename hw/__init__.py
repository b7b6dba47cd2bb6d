# SPDX-License-Identifier: Apache-2.0
"""Where the SystemVerilog sources are."""

from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def sources() -> list[Path]:
    """Every synthesizable file of the core, packages first, in an order every tool accepts."""
    files = sorted(FOLDER.glob("*.sv"))
    return sorted(files, key=lambda path: not path.stem.endswith("_pkg"))
