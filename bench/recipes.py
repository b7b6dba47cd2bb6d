# SPDX-License-Identifier: Apache-2.0
"""The networks that benches measure when they are given none."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODELS = Path(os.environ.get("BRAMCAST_MODELS", ROOT.parent / "shared" / "models"))
DIGITS = ROOT / "examples" / "digits"


def shared_recipe(name: str, folder: Path) -> Path | None:
    """A recipe for one of the shared models, None where they are absent."""
    source = MODELS / name
    if not source.is_dir():
        return None
    relative = os.path.relpath(source, folder)
    recipe = folder / f"{name}.toml"
    recipe.write_text(
        f'[model]\npython = "{relative}/model.py:build"\n'
        f'checkpoint = "{relative}/weights.pth"\ninputs = "{relative}/inputs.npz"\n'
    )
    return recipe
