# SPDX-License-Identifier: Apache-2.0
"""A frame, and what golden says of it, as the .mem files that a written test bench reads."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from bramcast.golden.beats import beats_of, keep_of
from bramcast.golden.frames import class_of, in_packets, output_packets
from bramcast.golden.groups import Groups
from bramcast.golden.ledger import ledgers
from bramcast.golden.machine import Machine, Results
from bramcast.pack.bundle.manifest import Manifest
from bramcast.pack.bundle.program import Nest

_SEED = 1
Field = tuple[int, int]  # a number and its bits
Rows = Iterator[tuple[Field, ...]]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A frame, and what golden makes of it.

    Attributes:
        frame: int64 [elements], in stream order.
        results: of ``Machine.run`` for this one frame, with its nests.
    """

    machine: Machine
    frame: NDArray[np.int64]
    results: Results

    @property
    def manifest(self) -> Manifest:
        assert self.machine.manifest is not None
        return self.machine.manifest

    def layer(self, descriptor: int) -> int:
        """The layer that a nest computes, by its number in the manifest."""
        return self.manifest.nests[descriptor - 1].layer


def recorded(machine: Machine, frame: NDArray[np.int64] | None) -> Recorded:
    """Run a frame through golden; None: one of random elements, always the same."""
    assert machine.manifest is not None
    if frame is None:
        q = machine.manifest.input.format.q
        rng = np.random.default_rng(_SEED)
        frame = rng.integers(q.min, q.max + 1, machine.beats_in, dtype=np.int64)
    return Recorded(machine, frame, machine.run(frame[None], keep_layers=True))


def mem_lines(rows: Iterable[tuple[Field, ...]]) -> str:
    """Lines of a .mem: the fields of a row side by side, the first one highest.

    >>> mem_lines([((1, 1), (2, 4), (0xAB, 8)), ((0, 1), (-1, 4), (3, 8))])
    '12ab\\n0f03\\n'
    """
    text = []
    for row in rows:
        value = bits = 0
        for number, width in row:
            value, bits = (value << width) | (number & ((1 << width) - 1)), bits + width
        text.append(f"{value:0{-(-bits // 4)}x}\n")
    return "".join(text)


def frame_rows(record: Recorded, beat: int, packets: Sequence[int]) -> Rows:
    """{TLAST, TKEEP, TDATA} of each beat of ``beat`` elements.

    Args:
        packets: elements of each packet of the frame.
    """
    bits = record.machine.core.data_bits
    for packet in np.split(record.frame, np.cumsum(packets)[:-1]):
        data = beats_of(packet[None], bits, beat)[0]
        keep = keep_of(packet.size, bits, beat)
        for n, (one, kept) in enumerate(zip(data, keep, strict=True)):
            wide = len(one)
            flags = sum(1 << i for i in range(wide) if kept[i])
            value = int.from_bytes(one.tobytes(), "little")
            yield (int(n == len(data) - 1), 1), (flags, wide), (value, 8 * wide)


def tops(record: Recorded) -> list[int]:
    """TUSER with the last beat of each packet of results."""
    return [class_of(packet) for packet in in_packets(record.results.beats[0], record.machine)]


def beat_rows(record: Recorded) -> Rows:
    """{TUSER, TLAST, layer, descriptor, 32 bits} of each result, in the stream's order.

    TUSER, where it means something: with TLAST.
    """
    ends = (np.cumsum(output_packets(record.machine)) - 1).tolist()
    users = dict(zip(ends, tops(record), strict=True))
    stream = enumerate(record.results.beats[0].tolist())
    for descriptor, count in _streams(record):
        for number, value in islice(stream, count):
            head = (users.get(number, 0), 17), (int(number in users), 1)
            yield *head, (record.layer(descriptor), 15), (descriptor, 16), (value, 32)


def word_rows(record: Recorded) -> Rows:
    """{layer, descriptor, sub-word, its bits} of all that is written into the scratchpad.

    In the core's order: all tiles write a sub-word at the same time.
    """
    core = record.machine.core
    bank = core.scratch_depth * core.taps
    for kept in record.results.nests:
        if kept.addresses[0] < 0:
            continue
        head = (record.layer(kept.descriptor), 15), (kept.descriptor, 16)
        stored = kept.words[0].astype(f"<u{core.data_bits // 8}")
        order = _by_time(kept.addresses // bank)
        for address, row in zip(kept.addresses[order].tolist(), stored[order], strict=True):
            value = int.from_bytes(row.tobytes(), "little")
            yield *head, (address, 24), (value, core.lanes * core.data_bits)


def _by_time(banks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Golden's rows, tile by tile, in the order in which all tiles write them.

    >>> _by_time(np.array([0, 0, 1, 1, 0, 1])).tolist()
    [0, 2, 1, 3, 4, 5]
    """
    turn = np.zeros(banks.size, np.int64)
    for bank in np.unique(banks):
        mine = banks == bank
        turn[mine] = np.arange(np.count_nonzero(mine))
    return np.lexsort((banks, turn))


def ledger_rows(record: Recorded, depth: int) -> Rows:
    """{layer, CRC-32, cycles} of each nest that has an entry in a ledger of so many."""
    if not depth:
        return
    nests = [kept.descriptor for kept in record.results.nests]
    (ledger,) = ledgers(record.machine, record.results)
    for descriptor, entry in list(zip(nests, ledger, strict=True))[:depth]:
        yield (record.layer(descriptor), 15), (entry.crc, 32), (entry.cycles, 31)


def _streams(record: Recorded) -> Iterator[tuple[int, int]]:
    """The nests whose results leave, each with their number."""
    for descriptor, nest in enumerate(record.machine.program):
        if isinstance(nest, Nest) and nest.stream:
            yield descriptor, Groups.of(nest, record.machine.core).results
