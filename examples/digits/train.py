# SPDX-License-Identifier: Apache-2.0
"""Trains the example networks on scikit-learn's digits and writes what the recipes need.

Run in this folder:  python train.py [SEED | NAME]   (needs torch and scikit-learn, about a minute)
With SEED 0, the default, it writes dscnn.pth, mlp.pth, gru.pth and inputs.npz; with another seed
only dscnn_retrained.pth, a second training of the same network for `bramcast regress`; with the
name of a network, that one.

The split is fixed: every third of the 1,797 images is a test image, every sixth of the others
belongs to the calibration set.
"""

import sys

import numpy as np
import torch
from model import DsCnn, Gru, Mlp
from sklearn.datasets import load_digits
from torch import nn

EPOCHS = 60
BATCH = 32


def load() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images float32 [N, 1, 8, 8], labels int64 [N] and the test mask bool [N]."""
    digits = load_digits()
    images = digits.images.astype(np.float32)[:, None]
    return images, digits.target.astype(np.int64), np.arange(len(images)) % 3 == 0


def train(model: nn.Module, x: torch.Tensor, y: torch.Tensor, seed: int) -> None:
    """Adam with cosine decay; images are shifted by up to one pixel."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=1e-2)
    steps = EPOCHS * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model.train()
    for _ in range(EPOCHS):
        order = torch.randperm(len(x), generator=generator)
        for start in range(0, len(x) - BATCH + 1, BATCH):
            batch = order[start : start + BATCH]
            dy, dx = (int(v) for v in torch.randint(-1, 2, (2,), generator=generator))
            images = torch.roll(x[batch], (dy, dx), (2, 3))
            loss = nn.functional.cross_entropy(model(images), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()


def accuracy(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    with torch.no_grad():
        return float((model(x).argmax(1) == y).float().mean())


def main() -> None:
    networks: dict[str, type[nn.Module]] = {"dscnn": DsCnn, "mlp": Mlp, "gru": Gru}
    what = sys.argv[1] if len(sys.argv) > 1 else "0"
    seed = 0 if what in networks else int(what)
    if what in networks:
        networks = {what: networks[what]}
    elif seed:
        networks = {"dscnn_retrained": DsCnn}
    images, labels, test = load()
    rest = np.flatnonzero(~test)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    for name, make in networks.items():
        torch.manual_seed(seed)
        model = make()
        train(model, x[rest], y[rest], seed)
        torch.save(model.state_dict(), f"{name}.pth")
        print(f"{name}: test accuracy {100 * accuracy(model, x[test], y[test]):.2f} %")
    if what == "0":
        calibration = rest[::6]
        np.savez_compressed(
            "inputs.npz",
            x=images[test].astype(np.uint8),
            y=labels[test].astype(np.uint8),
            x_cal=images[calibration].astype(np.uint8),
        )


if __name__ == "__main__":
    main()
