# SPDX-License-Identifier: Apache-2.0
"""Small networks with several outputs, and with several inputs.

Each class is a recipe's ``python`` entry; ``SHAPES`` gives the shape of one sample, ``NAMES`` what
the outputs are called, ``INPUTS`` names, shapes and sizes of several inputs.
"""

import os
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class Heads(nn.Module):
    """Two linear heads on one hidden layer."""

    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(20, 16)
        self.kind = nn.Linear(16, 4)
        self.place = nn.Linear(16, 2)

    def forward(self, x):
        h = F.relu(self.hidden(x))
        return self.kind(h), self.place(h)


class Detector(nn.Module):
    """Heads on two scales, one of them with a softmax, in a dictionary with a tuple inside."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, stride=2, padding=1)
        self.down = nn.Conv2d(12, 20, 3, stride=2, padding=1)
        self.fine, self.coarse = nn.Conv2d(12, 6, 1), nn.Conv2d(20, 6, 3, padding=1)
        self.kind = nn.Linear(20, 5)

    def forward(self, x):
        fine = F.relu(self.stem(x))
        coarse = F.relu(self.down(fine))
        kind = F.softmax(self.kind(coarse.mean((2, 3))), dim=1)
        boxes = self.fine(fine), self.coarse(coarse).flatten(2).transpose(1, 2)
        return {"boxes": boxes, "kind": kind}


class Anchors(nn.Module):
    """Two heads as detectors have them: anchors, rows, columns, numbers of a box."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 10, 3, stride=2, padding=1)
        self.fine, self.coarse = nn.Conv2d(10, 10, 1), nn.Conv2d(10, 15, 3, stride=2, padding=1)

    def forward(self, x):
        x = F.relu(self.stem(x))
        heads = (self.fine(x), 2), (self.coarse(x), 3)
        return tuple(y.view(-1, n, 5, *y.shape[2:]).permute(0, 1, 3, 4, 2) for y, n in heads)


class HeadFirst(nn.Module):
    """The head, then the feature that it reads, then the hidden picture before that."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 10, 3, padding=1)
        self.embed = nn.Linear(10, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        picture = F.relu(self.conv(x))
        feature = torch.tanh(self.embed(picture.amax((2, 3))))
        return self.head(feature), feature, picture


class StatesToo(nn.Module):
    """All steps of a GRU, its last state, and the input once more."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(4, 6, batch_first=True)

    def forward(self, x):
        steps, state = self.gru(x)
        return steps, state[0], x


class Twice(nn.Module):
    """One tensor as two outputs, the second of them behind a log_softmax."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(7, 5)

    def forward(self, x):
        y = self.fc(x)
        return [y, F.log_softmax(y, 1)]


class Moved(nn.Module):
    """Orders that no nest writes: two pictures rolled, a head between, and pixels twice or zero."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(2, 5, 3, padding=1), nn.Conv2d(5, 3, 1)

    def forward(self, x):
        y = F.relu(self.conv(x))
        twice = torch.cat([y, F.pad(y.flip(2)[:, :2], (1, -1))], 1)
        return torch.roll(torch.cat([y, x], 1), 1, 3), self.head(y), twice


class Sensors(nn.Module):
    """Two sensors, one of them with far larger numbers, added up."""

    def __init__(self):
        super().__init__()
        self.a, self.p = nn.Linear(20, 16), nn.Linear(16, 4)

    def forward(self, x, z):
        return self.p(F.relu(self.a(x + z)))


class PictureAndVector(nn.Module):
    """A picture through convolutions, a vector through a Linear, side by side; two outputs."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3, stride=2, padding=1)
        self.more = nn.Conv2d(12, 16, 3, padding=1)
        self.vector = nn.Linear(7, 10)
        self.kind, self.place = nn.Linear(26, 4), nn.Linear(26, 2)

    def forward(self, state, image):
        picture = F.relu(self.more(F.relu(self.conv(image)))).mean((2, 3))
        both = torch.cat([picture, F.relu(self.vector(state))], 1)
        return {"kind": self.kind(both), "place": self.place(both)}


class Stereo(nn.Module):
    """Two pictures as channels of one, and a third one read by a pooling and a function."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.last = nn.Conv2d(8 + 2, 4, 1)

    def forward(self, left, right, mask):
        both = F.relu(self.conv(torch.cat([left, right], 1)))
        return self.last(
            torch.cat([F.max_pool2d(both, 2), torch.sigmoid(F.avg_pool2d(mask, 2))], 1)
        )


INPUTS = {
    "Sensors": [("x", (20,), 1.0), ("z", (20,), 40.0)],
    "PictureAndVector": [("state", (7,), 100.0), ("image", (3, 8, 10), 1.0)],
    "Stereo": [("left", (1, 8, 6), 1.0), ("right", (2, 8, 6), 9.0), ("mask", (2, 8, 6), 30.0)],
}  # fmt: skip
SHAPES = {
    "Heads": (20,), "Detector": (3, 12, 10), "HeadFirst": (2, 5, 6), "StatesToo": (5, 4),
    "Twice": (7,), "Anchors": (3, 8, 12), "Moved": (2, 4, 6),
}  # fmt: skip
NAMES = {
    "Heads": ["output0", "output1"], "Detector": ["boxes.0", "boxes.1", "kind"],
    "HeadFirst": ["output0", "output1", "output2"], "StatesToo": ["output0", "output1", "output2"],
    "Twice": ["output0", "output1"], "Anchors": ["output0", "output1"],
    "Moved": ["output0", "output1", "output2"],
}  # fmt: skip


def build(name, seed=0):
    """A network with random weights, in eval mode."""
    torch.manual_seed(seed)
    module = globals()[name]().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.5)
    return module


def samples_of(name, count, seed=0):
    """Random samples of several inputs, an array for each, by their names."""
    rng = np.random.default_rng(seed)
    return {
        of: (size * rng.normal(size=(count, *shape))).astype(np.float32)
        for of, shape, size in INPUTS[name]
    }


def answers(name, x, seed=0):
    """What PyTorch says to samples, an array for each output."""
    with torch.no_grad():
        arrays = x.values() if isinstance(x, dict) else [x]
        answer = build(name, seed)(*(torch.from_numpy(array) for array in arrays))
    return [leaf.numpy() for leaf in torch.utils._pytree.tree_leaves(answer)]


def write_recipe(folder: Path, name: str, extra: str = "", samples: int = 40, **arrays) -> Path:
    """A recipe for one of these networks, with random weights and samples; ``arrays`` are more of
    the .npz file."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(build(name).state_dict(), folder / "weights.pth")
    if name in INPUTS:
        given = samples_of(name, samples)
    else:
        x = np.random.default_rng(0).normal(size=(samples, *SHAPES[name]))
        given = {"x": x.astype(np.float32)}
    np.savez(folder / "inputs.npz", **given, **arrays)
    recipe = folder / "recipe.toml"
    recipe.write_text(
        f'[model]\nname = "{name}"\npython = "{os.path.relpath(__file__, folder)}:{name}"\n'
        f'checkpoint = "weights.pth"\ninputs = "inputs.npz"\n{extra}'
    )
    return recipe
