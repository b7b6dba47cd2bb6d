"""Golden's result words as the layers' arrays that the network's author knows."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bramcast.golden.machine import Machine, Results
from bramcast.pack.descriptor import Nest
from bramcast.pack.manifest import Format, LayerInfo


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
    lanes = machine.core.lanes
    by_layer: dict[int, NDArray[np.int64]] = {}
    for nest_result in results.nests:
        nest = machine.program[nest_result.descriptor]
        info = manifest.nests[nest_result.descriptor - 1]
        assert isinstance(nest, Nest)
        layer = manifest.layers[info.layer]
        height, width, channels = layer.shape
        words = nest_result.words
        samples, groups = len(words), nest.counts[0]
        lanewise = words.reshape(samples, groups, height, width, lanes)
        values = lanewise.transpose(0, 1, 4, 2, 3).reshape(samples, groups * lanes, height, width)
        channel = np.array(info.channels, np.int64)
        valid = channel >= 0
        whole = by_layer.setdefault(
            info.layer, np.zeros((samples, channels, height, width), np.int64)
        )
        whole[:, channel[valid]] = _numbers(values[:, valid], layer.format, nest)
    for index in sorted(by_layer):
        yield LayerResult(manifest.layers[index], by_layer[index])


def _numbers(bits: NDArray[np.integer], fmt: Format, nest: Nest) -> NDArray[np.int64]:
    """Bits in the scratchpad as the signed numbers that they stand for; beats are numbers."""
    values = bits.astype(np.int64)
    if nest.stream or not fmt.signed:
        return values
    return values - ((values >> (fmt.bits - 1)) << fmt.bits)
