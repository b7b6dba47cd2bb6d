# SPDX-License-Identifier: Apache-2.0
"""Draws docs/regress.svg: a terminal in which `bramcast regress` catches a bad retraining.

    make pictures

What stands in it was printed by the commands in it, by the tool as it is; tables that are left out
are marked by dots.
"""

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from gallery import DIGITS, confused
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

SVG = Path(__file__).resolve().parents[1] / "docs" / "regress.svg"
COLUMNS = 120
GOOD = "bramcast regress in_use monday.pth --recipe dscnn.toml --inputs dscnn.toml"
BAD = "bramcast regress in_use tuesday.pth --recipe dscnn.toml --inputs dscnn.toml"
STATES = {"ok": "green", "BROKEN": "bold red", "open": "yellow"}


def ran(line: str, folder: Path) -> tuple[str, int]:
    """What a command of the program prints, without colours, and its exit code."""
    env = os.environ | {"NO_COLOR": "1", "COLUMNS": str(COLUMNS)}
    done = subprocess.run(
        [sys.executable, "-m", *line.split()], cwd=folder, env=env, capture_output=True, text=True
    )
    return done.stdout, done.returncode


def shown(output: str, code: int) -> list[str]:
    """The checks and the verdict; the tables of layers and images are dots."""
    checks, *_, verdict = re.split(r"\n\s*\n", output.rstrip("\n"))
    lines = [line.rstrip() for line in checks.splitlines()]
    return [*lines, "...", *verdict.splitlines(), "$ echo $?", str(code)]


def screen() -> list[str]:
    """All lines of the terminal."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in ("model.py", "inputs.npz", "dscnn.toml", "dscnn.pth"):
            shutil.copy(DIGITS / file, folder)
        shutil.copy(DIGITS / "dscnn_retrained.pth", folder / "monday.pth")
        confused(folder / "tuesday.pth")
        ran("bramcast pack dscnn.toml -o in_use", folder)
        lines = []
        for line in (GOOD, BAD):
            lines += [f"$ {line}", *shown(*ran(line, folder)), ""]
        return lines[:-1]


def styled(line: str) -> Text:
    """A line with the colours of a terminal."""
    text = Text(line)
    if line.startswith("$ "):
        text.stylize("bold cyan", 0, 1)
        text.stylize("bold", 1)
    for word, style in STATES.items():
        text.highlight_regex(rf" {word}$", style)
    text.highlight_regex(r"^drop-in\b", "bold green")
    text.highlight_regex(r"^worse\b", "bold red")
    return text


def drawn(lines: list[str]) -> str:
    """The terminal as SVG; it takes its letters from the reader's machine."""
    console = Console(
        record=True,
        width=COLUMNS,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
    )
    for line in lines:
        console.print(styled(line), soft_wrap=False)
    svg = console.export_svg(title="bramcast regress", theme=MONOKAI, unique_id="regress")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.S)
    svg = svg.replace("Fira Code, monospace", "DejaVu Sans Mono, Menlo, Consolas, monospace")
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


if __name__ == "__main__":
    SVG.write_text(drawn(screen()), encoding="utf-8")
    print(SVG)
