# SPDX-License-Identifier: Apache-2.0
"""Golden's result words as the layers' arrays that the network's author knows."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bramcast.golden.groups import Groups, layer_parts
from bramcast.golden.machine import Machine, Results
from bramcast.pack.bundle.manifest import Format, LayerInfo
from bramcast.pack.bundle.program import Nest


@dataclass(frozen=True, slots=True, eq=False)
class LayerResult:
    """One layer's integers.

    Attributes:
        values: int64 [samples, channels, y, x] in the layer's output format.
    """

    layer: LayerInfo
    values: NDArray[np.int64]


def layer_results(machine: Machine, results: Results) -> Iterator[LayerResult]:
    """Collect the nests of each layer; needs ``Machine.run(..., keep_layers=True)``."""
    manifest = machine.manifest
    assert manifest is not None and results.nests, "run with a manifest and keep_layers"
    by_layer: dict[int, NDArray[np.int64]] = {}
    for result in results.nests:
        nest = machine.program[result.descriptor]
        info = manifest.nests[result.descriptor - 1]
        assert isinstance(nest, Nest)
        layer = manifest.layers[info.layer]
        height, width, channels = layer.shape
        values = _by_channel(result.words, nest, Groups.of(nest, machine.core))
        whole = by_layer.setdefault(
            info.layer, np.zeros((len(values), channels, height, width), np.int64)
        )
        for part in layer_parts(nest, info, layer.shape, machine.core.tiles):
            mine = values[:, part.lanes, : part.rows, : part.columns]
            whole[:, part.channels, part.y, part.x] = _numbers(mine, layer.format, nest)
    for index in sorted(by_layer):
        yield LayerResult(manifest.layers[index], by_layer[index])


def _by_channel(words: NDArray[np.int32], nest: Nest, groups: Groups) -> NDArray[np.int32]:
    """Rows [samples, rows, LANES] as [samples, groups * width, oy, ox]."""
    samples = len(words)
    split = (groups.count - 1) * groups.pixels * groups.subs
    parts = []
    for rows, count, subs in (
        (words[:, :split], groups.count - 1, groups.subs),
        (words[:, split:], 1, groups.last_subs),
    ):
        grouped = rows.reshape(samples, count, groups.pixels, subs * groups.lanes)
        moved = np.zeros((samples, count, groups.width, groups.pixels), np.int32)
        moved[:, :, : subs * groups.lanes] = grouped.swapaxes(2, 3)
        parts.append(moved)
    return np.concatenate(parts, axis=1).reshape(
        samples, groups.count * groups.width, -1, nest.counts[2]
    )


def _numbers(bits: NDArray[np.integer], fmt: Format, nest: Nest) -> NDArray[np.int64]:
    """Bits in the scratchpad as the signed numbers that they stand for; beats are numbers."""
    values = bits.astype(np.int64)
    if nest.stream or not fmt.signed:
        return values
    return values - ((values >> (fmt.bits - 1)) << fmt.bits)
