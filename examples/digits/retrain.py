# SPDX-License-Identifier: Apache-2.0
"""Retrains the example CNN for 4-bit weights and shows what that is worth.

Run it as  python retrain.py [FOLDER]  (needs torch and scikit-learn, less than a minute). FOLDER,
by default build/retrained of the repository, then holds dscnn_4bit.toml and dscnn_4bit.pth.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from train import accuracy, load

from bramcast.golden.frames import arrays_from_beats, frames_of
from bramcast.golden.load import load as load_bundle
from bramcast.pack import qat
from bramcast.pack.pipeline import pack

HERE = Path(__file__).resolve().parent
EPOCHS = 8
BATCH = 32


def retrain(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
    """An ordinary training loop: nothing in it knows of integers."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    steps = EPOCHS * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(EPOCHS):
        order = torch.randperm(len(x), generator=generator)
        for start in range(0, len(x) - BATCH + 1, BATCH):
            batch = order[start : start + BATCH]
            loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parents[1] / "build" / "retrained"
    images, labels, test = load()
    x, y = torch.from_numpy(images), torch.from_numpy(labels)

    model = qat.load(HERE / "dscnn.toml", weight_bits=4)
    print(f"float:                    {100 * accuracy(model.module, x[test], y[test]):.2f} %")
    print(f"4-bit weights:            {100 * accuracy(model, x[test], y[test]):.2f} %")
    retrain(model, x[~test], y[~test])
    print(f"4-bit weights, retrained: {100 * accuracy(model, x[test], y[test]):.2f} %")

    recipe = model.save(folder / "dscnn_4bit.toml")
    bundle = folder / "dscnn_4bit"
    pack(recipe, bundle)
    golden = load_bundle(bundle)
    assert golden.manifest is not None
    beats = golden.run(frames_of(images[test], golden.manifest)).beats
    _, outputs = arrays_from_beats(beats, golden)
    with torch.no_grad():
        equal = int((outputs == model(x[test]).numpy()).sum())
    print(f"golden on the bundle: {equal:,} of {outputs.size:,} outputs equal, bit for bit")
    sys.exit(equal != np.size(outputs))


if __name__ == "__main__":
    main()
