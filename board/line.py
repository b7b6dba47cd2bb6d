# SPDX-License-Identifier: Apache-2.0
"""A core behind a serial line: a bus for its registers and images, a link for its streams.

Every request is answered or sent again, until its answer comes whole; the bridge executes it once.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import TracebackType
from typing import Protocol

import numpy as np

from bramcast.board.packet import (
    IDENTIFICATION,
    PROTOCOL,
    TLAST,
    Answer,
    Command,
    Request,
    Splitter,
    Status,
    encode,
)
from bramcast.pack.axi.link import Answer as Results
from bramcast.pack.bundle.errors import DeviceError, InputError
from bramcast.pack.bundle.packages import needed

BAUD = 115_200
FIRST_WAIT = 0.5  # seconds for an answer, beside the time that its bytes take
SILENCE = 0.03  # seconds without a byte: the rest of what was damaged has come, too
TRIES_IN_SILENCE = 5
TRIES = 40
NO_PROGRESS = 20.0  # seconds in which a core may take no element, or send no result
FIRST_WORDS, LEAST_WORDS = 8, 4  # of a packet: what is tried first, on a very bad line


class Port(Protocol):
    """What is needed of a serial port: ``read`` returns what there is, after a while nothing."""

    def write(self, data: bytes, /) -> object: ...

    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


def open_port(name: str, baud: int) -> Port:
    """A serial port of this machine.

    Raises:
        ToolError: pyserial is not installed.
        InputError: there is no such port, or it is not for us.
    """
    with needed("a serial line", "serial", "board"):
        import serial
    try:
        opened = serial.Serial(name, baud, timeout=0.005, write_timeout=60)
        opened.reset_input_buffer()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{name}: can't be opened at {baud:,} baud: {reason}") from None
    port: Port = opened  # pyserial has no types of its own
    return port


@dataclass(frozen=True, slots=True)
class Identity:
    """What the bridge says of itself.

    Attributes:
        words: most words of a packet.
        data_bits: of an input element, 8 or 16.
        address_bits: of the byte addresses.
        standing: an element stands on the core's input, from an earlier session.
    """

    words: int
    data_bits: int
    address_bits: int
    standing: bool


class Line:
    """A bus and a link over a port.

    Attributes:
        identity: what is at the other end.
        repeated: requests that were sent again.
        report: is told how many words of a long transfer are through, and of how many.

    Raises:
        DeviceError: nobody answers, or not a bridge of this protocol.
    """

    def __init__(self, port: Port, name: str, baud: int = BAUD) -> None:
        self._port, self._name, self._baud = port, name, baud
        self._splitter = Splitter()
        self._sequence = 0
        self.repeated = 0
        self.report: Callable[[int, int], None] = lambda done, of: None
        self._words = LEAST_WORDS
        self.identity = self._identify()
        self._words = min(FIRST_WORDS, self.identity.words)

    def __enter__(self) -> "Line":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._port.close()

    # ------------------------------------------------------------------ packets

    def _identify(self) -> Identity:
        answer = self._ask(Command.IDENTIFY)
        if len(answer.words) != 3 or answer.words[0] != IDENTIFICATION:
            raise DeviceError(f"{self._name}: what answers there is no bramcast bridge")
        protocol, words = answer.words[1] & 0xFFFF, answer.words[1] >> 16
        if protocol != PROTOCOL:
            raise DeviceError(
                f"{self._name}: the bridge speaks protocol {protocol}, this program {PROTOCOL}"
            )
        last = answer.words[2]
        return Identity(words, last & 255, last >> 8 & 255, bool(last >> 31))

    def _ask(
        self, command: Command, address: int = 0, count: int = 0, payload: bytes = b""
    ) -> Answer:
        """Send a request until its answer has come.

        Raises:
            DeviceError: nobody answers, or the bridge does not understand.
        """
        self._sequence = (self._sequence + 1) % 256
        packet = encode(Request(self._sequence, command, address, count, payload))
        most = len(packet) + 4 * count + 64
        silent = 0
        for number in range(TRIES):
            self._write(packet)
            seconds = FIRST_WAIT * 2 ** min(silent, 3) + 20 * most / self._baud
            found, heard = self._hear(seconds)
            if found is not None:
                self._adapt(number, len(payload) // 4 or count)
                return self._understood(found, command)
            self.repeated += 1
            silent = 0 if heard else silent + 1
            if silent == TRIES_IN_SILENCE:
                break
        what = "garbled answers only" if silent < TRIES_IN_SILENCE else "no answer"
        raise DeviceError(
            f"{self._name}: {what} at {self._baud:,} baud; is the board configured, out of reset, "
            "and its DIVISOR the clock's frequency over this baud rate?"
        )

    def _understood(self, answer: Answer, command: Command) -> Answer:
        if answer.status in (Status.COMMAND, Status.LENGTH):
            raise DeviceError(
                f"{self._name}: the bridge does not take {command.name} "
                f"({Status(answer.status).name}); is it of another version?"
            )
        return answer

    def _adapt(self, failures: int, words: int) -> None:
        """Shorter packets on a bad line, longer ones again on a good one."""
        if failures:
            self._words = max(LEAST_WORDS, self._words // 2)
        elif words >= self._words // 2:  # a scattered word counts for two
            self._words = min(self.identity.words, self._words + -(-self._words // 4))

    def _write(self, packet: bytes) -> None:
        try:
            self._port.write(packet)
        except OSError as error:
            raise DeviceError(f"{self._name}: the line is gone: {error}") from None

    def _read(self) -> bytes:
        try:
            waiting = int(getattr(self._port, "in_waiting", 0))
            return bytes(self._port.read(max(1, waiting)))
        except OSError as error:
            raise DeviceError(f"{self._name}: the line is gone: {error}") from None

    def _hear(self, seconds: float) -> tuple[Answer | None, bool]:
        """The answer to the last request, or whether at least something came."""
        end = time.monotonic() + seconds
        heard = False
        while time.monotonic() < end:
            data = self._read()
            heard |= bool(data)
            for answer in self._splitter.feed(data):
                if answer is None or answer.status == Status.DAMAGED:
                    self._wait_for_silence()
                    return None, True
                if answer.sequence == self._sequence:
                    return answer, True
        return None, heard

    def _wait_for_silence(self) -> None:
        """What is still on its way would look like an answer to the next request."""
        end = time.monotonic() + SILENCE
        while time.monotonic() < end:
            data = self._read()
            if data:
                end = time.monotonic() + SILENCE
                list(self._splitter.feed(data))
        self._splitter = Splitter()

    # ------------------------------------------------------------------ bus

    def read(self, offset: int) -> int:
        """32 bits at a byte offset."""
        return self.read_many([offset])[0]

    def write(self, offset: int, value: int) -> None:
        """Write 32 bits at a byte offset."""
        self.write_many([(offset, value)])

    def read_many(self, offsets: Sequence[int]) -> list[int]:
        """32 bits at each of several byte offsets.

        Raises:
            DeviceError: the core refuses one.
        """
        found: list[int] = []
        for run in _runs(offsets):
            at = 0
            while at < len(run):
                first, count = run[at], min(self._words, len(run) - at)
                answer = self._ask(Command.READ, first, count)
                found += answer.words
                if answer.status != Status.OKAY:
                    self._refused("read", first + 4 * len(answer.words), answer.status)
                at += count
                self.report(len(found), len(offsets))
        return found

    def write_many(self, accesses: Sequence[tuple[int, int]]) -> None:
        """Write 32 bits at each of several byte offsets, in their order.

        Raises:
            DeviceError: the core refuses one; those before it are written.
        """
        offsets = [offset for offset, _ in accesses]
        values = np.array([value & 0xFFFFFFFF for _, value in accesses], "<u4")
        runs = list(_runs(offsets))
        whole = len(offsets) > 4 * len(runs)  # few gaps: runs; else an address with each word
        at = 0
        for run in runs if whole else [offsets]:
            end = at + len(run)
            while at < end:
                if whole:
                    stop = min(end, at + self._words)
                    part = values[at:stop]
                    answer = self._ask(Command.WRITE, offsets[at], len(part), part.tobytes())
                    done = answer.words[0]
                else:
                    stop = min(end, at + self._words // 2)
                    both = np.stack([np.array(offsets[at:stop], "<u4"), values[at:stop]], axis=1)
                    answer = self._ask(Command.SCATTER, 0, both.size, both.tobytes())
                    done = answer.words[0] // 2
                if answer.status != Status.OKAY:
                    self._refused("write", offsets[at + done], answer.status)
                at = stop
                self.report(at, len(offsets))

    def _refused(self, what: str, offset: int, status: int) -> None:
        raise DeviceError(
            f"{self._name}: the core refused to {what} 0x{offset:X} ({Status(status).name}); "
            "its register ERRORS says why"
        )

    # ------------------------------------------------------------------ link

    def send(self, elements: Sequence[int]) -> None:
        """A packet, TLAST with its last element; returns when all are on their way.

        Raises:
            DeviceError: the core has taken none for a while.
        """
        bits = self.identity.data_bits
        frame = (np.asarray(elements, np.int64) & ((1 << bits) - 1)).astype(f"<u{bits // 8}")
        per_word = 32 // bits
        at, since = 0, time.monotonic()
        while at < len(frame):
            part = frame[at : at + self._words * per_word]
            padded = np.pad(part, (0, -len(part) % per_word))
            last = TLAST if at + len(part) == len(frame) else 0
            answer = self._ask(Command.PUSH, last, len(part), padded.tobytes())
            sent = answer.words[0]
            if sent:
                since = time.monotonic()
            elif time.monotonic() > since + NO_PROGRESS:
                raise DeviceError(
                    f"{self._name}: the core has taken no element for {NO_PROGRESS:g} s; "
                    "is it started?"
                )
            at += sent

    def receive(self) -> Results:
        """The next packet of results, up to its TLAST.

        Raises:
            DeviceError: none has come for a while.
        """
        beats: list[int] = []
        since = time.monotonic()
        while True:
            got, ended, user = self._pull()
            beats += got
            if ended:
                signed = np.array(beats, np.uint32).astype(np.int32).tolist()
                return Results(tuple(signed), user & 0xFFFF, bool(user >> 16 & 1))
            if got:
                since = time.monotonic()
            elif time.monotonic() > since + NO_PROGRESS:
                raise DeviceError(
                    f"{self._name}: the core has sent no result for {NO_PROGRESS:g} s"
                )

    def _pull(self) -> tuple[tuple[int, ...], bool, int]:
        answer = self._ask(Command.PULL, 0, min(self._words, self.identity.words - 1))
        return answer.words[:-1], bool(answer.words[-1] >> 31), answer.words[-1] & 0x1FFFF

    def drop_results(self) -> int:
        """Take what the core still sends, from an earlier session; how many beats."""
        count = 0
        while got := self._pull()[0]:
            count += len(got)
        return count


def _runs(offsets: Sequence[int]) -> Iterator[list[int]]:
    """Offsets as runs of words that follow each other.

    >>> list(_runs([0, 4, 8, 16, 20]))
    [[0, 4, 8], [16, 20]]
    """
    for _, run in groupby(enumerate(offsets), lambda pair: pair[1] - 4 * pair[0]):
        yield [offset for _, offset in run]
