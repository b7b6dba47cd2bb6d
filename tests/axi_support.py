# SPDX-License-Identifier: Apache-2.0
"""What the tests of the AXI4-Lite slave share: two networks for one core, examples of the docs."""

from pathlib import Path

from support import DIGITS, ROOT, write_recipe

from bramcast.golden.load import load
from bramcast.pack.bundle.manifest import Core
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe


def code_block(page: str, language: str) -> str:
    """The first ```language block of a page."""
    return (ROOT / page).read_text().split(f"```{language}\n")[1].split("```")[0]


def recipe_with(folder: Path, name: str, **core: int) -> Path:
    """A recipe of examples/digits with other parameters of the core."""
    text = (DIGITS / f"{name}.toml").read_text()
    for key in ("python", "checkpoint", "inputs"):
        text = text.replace(f'{key} = "', f'{key} = "{DIGITS}/')
    lines = "".join(f"{key} = {value}\n" for key, value in core.items())
    path = folder / f"{name}.toml"
    path.write_text(text.replace("[core]\nlanes = 16\n", f"[core]\nlanes = 16\n{lines}"))
    return path


TABLES_CORE = """[core]
lanes = 4
gates = true
program_depth = 160
weights_depth = 300
bias_depth = 64
table_depth = 768
scratch_depth = 40
"""


def two_with_tables(folder: Path, bits: int) -> list[Path]:
    """Recipes of two networks with other tables, for one core."""
    extra = f"{TABLES_CORE}[quantize]\nactivation_bits = {bits}\ninput_planes = 1\n"
    names = ("SigmoidLast", "GatedLast")
    return [write_recipe(folder / name, name, extra) for name in names]


def dscnn_and_mlp(folder: Path, taps: int = 1) -> list[Path]:
    """Recipes of two topologies, the smaller one packed for the depths of the larger one."""
    dscnn = recipe_with(folder, "dscnn", taps=taps)
    pack(read_recipe(dscnn), folder / "measured")
    core: Core = load(folder / "measured").core
    names = ("program_depth", "weights_depth", "bias_depth", "scratch_depth")
    depths = {name: getattr(core, name) for name in names}
    return [dscnn, recipe_with(folder, "mlp", taps=taps, **depths)]
