# SPDX-License-Identifier: Apache-2.0
"""Where the core's memories lie in a device: which primitives they take and how full those are.

The core's memories are simple dual-port RAMs (``hw/bramcast_memory.sv``: one write port, one read
port of the same width, whole words only), so every shape of a block RAM is legal for them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.bundle.manifest import IMAGES, Core, Manifest
from bramcast.pack.bundle.program import Input, Nest
from bramcast.pack.device.devices import FAMILIES, Family, Part
from bramcast.pack.device.primitive_mix import Mix, best_mix, lut_mix


@dataclass(frozen=True, slots=True)
class Memory:
    """A memory of the core: ``copies`` RAMs of ``depth`` words of ``width`` bits.

    ``net``: bits of all copies that mean something. ``block`` False: a small RAM with a read port
    that takes no clock edge, for LUTs only.
    """

    name: str
    width: int
    depth: int
    copies: int
    net: int
    block: bool = True

    @property
    def bits(self) -> int:
        """Of all copies."""
        return self.width * self.depth * self.copies


@dataclass(frozen=True, slots=True)
class Waste:
    """Bits of the primitives that hold nothing of the network. Together with its own: all of them.

    Attributes:
        lanes: of weight words whose nest has fewer channels than lanes.
        other: of weight words besides: constants, zeros in the fan-in, copies of weights. Of other
            images: none.
        spare: words that the core has and the network does not need.
        width: parity bits and columns that the chosen shapes leave over.
        depth: words that the chosen shapes leave over.
    """

    lanes: int
    other: int
    spare: int
    width: int
    depth: int

    def why(self, bits: int, most: int = 3) -> str:
        """The ``most`` largest parts, in percent of ``bits``; none below 0.1 %.

        >>> Waste(0, 40, 0, 130, 7).why(1000)
        'width 13.0 %, other 4.0 %, depth 0.7 %'
        """
        parts = [(name, getattr(self, name)) for name in self.__slots__]
        parts.sort(key=lambda part: -part[1])
        shares = [f"{name} {100 * n / bits:.1f} %" for name, n in parts if 1000 * n >= bits]
        return ", ".join(shares[:most]) or "none"


@dataclass(frozen=True, slots=True)
class Placed:
    """A memory and the mix of primitives for one of its copies; None if it is in registers."""

    memory: Memory
    mix: Mix | None
    waste: Waste

    @property
    def units(self) -> int:
        return self.mix.units * self.memory.copies if self.mix else 0

    @property
    def luts(self) -> int:
        """LUTs that serve as memory."""
        return self.mix.luts * self.memory.copies if self.mix else 0

    @property
    def mux_luts(self) -> int:
        return self.mix.mux_luts * self.memory.copies if self.mix else 0

    @property
    def bits(self) -> int:
        """Of all primitives that hold it."""
        return self.mix.bits * self.memory.copies if self.mix else 0

    @property
    def fill(self) -> float | None:
        """Bits that mean something / bits of the primitives."""
        return self.memory.net / self.bits if self.bits else None


@dataclass(frozen=True, slots=True)
class DeviceFit:
    """All memories of a core in a part."""

    part: Part
    memories: tuple[Placed, ...]

    @property
    def units(self) -> int:
        """Block RAMs, in what the part's count counts. AMD: half a RAMB36 left over counts too."""
        return sum(placed.units for placed in self.memories)

    @property
    def fits(self) -> bool | None:
        """None where the part's count is not known."""
        return None if self.part.count is None else self.units <= self.part.count

    def of(self, name: str) -> Placed:
        return next(placed for placed in self.memories if placed.memory.name == name)


# --- what the network needs --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WeightUse:
    """Bits of the weight image: the network's weights, and what lanes without a channel hold."""

    net: int
    lanes: int
    used: int


def weight_use(manifest: Manifest, program: Sequence[Input | Nest]) -> WeightUse:
    """How much of the weight image is weights of the network.

    The weights of a layer are its multiply-adds per output pixel; layers that read the same words,
    as time steps do, are counted once, and all together are no more than the network's parameters.

    Args:
        program: without LOOPs, as ``Machine.program``.
    """
    core = manifest.core
    size = core.word
    filled = np.zeros(manifest.image("weights").used, np.int64)  # lanes with a channel, by word
    words_of: dict[int, NDArray[np.int64]] = {}  # of each layer
    narrow: dict[int, int] = {}
    nests = [d for d in program if isinstance(d, Nest)]
    done: dict[tuple[int, ...], NDArray[np.int64]] = {}
    for nest, info in zip(nests, manifest.nests, strict=True):
        if nest.max or nest.product:
            continue
        key = (nest.weight_base, *nest.counts, *nest.weight_steps, nest.narrow)
        if key not in done:
            done[key] = _fill_words(nest, np.array(info.channels), core, filled)
        narrow[info.layer] = nest.narrow
        words_of[info.layer] = np.union1d(words_of.get(info.layer, done[key][:0]), done[key])
    covered = np.zeros(len(filled), np.bool_)
    weights = bits = 0
    for index in sorted(words_of, key=lambda i: -words_of[i].size):
        layer, words = manifest.layers[index], words_of[index]
        if layer.macs and not covered[words].all():
            covered[words] = True
            mine = layer.macs // (layer.shape[0] * layer.shape[1])
            weights += mine
            bits += mine * (core.weight_bits >> narrow[index])
    if weights > manifest.parameters:
        bits = bits * manifest.parameters // weights
    empty = int((size - filled).sum()) * core.weight_bits
    return WeightUse(bits, empty, len(filled) * size * core.weight_bits)


def _fill_words(
    nest: Nest, channels: NDArray[np.int64], core: Core, filled: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The words that a nest reads; notes in ``filled`` how many of their lanes have a channel."""
    valid = (channels >= 0).reshape(-1, core.group(nest.lanewise)).sum(axis=1)
    times = 1 if nest.lanewise else core.taps
    steps = np.zeros(1, np.int64)
    for count, step in zip(nest.counts[1:], nest.weight_steps[1:], strict=True):
        if step:
            steps = np.unique(np.add.outer(steps, np.arange(count) * step))
    words = []
    for g in range(nest.counts[0]):
        mine = np.unique((nest.weight_base + g * nest.weight_steps[0] + steps) >> nest.narrow)
        filled[mine] = np.maximum(filled[mine], valid[g] * times)
        words.append(mine)
    return np.unique(np.concatenate(words))


def core_memories(
    core: Core, manifest: Manifest | None = None, weights: WeightUse | None = None, frames: int = 0
) -> tuple[Memory, ...]:
    """The RAMs of a core with a frame FIFO of ``frames`` units, as ``hw/`` has them.

    Without a manifest every word counts as needed.
    """

    def used(image: str) -> int:
        return manifest.image(image).used if manifest is not None else core.depth(image)

    net = weights.net if weights else core.word_bits("weights") * core.weights_depth
    sub = core.lanes * core.data_bits
    scratch = manifest.scratch_words if manifest is not None else core.scratch_depth
    found = [
        Memory("program", 32, core.program_depth, 1, 32 * used("program")),
        Memory("weights", core.word_bits("weights"), core.weights_depth, 1, net),
        Memory("bias", 36 * core.rq, core.bias_depth, 1, 36 * core.rq * used("bias")),
    ]
    if core.table_depth:
        # Each of the RQ lanes that are requantized side by side, in every tile, looks its value up
        # for itself.
        copies = core.rq * core.tiles
        found.append(
            Memory("table", 8, core.table_depth, copies, 8 * copies * _used_table(manifest, core))
        )
    rams = core.taps * core.tiles  # every tile has a bank
    found.append(Memory("scratchpad", sub, core.scratch_depth, rams, sub * rams * scratch))
    unit = max(core.lanes, core.taps)
    if frames:
        entry = unit * core.data_bits + 2
        found.append(Memory("frame FIFO", entry, frames, 1, entry * frames))
    chunks = core.word // core.rq
    depth = 2 * chunks if chunks > 8 else 16
    lane = max(1, (core.rq - 1).bit_length())
    entry = core.rq * 32 + lane + 2
    found.append(Memory("output FIFO", entry, depth, 1, entry * depth, block=False))
    scratch_bits = _address_bits(core.scratch_depth)
    jumps = (
        scratch_bits + (core.word - 1).bit_length(),
        _address_bits(core.weights_depth) + (2 if core.narrow else 0),
        scratch_bits + (core.taps - 1).bit_length(),
    )
    found += [
        Memory(f"{name} jumps", bits, 16, 1, bits * 16, block=False)
        for name, bits in zip(("activation", "weight", "result"), jumps, strict=True)
    ]
    return tuple(found)


def _used_table(manifest: Manifest | None, core: Core) -> int:
    if manifest is None:
        return core.table_depth
    return next((i.used for i in manifest.images if i.name == "table"), 0)


def _address_bits(depth: int) -> int:
    return max(1, (depth - 1).bit_length())


MEMORIES = {
    "program": "program", "weights": "weights", "bias": "bias", "table": "table",
    "scratch": "scratchpad",
}  # fmt: skip


def free_depth(core: Core, name: str) -> int:
    """Words that one of the core's ``MEMORIES`` can have for free: same primitives and address.

    That is so in AMD's 7-series, UltraScale and UltraScale+, whose block RAMs have the same shapes;
    a smaller RAM of another family may take one more.
    """
    memory = next((m for m in core_memories(core) if m.name == MEMORIES[name]), None)
    if memory is None:  # no tables
        return 0
    step = {"program": 32, "table": 256}.get(name, 1)
    family = FAMILIES["7series"]

    def cost(depth: int) -> tuple[int, int, int]:
        mix = best_mix(family, memory.width, depth)
        return mix.units, mix.luts, mix.mux_luts

    most = cost(memory.depth)
    found = memory.depth
    limit = 1 << (found - 1).bit_length()
    rows = max(step, 32 if found < 1024 else 512)
    while found < limit:
        words = min((found // rows + 1) * rows, limit)
        if any(a > b for a, b in zip(cost(words), most, strict=True)):
            break
        found = words
    return found


# --- where it lies -----------------------------------------------------------------------------


def _placed(
    part: Part,
    images: Family,
    memory: Memory,
    weights: WeightUse | None,
    behind: int | None,
) -> Placed:
    if not memory.block:
        if part.family.lut_ram is None:
            return Placed(memory, None, Waste(0, 0, 0, 0, 0))
        mix = lut_mix(part.family, memory.width, memory.depth)
    else:
        family = images if memory.name in IMAGES else part.family
        mix = best_mix(family, memory.width, memory.depth, behind)
    lanes = other = 0
    if memory.name == "weights" and weights is not None:
        lanes = weights.lanes
        other = weights.used - weights.net - lanes
    n = memory.copies
    spare = memory.bits - memory.net - lanes - other
    waste = Waste(lanes, other, spare, (mix.parity + mix.columns) * n, mix.rows * n)
    return Placed(memory, mix, waste)


def place_memories(
    part: Part,
    images: Family,
    memories: Sequence[Memory],
    weights: WeightUse | None = None,
    behind: int | None = None,
) -> DeviceFit:
    """The best legal mix for every memory.

    Args:
        images: for the image memories: the part's family, or what ``plain_family`` leaves of it.
        behind: as in ``best_mix``.
    """
    placed = (_placed(part, images, memory, weights, behind) for memory in memories)
    return DeviceFit(part, tuple(placed))


def place_bundle(
    manifest: Manifest,
    program: Sequence[Input | Nest],
    part: Part,
    images: Family,
    behind: int | None = None,
    frames: int = 0,
) -> DeviceFit:
    """``place_memories`` for the core of a bundle; the rest as there and in ``core_memories``."""
    use = weight_use(manifest, program)
    memories = core_memories(manifest.core, manifest, use, frames)
    return place_memories(part, images, memories, use, behind)
