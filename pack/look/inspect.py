# SPDX-License-Identifier: Apache-2.0
"""What is in a network's file: ranges, statistics, formats that fit, damage.

Statistics are of the finite values; NaN and infinite ones are counted and named. Formats are those
that ``pack`` would choose for weights: by least squared error, per tensor and per output channel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.graph.tensor import FloatArray
from bramcast.pack.quantize.formats import best_fraction
from bramcast.pack.quantize.integers import weight_fraction
from bramcast.pack.read.tensors import StoredTensor, Tensors, chosen, read_tensors
from bramcast.pack.recipe.recipe import Recipe

BINS = 64  # of a histogram, at most
WIDTHS = (2, 4, 8, 16)
TINIEST = 2.0**-900  # float64 can't scale by the LSB of a format for less, or for 1 / TINIEST


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of the finite values in equal bins from ``low`` to ``high``."""

    low: float
    high: float
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ValueStatistics:
    """Of a tensor's finite values; ``smallest`` is the least magnitude that is not zero (or 0).

    ``std`` is that of the values themselves (divided by N, not N - 1).
    """

    low: float
    high: float
    smallest: float
    mean: float
    std: float


@dataclass(frozen=True, slots=True)
class Proposal:
    """The fixed-point format for a tensor and what it loses; counts of values.

    Attributes:
        channels: lowest and highest fraction length that the output channels would get, None
            for tensors without channels (biases, statistics).
        underflow: values that are not zero and become zero.
        saturated: values beyond the format's ends by more than rounding.
    """

    fmt: QFormat
    channels: tuple[int, int] | None
    underflow: int
    saturated: int


@dataclass(frozen=True, slots=True)
class Half:
    """What float16 does to a tensor; counts of values that were finite and not zero."""

    zero: int
    subnormal: int
    infinite: int


@dataclass(frozen=True, slots=True)
class TensorReport:
    """One tensor; ``statistics`` and what follows are None where it has no finite values."""

    name: str
    layer: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    count: int
    zeros: int
    nan: int
    infinite: int
    made_of: tuple[str, ...]
    problem: str
    statistics: ValueStatistics | None
    proposal: Proposal | None
    half: Half | None
    histogram: Histogram | None

    @property
    def sparsity(self) -> float:
        """Share of zeros."""
        return self.zeros / self.count if self.count else 0.0

    @property
    def flags(self) -> tuple[str, ...]:
        """What is wrong with it."""
        found = [self.problem] if self.problem else []
        found += [f"{self.nan:,} NaN"] if self.nan else []
        found += [f"{self.infinite:,} infinite"] if self.infinite else []
        if self.name.endswith("running_var") and self.statistics and self.statistics.low < 0:
            found.append("a negative variance")
        return tuple(found)


@dataclass(frozen=True, slots=True)
class TiedGroup:
    """Tensors with the same bits; ``shared`` if they also lie in the same memory."""

    names: tuple[str, ...]
    shared: bool


@dataclass(frozen=True, slots=True)
class Inspection:
    """All that ``inspect`` finds. Totals count tied tensors that share memory once."""

    path: Path
    tensors: tuple[TensorReport, ...]
    tied: tuple[TiedGroup, ...]
    notes: tuple[str, ...]
    parameters: int
    buffers: int
    bytes: int

    @property
    def drawable(self) -> tuple[TensorReport, ...]:
        """Tensors of which a histogram says something: those of more than one finite value."""
        return tuple(t for t in self.tensors if t.histogram and sum(t.histogram.counts) > 1)

    @property
    def damaged(self) -> tuple[TensorReport, ...]:
        """Tensors that can't be packed as they are."""
        return tuple(t for t in self.tensors if t.flags)


def inspect(
    path: Path | Tensors,
    filters: Sequence[str] = (),
    bits: int = 8,
    state: str | None = None,
    recipe: Recipe | None = None,
    model: str | None = None,
) -> Inspection:
    """Read a file and describe its tensors, damaged ones too.

    Args:
        path: checkpoint, .safetensors, .onnx, .pt2 or a recipe; or what has been read already.
        filters: names, globs or /regular expressions/; a tensor is shown that fits any.
        bits: width of the proposed formats.
        state, recipe, model: see ``read_tensors``.

    Raises:
        UserError: the file can't be read, or nothing fits a filter.
    """
    if bits not in WIDTHS:
        raise InputError(f"--bits {bits}: formats have {', '.join(map(str, WIDTHS))} bits")
    read = path if isinstance(path, Tensors) else read_tensors(path, state, recipe, model)
    names = set(chosen([t.name for t in read.tensors], filters, read.path))
    tensors = [t for t in read.tensors if t.name in names]
    once = list({t.storage if t.storage >= 0 else t.name: t for t in tensors}.values())
    return Inspection(
        path=read.path,
        tensors=tuple(describe(t, bits) for t in tensors),
        tied=_tied(tensors),
        notes=read.notes,
        parameters=sum(_count(t) for t in once if t.kind == "parameter"),
        buffers=sum(_count(t) for t in once if t.kind != "parameter"),
        bytes=sum(t.bytes for t in once),
    )


def _count(tensor: StoredTensor) -> int:
    return int(np.prod(tensor.shape, dtype=np.int64))


def describe(tensor: StoredTensor, bits: int = 8) -> TensorReport:
    """The report on one tensor."""
    values = np.asarray(tensor.values).ravel()
    floats = values.dtype.kind == "f"
    finite = np.isfinite(values) if floats else np.ones(values.size, bool)
    real = values[finite].astype(np.float64)
    weights = floats and real.size > 0
    return TensorReport(
        name=tensor.name,
        layer=tensor.layer,
        kind=tensor.kind,
        shape=tensor.shape,
        dtype=tensor.dtype,
        bytes=tensor.bytes,
        count=_count(tensor),
        zeros=int((real == 0).sum()),
        nan=int(np.isnan(values).sum()) if floats else 0,
        infinite=int(np.isinf(values).sum()) if floats else 0,
        made_of=tensor.made_of,
        problem=tensor.problem,
        statistics=_statistics(real) if real.size else None,
        proposal=_proposal(tensor, real, bits) if weights else None,
        half=_half(real) if weights else None,
        histogram=_histogram(real) if real.size else None,
    )


def _statistics(real: FloatArray) -> ValueStatistics:
    magnitudes = np.abs(real)
    smallest = float(np.min(magnitudes, where=magnitudes > 0, initial=np.inf))
    top = float(magnitudes.max()) or 1.0  # squares of the largest float64 values overflow
    scaled = real / top
    return ValueStatistics(
        low=float(real.min()),
        high=float(real.max()),
        smallest=smallest if smallest < np.inf else 0.0,
        mean=float(scaled.mean()) * top,
        std=float(scaled.std()) * top,
    )


def _proposal(tensor: StoredTensor, real: FloatArray, bits: int) -> Proposal | None:
    largest = float(np.abs(real).max())
    if largest > 1 / TINIEST or 0 < largest < TINIEST:
        return None
    fmt = QFormat(bits, best_fraction([real], bits, True))
    integers = fmt.quantize(real)
    nearest = np.floor(real * 2.0**fmt.frac + 0.5)
    channels = None
    if len(tensor.shape) > 1:
        rows = np.asarray(tensor.values, np.float64).reshape(tensor.shape[0], -1)
        rows = rows[np.isfinite(rows).all(axis=1) & (np.abs(rows) > TINIEST).any(axis=1)]
        if len(rows):
            fractions = [weight_fraction(row, QFormat(bits, 0)) for row in rows]
            channels = (min(fractions), max(fractions))
    return Proposal(
        fmt=fmt,
        channels=channels,
        underflow=int(((integers == 0) & (real != 0)).sum()),
        saturated=int((nearest != integers).sum()),
    )


def _half(real: FloatArray) -> Half:
    with np.errstate(over="ignore", under="ignore"):
        half = np.abs(real.astype(np.float16))
    tiny = np.finfo(np.float16).tiny  # the least normal number, 2**-14
    return Half(
        zero=int(((half == 0) & (real != 0)).sum()),
        subnormal=int(((half > 0) & (half < tiny)).sum()),
        infinite=int(np.isinf(half).sum()),
    )


def _histogram(real: FloatArray) -> Histogram:
    low, high = float(real.min()), float(real.max())
    if low == high:  # one bin of any width around the only value
        return Histogram(low, high, (real.size,))
    top = max(abs(low), abs(high))  # a span beyond float64 would be infinite
    bins = max(8, min(BINS, int(2 * real.size**0.5)))
    counts, _ = np.histogram(real / top, bins=bins, range=(low / top, high / top))
    return Histogram(low, high, tuple(int(c) for c in counts))


def _tied(tensors: Sequence[StoredTensor]) -> tuple[TiedGroup, ...]:
    """Groups of tensors that are the same bit for bit.

    Constant tensors (fresh biases, counters) are alike without being tied, unless they share
    their memory.
    """
    groups: dict[Any, list[StoredTensor]] = {}
    for tensor in tensors:
        values: NDArray[Any] = np.ascontiguousarray(tensor.values)
        if tensor.problem or not values.size:
            continue
        constant = bool((values == values.flat[0]).all())
        if constant and tensor.storage < 0:
            continue
        bits = values.tobytes()
        key = (tensor.shape, values.dtype.str, bits, tensor.storage if constant else -1)
        groups.setdefault(key, []).append(tensor)
    return tuple(
        TiedGroup(
            tuple(t.name for t in group),
            len({t.storage for t in group}) == 1 and group[0].storage >= 0,
        )
        for group in groups.values()
        if len(group) > 1
    )
