# SPDX-License-Identifier: Apache-2.0
"""Random models as PyTorch allows them: any layer, any movement, batch and time in any axis.

A model is grown operation by operation on a batch of two: what PyTorch refuses, or what grows too
large, is drawn again. So every model runs; what bramcast makes of it is another matter.
"""

import random
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

MOST_ELEMENTS = 1500  # of a tensor
MOST_PARAMETERS = 4000  # of a layer

Step = Callable[..., torch.Tensor]


class RandomModel(nn.Module):
    """``steps[i]`` takes the values with the numbers ``reads[i]``; the input has number 0."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.rng = random.Random(seed)
        torch.manual_seed(seed)
        self.layers = nn.ModuleList()
        self.steps: list[Step] = []
        self.reads: list[tuple[int, ...]] = []
        self.said: list[str] = []  # what each step is
        self.shape = self.rng.choice(SHAPES)
        values = [torch.randn(2, *self.shape)]
        for _ in range(self.rng.randint(3, 9)):
            values.append(self._grown(values))
        self.returned = [len(values) - 1]
        if self.rng.random() < 0.15 and len(values) > 3:
            self.returned.append(self.rng.randrange(1, len(values) - 1))
        self.eval()

    def forward(self, x: torch.Tensor) -> Any:
        values = [x]
        for step, reads in zip(self.steps, self.reads, strict=True):
            values.append(step(*(values[i] for i in reads)))
        results = tuple(values[i] for i in self.returned)
        return results if len(results) > 1 else results[0]

    def layer(self, made: nn.Module) -> nn.Module:
        if sum(p.numel() for p in made.parameters()) > MOST_PARAMETERS:
            raise RuntimeError("too large")
        made.eval()
        if isinstance(made, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(made.running_mean, -0.5, 0.5)
            nn.init.uniform_(made.running_var, 0.5, 2.0)
        self.layers.append(made)
        return made

    def _grown(self, values: list[torch.Tensor]) -> torch.Tensor:
        rng = self.rng
        while True:
            at = len(values) - 1 if rng.random() < 0.8 else rng.randrange(len(values))
            v = values[at]
            same = [i for i, w in enumerate(values) if w.shape == v.shape and i != at]
            kept = len(self.layers)
            try:
                if same and rng.random() < 0.25:
                    name, step = rng.choice(PAIRS)
                    reads: tuple[int, ...] = (at, rng.choice(same))
                elif rng.random() < 0.3:
                    name, step = rng.choice(FUNCTIONS)
                    reads = (at,)
                else:
                    name, draw = rng.choice(DRAWN[v.ndim])
                    step, reads = draw(self, v), (at,)
                with torch.no_grad():
                    made = step(*(values[i] for i in reads))
                small = 0 < made.numel() // len(v) <= MOST_ELEMENTS and made.ndim in (2, 3, 4)
                if small and made.dtype == torch.float32 and made.shape[0] == 2:
                    if made.isfinite().all():
                        self.steps.append(step)
                        self.reads.append(reads)
                        self.said.append(name)
                        return made
            except (RuntimeError, ValueError, IndexError, TypeError):
                pass
            del self.layers[kept:]


SHAPES = [(6,), (20,), (4, 12), (3, 30), (2, 9, 7), (3, 12, 12), (1, 16, 10), (8, 5, 5)]

PAIRS: list[tuple[str, Step]] = [
    ("add", lambda a, b: a + b),
    ("sub", lambda a, b: a - b),
    ("mul", lambda a, b: a * b),
    ("cat", lambda a, b: torch.cat([a, b], 1)),
    ("maximum", torch.maximum),
    ("minimum", torch.minimum),
    ("lerp", lambda a, b: torch.lerp(a, b, 0.25)),
]

FUNCTIONS: list[tuple[str, Step]] = [
    ("relu", torch.relu),
    ("relu6", F.relu6),
    ("sigmoid", torch.sigmoid),
    ("tanh", torch.tanh),
    ("silu", F.silu),
    ("gelu", F.gelu),
    ("hardswish", F.hardswish),
    ("leaky", lambda a: F.leaky_relu(a, 0.1)),
    ("elu", F.elu),
    ("abs", torch.abs),
    ("clamp", lambda a: a.clamp(-0.75, 1.5)),
    ("scale", lambda a: a * 0.7 - 0.2),
    ("square", lambda a: a**2),
    ("sqrt", lambda a: torch.sqrt(a.abs() + 0.5)),
    ("exp", lambda a: torch.exp(-a.abs())),
    ("sine", lambda a: torch.sin(1.5 * a)),
    ("logistic", lambda a: 1 / (1 + torch.exp(-a))),
    ("gated", lambda a: a * (a > 0)),
    ("where", lambda a: torch.where(a > 0.2, a, 0.2 - a)),
    ("sign", torch.sign),
    ("softsign", F.softsign),
    ("dropout", lambda a: F.dropout(a, 0.5, False)),
]


def _pick(model: RandomModel, *values: Any) -> Any:
    return model.rng.choice(values)


def _conv(model: RandomModel, v: torch.Tensor) -> Step:
    dims, c, rng = v.ndim - 2, v.shape[1], model.rng
    groups = rng.choice([1, 1, 1, c, 2])
    out = groups * rng.randint(1, max(1, 12 // groups))
    pad = rng.choice([0, 1, 2])
    mode = rng.choice(["zeros"] * 4 + ["replicate", "reflect", "circular"])
    kind = nn.Conv1d if dims == 1 else nn.Conv2d
    kernel = tuple(rng.randint(1, 4) for _ in range(dims))
    return model.layer(
        kind(c, out, kernel, rng.choice([1, 1, 2]), pad, rng.choice([1, 1, 2]), groups,
             bias=rng.random() < 0.8, padding_mode=mode)
    )  # fmt: skip


def _transposed(model: RandomModel, v: torch.Tensor) -> Step:
    kind = nn.ConvTranspose1d if v.ndim == 3 else nn.ConvTranspose2d
    stride, dilation = _pick(model, 1, 2, 3), _pick(model, 1, 1, 2)
    out, kernel, pad = model.rng.randint(1, 6), model.rng.randint(1, 4), _pick(model, 0, 1)
    return model.layer(kind(v.shape[1], out, kernel, stride, pad, dilation=dilation))


def _pool(model: RandomModel, v: torch.Tensor) -> Step:
    n = v.ndim - 2
    kernel, stride, pad = _pick(model, 2, 3), _pick(model, 1, 2), _pick(model, 0, 1)
    ceil = model.rng.random() < 0.3
    if model.rng.random() < 0.5:
        return model.layer(
            (nn.MaxPool1d if n == 1 else nn.MaxPool2d)(kernel, stride, pad, ceil_mode=ceil)
        )
    count = model.rng.random() < 0.5
    kind = nn.AvgPool1d if n == 1 else nn.AvgPool2d
    return model.layer(kind(kernel, stride, pad, ceil_mode=ceil, count_include_pad=count))


def _adaptive(model: RandomModel, v: torch.Tensor) -> Step:
    size = tuple(model.rng.randint(1, s) for s in v.shape[2:])
    flat = size[0] if v.ndim == 3 else size
    kinds = {3: (nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d),
             4: (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)}  # fmt: skip
    return model.layer(model.rng.choice(kinds[v.ndim])(flat))


def _norm(model: RandomModel, v: torch.Tensor) -> Step:
    return model.layer((nn.BatchNorm2d if v.ndim == 4 else nn.BatchNorm1d)(v.shape[1]))


def _prelu(model: RandomModel, v: torch.Tensor) -> Step:
    return model.layer(nn.PReLU(v.shape[1], 0.2))


def _linear(model: RandomModel, v: torch.Tensor) -> Step:
    return model.layer(nn.Linear(v.shape[-1], model.rng.randint(1, 14)))


def _recurrent(model: RandomModel, v: torch.Tensor) -> Step:
    if v.shape[1] > 12:
        raise RuntimeError("too long")
    kind, first = model.rng.choice([nn.GRU, nn.LSTM, nn.RNN]), model.rng.random() < 0.6
    made = model.layer(kind(v.shape[2], model.rng.randint(1, 8), batch_first=first))
    if first:
        return lambda a: made(a)[0]
    return lambda a: made(a.transpose(0, 1))[0].transpose(0, 1)


def _folded(model: RandomModel, v: torch.Tensor) -> Step:
    """Batch and another axis as one, a layer on that, and back."""
    axis = model.rng.randint(1, v.ndim - 1)
    inner = model.layer(nn.Linear(v.numel() // 2 // v.shape[axis], model.rng.randint(1, 6)))

    def step(a: torch.Tensor) -> torch.Tensor:
        moved = a.movedim(axis, 1)
        return inner(moved.reshape(moved.shape[0] * moved.shape[1], -1)).reshape(
            moved.shape[0], moved.shape[1], -1
        )

    return step


def _index(model: RandomModel, v: torch.Tensor) -> Step:
    axis = model.rng.randint(1, v.ndim - 1)
    chosen = [model.rng.randrange(v.shape[axis]) for _ in range(model.rng.randint(1, 6))]
    return lambda a: a.index_select(axis, torch.tensor(chosen))


def _slice(model: RandomModel, v: torch.Tensor) -> Step:
    axis, step = model.rng.randint(1, v.ndim - 1), _pick(model, 1, 1, 2)
    first = model.rng.randrange(v.shape[axis])
    which = (slice(None),) * axis + (slice(first, None, step),)
    return lambda a: a[which]


def _moved(model: RandomModel, v: torch.Tensor) -> Step:
    order = list(range(1, v.ndim))
    model.rng.shuffle(order)
    return lambda a: a.permute(0, *order)


def _reshaped(model: RandomModel, v: torch.Tensor) -> Step:
    n = v.numel() // 2
    sizes = [d for d in range(1, n + 1) if n % d == 0]
    first = model.rng.choice(sizes)
    rest = [d for d in range(1, n // first + 1) if (n // first) % d == 0]
    second = model.rng.choice(rest)
    shape = _pick(model, (n,), (first, n // first), (first, second, n // first // second))
    return lambda a: a.reshape(a.shape[0], *shape)


def _reduced(model: RandomModel, v: torch.Tensor) -> Step:
    axes = model.rng.sample(range(1, v.ndim), model.rng.randint(1, v.ndim - 1))
    keep = model.rng.random() < 0.5
    if model.rng.random() < 0.4:
        return lambda a: a.amax(axes, keepdim=keep)
    if model.rng.random() < 0.5:
        return lambda a: a.sum(axes, keepdim=keep) * 0.25
    return lambda a: a.mean(axes, keepdim=keep)


def _padded(model: RandomModel, v: torch.Tensor) -> Step:
    sizes = [model.rng.randint(0, 2) for _ in range(2 * (v.ndim - 2))]
    mode = _pick(model, "constant", "constant", "replicate", "reflect", "circular")
    if mode == "constant":
        value = _pick(model, 0.0, 0.5)
        return lambda a: F.pad(a, sizes, value=value)
    return lambda a: F.pad(a, sizes, mode=mode)


def _rolled(model: RandomModel, v: torch.Tensor) -> Step:
    axis, by = model.rng.randint(1, v.ndim - 1), model.rng.randint(1, 3)
    if model.rng.random() < 0.5:
        return lambda a: torch.flip(a, [axis])
    return lambda a: torch.roll(a, by, axis)


def _repeated(model: RandomModel, v: torch.Tensor) -> Step:
    axis = model.rng.randint(1, v.ndim - 1)
    return lambda a: a.repeat_interleave(2, axis)


def _upsampled(model: RandomModel, v: torch.Tensor) -> Step:
    if v.ndim == 4 and model.rng.random() < 0.4:
        return lambda a: F.interpolate(a, scale_factor=2, mode="bilinear", align_corners=False)
    return lambda a: F.interpolate(a, scale_factor=2, mode="nearest")


def _shuffled(model: RandomModel, v: torch.Tensor) -> Step:
    return (lambda a: F.pixel_shuffle(a, 2)) if model.rng.random() < 0.5 else (
        lambda a: F.pixel_unshuffle(a, 2)
    )  # fmt: skip


def _unsqueezed(model: RandomModel, v: torch.Tensor) -> Step:
    axis = model.rng.randint(1, v.ndim)
    return lambda a: a.unsqueeze(axis)


def _excited(model: RandomModel, v: torch.Tensor) -> Step:
    c = v.shape[1]
    small = model.layer(nn.Linear(c, c))
    axes = list(range(2, v.ndim))
    ones = (1,) * len(axes)
    return lambda a: a * torch.sigmoid(small(a.mean(axes))).reshape(a.shape[0], c, *ones)


_MOVES = [("index", _index), ("slice", _slice), ("permute", _moved), ("reshape", _reshaped),
          ("reduce", _reduced), ("roll", _rolled), ("repeat", _repeated)]  # fmt: skip
_WINDOWS = [("conv", _conv)] * 4 + [("transposed", _transposed), ("pool", _pool)]
_WINDOWS += [("adaptive", _adaptive), ("norm", _norm), ("prelu", _prelu), ("pad", _padded)]
_WINDOWS += [("upsample", _upsampled), ("excite", _excited), ("folded", _folded)]
DRAWN: dict[int, list[tuple[str, Callable[[RandomModel, torch.Tensor], Step]]]] = {
    2: [("linear", _linear)] * 4
    + [("norm", _norm), ("unsqueeze", _unsqueezed), ("reshape", _reshaped)],
    3: [*_WINDOWS, *_MOVES, ("recurrent", _recurrent), ("recurrent", _recurrent),
        ("linear", _linear), ("unsqueeze", _unsqueezed)],
    4: [*_WINDOWS, *_MOVES, ("shuffle", _shuffled), ("linear", _linear)],
}  # fmt: skip
