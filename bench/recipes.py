# SPDX-License-Identifier: Apache-2.0
"""The networks that benches measure when they are given none."""

import itertools
import os
from pathlib import Path

import numpy as np
import torch

from bramcast.pack.read.model_file import load_module

ROOT = Path(__file__).resolve().parents[1]
MODELS = Path(os.environ.get("BRAMCAST_MODELS", ROOT.parent / "shared" / "models"))
DIGITS = ROOT / "examples" / "digits"
MLP = (96, 96, 64, 12)  # features and outputs of the named network's layers
SAMPLES = 1024


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


def mlp_recipe(folder: Path) -> Path:
    """The named MLP with random weights and inputs."""
    pairs = itertools.pairwise(MLP)
    source = ", ReLU(), ".join(f"Linear({inputs}, {outputs})" for inputs, outputs in pairs)
    (folder / "mlp.py").write_text(
        f"from torch.nn import *\n\n\ndef build():\n    return Sequential({source})\n"
    )
    torch.manual_seed(0)
    torch.save(load_module("mlp.py:build", folder).state_dict(), folder / "mlp.pth")
    np.savez(folder / "mlp.npz", x=torch.randn(SAMPLES, MLP[0]).numpy())
    recipe = folder / f"mlp_{'_'.join(map(str, MLP))}.toml"
    recipe.write_text(
        '[model]\npython = "mlp.py:build"\ncheckpoint = "mlp.pth"\ninputs = "mlp.npz"\n'
    )
    return recipe
