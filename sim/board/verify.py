# SPDX-License-Identifier: Apache-2.0
"""Compares what a core's ledger says of each layer with what golden predicts (docs/axi.md).

Needs no simulator: the registers come by a ``Driver``, the streams by a ``Link``. The core should
be built with LEDGER_DEPTH; with PEEK, too, the first wrong word is named, not only its layer.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bramcast.golden.frames import class_of, in_packets
from bramcast.golden.groups import Groups
from bramcast.golden.ledger import ledgers
from bramcast.golden.load import load
from bramcast.golden.machine import Machine, Results
from bramcast.pack.axi.driver import Driver, LedgerEntry
from bramcast.pack.axi.link import Answer, Link
from bramcast.pack.axi.registers import mask
from bramcast.pack.bundle.errors import DeviceError
from bramcast.pack.bundle.program import Nest
from bramcast.sim.run.compare import compare
from bramcast.sim.run.hdl_log import BEAT, DONE, WORD, HdlLog

TIMEOUT = 60.0  # seconds that a frame may take
OUTPUT = "output stream"  # what stands for the way from the core to here


@dataclass(frozen=True, slots=True)
class LayerCheck:
    """One layer of one frame, or what arrived of its results (``OUTPUT``, the frame's last).

    Attributes:
        sample: number of the frame.
        layer, op: as in the manifest.
        nests: numbers of the layer's executed nests, 1 is the program's first; LOOPs unrolled.
        checked: how many of them the ledger knows.
        wrong: those whose CRC-32 is another than golden's; of what the ledger does not know only
            the first one, found word by word.
        late: those that took another number of cycles, and the sink was ready.
        cycles, predicted: of the nests that could be compared.
        found: the first difference, as far as it is known, or "".
        crc, golden_crc: CRC-32 of the first wrong nest that the ledger knows, else of the last
            nest that it knows; None where it knows none.
    """

    sample: int
    layer: str
    op: str
    nests: tuple[int, ...]
    checked: int
    wrong: tuple[int, ...] = ()
    late: tuple[int, ...] = ()
    cycles: int = 0
    predicted: int = 0
    found: str = ""
    crc: int | None = None
    golden_crc: int | None = None

    @property
    def equal(self) -> bool:
        """Nothing differs, as far as it was looked at."""
        return not (self.wrong or self.late or self.found)


def first_difference(checks: list[LayerCheck]) -> LayerCheck | None:
    """The layer that differs first, by the order in which nests are executed."""
    different = [check for check in checks if not check.equal]
    if not different:
        return None
    return min(different, key=lambda c: (c.sample, min((*c.wrong, *c.late, 1 << 30))))


def verify(
    core: Driver,
    link: Link,
    bundle: Path,
    frames: NDArray[np.integer],
    *,
    load_images: bool = True,
    timeout: float = TIMEOUT,
) -> list[LayerCheck]:
    """Load a bundle, run frames one by one, and compare every layer of each with golden.

    Args:
        frames: [samples, beats], in stream order.
        load_images: write the images first; else the core has them.
        timeout: seconds that a frame may take.

    Returns:
        For each frame its layers in the order of the manifest, then what has arrived.

    Raises:
        InputError: the bundle is broken, or a frame has another shape.
        DeviceError: the bundle does not fit the core, or the core does not answer.
    """
    machine = load(bundle)
    if load_images:
        core.load(bundle)
    checks = []
    for sample, frame in enumerate(frames):
        checks += FrameCheck(core, link, machine, frame, sample, timeout).checks()
    return checks


class FrameCheck:
    """One frame: what golden says of it, and how a core that holds the bundle computes it.

    Args:
        frame: [beats], in stream order.
        sample: its number, for what is said of it.
        timeout: seconds that it may take.
    """

    def __init__(
        self,
        core: Driver,
        link: Link,
        machine: Machine,
        frame: NDArray[np.integer],
        sample: int,
        timeout: float = TIMEOUT,
    ) -> None:
        self.core, self.link, self.machine, self.timeout = core, link, machine, timeout
        self.sample, self.elements = sample, [int(element) for element in frame]
        sizes = machine.frame.packet_elements if core.packets else (len(frame),)
        self.borders = [0, *accumulate(sizes)]  # where the frame's packets begin and end
        self.results = machine.run(frame[None], keep_layers=True)
        self.packets = in_packets(self.results.beats[0], machine)
        (self.expected,) = ledgers(machine, self.results)

    def checks(self) -> list[LayerCheck]:
        """Run it, and once more where a layer differs: its layers, then what has arrived."""
        manifest = self.machine.manifest
        assert manifest is not None
        self.core.start()
        self._send()
        packets = self._receive()
        self.core.wait(self.timeout)
        answer = replace(packets[-1], beats=tuple(b for p in packets for b in p.beats))
        recorded = self.core.ledger()
        layers = [self._layer(index, recorded) for index in range(len(manifest.layers))]
        arrived = LayerCheck(self.sample, OUTPUT, "stream", (), 0, found=self._arrived(packets))
        if wrong := [nest for check in layers for nest in check.wrong]:
            number = min(wrong)
            found = self._first_word(number, answer, recorded[number - 1])
        else:
            number, found = self._beyond(len(recorded), answer) if arrived.found else (0, "")
        for at, check in enumerate(layers):
            if found and number in check.nests:
                layers[at] = replace(check, wrong=check.wrong or (number,), found=found)
        return [*layers, arrived]

    def _send(self) -> None:
        for start, end in pairwise(self.borders):
            self.link.send(self.elements[start:end])

    def _receive(self) -> list[Answer]:
        """The packets of a frame's results, up to the last one, or one that an abort has cut."""
        packets: list[Answer] = []
        for _ in self.packets:
            packets.append(self.link.receive())
            if packets[-1].cut:
                break
        return packets

    def _layer(self, index: int, recorded: list[LedgerEntry]) -> LayerCheck:
        """What the ledger says of layer ``index``."""
        manifest = self.machine.manifest
        assert manifest is not None
        nests = [n for n, info in enumerate(manifest.nests) if info.layer == index]
        pairs = {n + 1: (recorded[n], self.expected[n]) for n in nests if n < len(recorded)}
        timed = {n: pair for n, pair in pairs.items() if not pair[0].stalled}
        wrong = tuple(n for n, (mine, golden) in pairs.items() if mine.crc != golden.crc)
        shown = pairs[wrong[0] if wrong else max(pairs)] if pairs else None
        return LayerCheck(
            sample=self.sample,
            layer=manifest.layers[index].name,
            op=manifest.layers[index].op,
            nests=tuple(n + 1 for n in nests),
            checked=len(pairs),
            wrong=wrong,
            late=tuple(n for n, (mine, golden) in timed.items() if mine.cycles != golden.cycles),
            cycles=sum(mine.cycles for mine, _ in timed.values()),
            predicted=sum(golden.cycles for _, golden in timed.values()),
            crc=None if shown is None else shown[0].crc,
            golden_crc=None if shown is None else shown[1].crc,
        )

    def _arrived(self, packets: list[Answer]) -> str:
        """What is wrong with the packets, or nothing."""
        at = 0  # beats before this packet
        for answer, golden in zip(packets, self.packets, strict=False):
            want = golden.tolist()
            if answer.cut:
                return f"an abort cut the packet after {at + len(answer.beats) - 1} beats"
            if len(answer.beats) != len(want):
                return f"{len(answer.beats)} beats arrived, not {len(want)}"
            for number, (got, beat) in enumerate(zip(answer.beats, want, strict=True), at):
                if got != beat:
                    return f"beat {number}: arrived {got}, golden {beat}"
            top = class_of(golden)
            if answer.top != top:
                return f"class {answer.top}, golden {top}"
            at += len(want)
        return ""

    def _first_word(self, number: int, answer: Answer, entry: LedgerEntry) -> str:
        """The first difference in what executed nest ``number`` made, and the ledger knows."""
        nest, what = self._nest(number), f"nest {number}"
        if nest.stream:
            at = sum(self._beats(n) for n in range(1, number))
            first = self._difference(number, list(answer.beats[at : at + self._beats(number)]), at)
            return first or f"{what}: its CRC-32 differs, the beats that arrived do not"
        if not self.core.peek:
            golden = self.expected[number - 1].crc
            return f"{what}: CRC-32 0x{entry.crc:08x}, golden 0x{golden:08x}"
        ((_, made),) = self._run_up_to([number])
        first = self._difference(number, made, 0)
        return first or f"{what}: its CRC-32 differed, its words did not when it ran again"

    def _beyond(self, known: int, answer: Answer) -> tuple[int, str]:
        """The first nest that differs of those that the ledger does not know, and how."""
        unknown = range(known + 1, len(self.machine.program))
        held = [n for n in unknown if not self._nest(n).stream] if self.core.peek else []
        for number, made in self._run_up_to(held):
            if first := self._difference(number, made, 0):
                return number, first
        for number in unknown:
            at, count = sum(self._beats(n) for n in range(1, number)), self._beats(number)
            first = self._difference(number, list(answer.beats[at : at + count]), at)
            if count and first:
                return number, first
        return 0, ""

    def _nest(self, number: int) -> Nest:
        nest = self.machine.program[number]
        assert isinstance(nest, Nest)
        return nest

    def _beats(self, number: int) -> int:
        nest = self._nest(number)
        return Groups.of(nest, self.machine.core).results if nest.stream else 0

    def _run_up_to(self, numbers: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
        """Run again and hold behind these nests: the sub-words that each has written, in order.

        Where the iterator ends, an abort ends the run.
        """
        if not numbers:
            return
        number = numbers[0]
        self.core.stop_after(number)
        try:
            self.core.start()
            self._send()
            for number in numbers:
                self.core.stop_after(number)
                self.core.wait_stopped(self.timeout)
                yield number, self._written(number)
        finally:
            self.core.write("CONTROL", mask("CONTROL", "ABORT"))
            if any(self._beats(n) for n in range(1, number)):
                self._receive()  # up to the packet that the abort cuts
            end = time.monotonic() + self.timeout
            while self.core.read("STATUS") & mask("STATUS", "ABORTING"):
                if time.monotonic() > end:
                    raise DeviceError(f"waited {self.timeout:g} s for the end of an abort")
            self.core.stop_after(0)

    def _written(self, number: int) -> list[int]:
        """The sub-words that executed nest ``number`` has written, as they lie in the core."""
        addresses, taps = self.results.nests[number - 1].addresses, self.machine.core.taps
        bits = self.machine.core.lanes * self.machine.core.data_bits
        places = np.unique(addresses // taps).tolist()
        words = dict(zip(places, self.core.scratch(places), strict=True))  # bank after bank
        return [
            words[address // taps] >> (bits * (address % taps)) & ((1 << bits) - 1)
            for address in addresses.tolist()
        ]

    def _difference(self, number: int, made: list[int], at: int) -> str:
        """The first difference between sub-words, or beats from ``at`` on, and golden's."""
        result, core = self.results.nests[number - 1], self.machine.core
        stream, count = self._nest(number).stream, len(made)
        digits = max(8, core.lanes * core.data_bits // 4)
        text = [f"{value & ((1 << 32) - 1) if stream else value:0{digits}x}" for value in made]
        lines = [*([BEAT if stream else WORD] * count), DONE]
        log = HdlLog(
            np.array(lines, np.int64),
            np.full(count + 1, number, np.int64),
            np.append(np.arange(count) if stream else result.addresses, 0),
            np.array([[int(d, 16) for d in line] for line in [*text, "0" * digits]], np.uint8),
        )
        beats = self.results.beats[:, at : at + self._beats(number)]
        first = compare(self.machine, Results(beats, (result,)), log, None).first
        return "" if first is None else str(replace(first, sample=self.sample))
