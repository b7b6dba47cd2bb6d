# SPDX-License-Identifier: Apache-2.0
"""Published architectures as their papers describe them, in a few lines each: narrow, on few
pixels, with random weights. They say which networks are accepted, not how well these do."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from architectures import audio, biosignals, decoders, detectors, recurrent, vision

FIELDS = {
    "detectors": detectors.ARCHITECTURES,
    "recurrent": recurrent.ARCHITECTURES,
    "decoders": decoders.ARCHITECTURES,
    "audio": audio.ARCHITECTURES,
    "biosignals": biosignals.ARCHITECTURES,
    "vision": vision.ARCHITECTURES,
}
SHAPES = {name: shape for field in FIELDS.values() for name, (_, shape) in field.items()}


def build(name: str) -> nn.Module:
    """One of them in eval mode, with random weights and statistics."""
    torch.manual_seed(0)
    make = next(field[name][0] for field in FIELDS.values() if name in field)
    module: nn.Module = make()
    for layer in module.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            layer.running_mean.uniform_(-0.3, 0.3)
            layer.running_var.uniform_(0.5, 1.5)
    return module.eval()


def write_recipe(folder: Path, name: str, extra: str = "", samples: int = 6) -> Path:
    """A recipe for one of them, with its weights and random samples."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(build(name).state_dict(), folder / "weights.pth")
    shape = SHAPES[name]
    x = np.random.default_rng(0).normal(size=(samples, *shape)).astype(np.float32)
    np.savez(folder / "inputs.npz", x=x)
    place = Path(__file__).parents[1]
    (folder / "model.py").write_text(
        f"import sys\nsys.path.append({str(place)!r})\nimport architectures\n\n\n"
        f"def build():\n    return architectures.build({name!r})\n"
    )
    (folder / "recipe.toml").write_text(
        f'[model]\nname = "net"\npython = "model.py:build"\ncheckpoint = "weights.pth"\n'
        f'inputs = "inputs.npz"\n{extra}'
    )
    return folder / "recipe.toml"
