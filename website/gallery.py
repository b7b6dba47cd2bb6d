# SPDX-License-Identifier: Apache-2.0
"""Pages of the shipped examples, as `bramcast report` and `bramcast regress --html` write them.

    python website/gallery.py FOLDER [--models RECIPES]

With ``--models`` the pages are those of every recipe (``*.toml``) in that folder instead, beside
the shipped ones nowhere: the site takes build/gallery, and your networks stay yours.
"""

import argparse
import shutil
import sys
import tempfile
from contextlib import chdir
from pathlib import Path

import bramcast
from bramcast.pack.bundle.folder import replace_bytes
from bramcast.pack.samples.inputs import Inputs, read_inputs
from bramcast.sim.report.side_by_side import regression_html

DIGITS = Path(__file__).resolve().parents[1] / "examples" / "digits"
CONFUSED = [3, 5, 8]  # classes that change places in the bad retraining


def reports(recipes: list[Path], folder: Path, sim: int) -> None:
    """A report for each recipe, with ``sim`` samples through the HDL."""
    for recipe in recipes:
        inputs = read_inputs(recipe)
        page = bramcast.cast(recipe).report(inputs.x, inputs.y, sim=sim)
        page.save(folder / f"{recipe.stem}.html")
        print(folder / f"{recipe.stem}.html")


def confused(path: Path) -> Path:
    """The DS-CNN as it comes out of a training whose labels 3, 5 and 8 have changed places."""
    import torch

    state = torch.load(DIGITS / "dscnn.pth", weights_only=True)
    for name in ("classifier.weight", "classifier.bias"):
        state[name][CONFUSED] = state[name][[5, 8, 3]].clone()
    torch.save(state, path)
    return path


def regressions(folder: Path) -> None:
    """A good and a bad retraining of the DS-CNN; the pages name files, no folders of here."""
    folder = folder.resolve()
    with tempfile.TemporaryDirectory() as made, chdir(made):
        recipe = Path(shutil.copytree(DIGITS, "digits")) / "dscnn.toml"
        inputs = read_inputs(recipe)
        old = bramcast.cast(recipe, output="in_use")
        good = recipe.with_name("dscnn_retrained.pth")
        bad = confused(Path("confused.pth"))
        for name, weights in {"drop_in": good, "worse": bad}.items():
            page = _page(old, weights, inputs, Path(name))
            replace_bytes(folder / f"{name}.html", page.encode())
            print(folder / f"{name}.html")


def _page(old: bramcast.Bundle, weights: Path, inputs: Inputs, keep: Path) -> str:
    outcome = old.regress(weights, inputs.x, inputs.y, keep=keep)
    return regression_html(old.path, [outcome], inputs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", type=Path, help="folder of recipes: only pages of these")
    parser.add_argument("--sim", type=int, default=1, help="samples through the HDL")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.models is not None:
        reports(sorted(given.models.rglob("*.toml")), given.folder, given.sim)
        return 0
    shipped = [DIGITS / f"{name}.toml" for name in ("dscnn", "gru", "mlp", "mlp_2")]
    reports(shipped, given.folder, given.sim)
    regressions(given.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
