# SPDX-License-Identifier: Apache-2.0
"""Memory words of any width as bytes, and the numbers that lie in them.

One bit order everywhere: lane 0, entry 0 and element 0 sit in the least significant bits, and
byte 0 of a word holds its bits 0..7.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BIAS_BITS = 31
SHIFT_BITS = 5
ENTRY_BITS = BIAS_BITS + SHIFT_BITS


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """Words of ``bits`` bits: uint8 [n, ceil(bits / 8)], least significant byte first.

    Bits above ``bits`` in the last byte are zero.

    >>> w = Words(12, np.array([[0xBC, 0x0A], [1, 0]], np.uint8))
    >>> len(w), w.integer(0) == 0xABC, w == w.padded(3), w.padded(3).integer(2)
    (2, True, False, 0)
    """

    bits: int
    data: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if self.bits < 1:
            raise ValueError(f"words have at least one bit, got {self.bits}")
        if self.data.ndim != 2 or self.data.shape[1] != -(-self.bits // 8):
            raise ValueError(
                f"words of {self.bits} bits are uint8 [n, {-(-self.bits // 8)}], "
                f"got shape {self.data.shape}"
            )
        if self.data.dtype != np.uint8:
            raise ValueError(f"words are uint8 arrays, got {self.data.dtype}")
        if self.bits % 8 and np.any(self.data[:, -1] >> (self.bits % 8)):
            line = int(np.flatnonzero(self.data[:, -1] >> (self.bits % 8))[0])
            raise ValueError(f"word {line} has more than {self.bits} bits")

    def __len__(self) -> int:
        return len(self.data)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Words):
            return NotImplemented
        return self.bits == other.bits and np.array_equal(self.data, other.data)

    __hash__ = None  # type: ignore[assignment]

    @property
    def digits(self) -> int:
        """Hex digits of one word."""
        return -(-self.bits // 4)

    def integer(self, index: int) -> int:
        """Word ``index`` as one Python integer, 0..2**bits - 1."""
        return int.from_bytes(self.data[index].tobytes(), "little")

    def padded(self, depth: int) -> "Words":
        """The same words followed by zeros, ``depth`` in total.

        Raises:
            ValueError: there are more than ``depth`` words.
        """
        if len(self) > depth:
            raise ValueError(f"{len(self)} words don't fit a depth of {depth}")
        if len(self) == depth:
            return self
        data = np.zeros((depth, self.data.shape[1]), np.uint8)
        data[: len(self)] = self.data
        return Words(self.bits, data)


def _check_range(name: str, values: NDArray[np.integer], low: int, high: int) -> None:
    if values.size == 0 or (int(values.min()) >= low and int(values.max()) <= high):
        return
    first = np.argwhere((values < low) | (values > high))[0]
    raise ValueError(
        f"{name}{[int(i) for i in first]} = {int(values[tuple(first)])} is outside {low}..{high}"
    )


def _pack_fields(values: NDArray[np.int64], field_bits: int) -> Words:
    """Fields of any width side by side; ``values`` [n, fields], low ``field_bits`` bits count."""
    n, lanes = values.shape
    as_bytes = np.ascontiguousarray(values, "<i8").view(np.uint8).reshape(n, lanes, 8)
    bits = np.unpackbits(as_bytes, axis=2, bitorder="little")[:, :, :field_bits]
    packed = np.packbits(bits.reshape(n, lanes * field_bits), axis=1, bitorder="little")
    return Words(lanes * field_bits, packed)


def _unpack_fields(words: Words, field_bits: int) -> NDArray[np.int64]:
    """The inverse of ``_pack_fields``: unsigned int64 [n, fields]."""
    n, lanes = len(words), words.bits // field_bits
    bits = np.unpackbits(words.data, axis=1, count=words.bits, bitorder="little")
    full = np.zeros((n, lanes, 64), np.uint8)
    full[:, :, :field_bits] = bits.reshape(n, lanes, field_bits)
    as_bytes = np.packbits(full, axis=2, bitorder="little")
    return as_bytes.reshape(n, lanes * 8).view("<i8").astype(np.int64)


def pack_lanes(values: NDArray[np.integer], element_bits: int, signed: bool = True) -> Words:
    """Numbers side by side, lane 0 in the least significant bits of its word.

    Args:
        values: integers [n, lanes].
        element_bits: bits of one lane, 1..32.
        signed: two's complement; otherwise the values are 0..2**element_bits - 1.

    Returns:
        n words of lanes * element_bits bits.

    Raises:
        ValueError: a value does not fit; names its index.

    >>> f"{pack_lanes(np.array([[1, -2, 3, -4]]), 8).integer(0):08X}"
    'FC03FE01'
    >>> f"{pack_lanes(np.array([[1, -2, 3]]), 4).integer(0):03X}"
    '3E1'
    >>> pack_lanes(np.array([[1, 128]]), 8)
    Traceback (most recent call last):
    ValueError: lane [0, 1] = 128 is outside -128..127
    """
    if values.ndim != 2:
        raise ValueError(f"pack_lanes takes [n, lanes], got shape {values.shape}")
    low = -(1 << (element_bits - 1)) if signed else 0
    _check_range("lane ", values, low, low + (1 << element_bits) - 1)
    if element_bits in (8, 16, 32):
        narrow = np.ascontiguousarray(values.astype(f"<i{element_bits // 8}"))
        data = narrow.view(np.uint8).reshape(len(values), values.shape[1] * element_bits // 8)
        return Words(values.shape[1] * element_bits, data)
    return _pack_fields(values.astype(np.int64), element_bits)


def unpack_lanes(words: Words, element_bits: int, signed: bool = True) -> NDArray[np.int64]:
    """The numbers in the words, int64 [n, lanes]; the inverse of ``pack_lanes``.

    >>> unpack_lanes(pack_lanes(np.array([[1, -2, 3, -4]]), 8), 8)
    array([[ 1, -2,  3, -4]])
    >>> unpack_lanes(pack_lanes(np.array([[-1, -128]]), 8), 8, signed=False)
    array([[255, 128]])
    """
    if words.bits % element_bits:
        raise ValueError(f"words of {words.bits} bits don't hold lanes of {element_bits} bits")
    if element_bits in (8, 16, 32):
        dtype = f"<{'i' if signed else 'u'}{element_bits // 8}"
        return np.ascontiguousarray(words.data).view(dtype).astype(np.int64)
    values = _unpack_fields(words, element_bits)
    if signed:
        values -= (values >> (element_bits - 1)) << element_bits
    return values


def pack_bias(bias: NDArray[np.integer], shift: NDArray[np.integer], rq: int) -> Words:
    """Bias and shift of each output channel: ``rq`` entries {shift[4:0], bias[30:0]} a word.

    Args:
        bias: [n], -2**30..2**30 - 1; n is a multiple of ``rq``.
        shift: [n], 0..31.

    Returns:
        n / rq words of 36 * rq bits.

    Raises:
        ValueError: a value does not fit; names its index.

    >>> f"{pack_bias(np.array([5]), np.array([20]), 1).integer(0):09X}"
    'A00000005'
    >>> f"{pack_bias(np.array([0, -1]), np.array([1, 0]), 2).integer(0):018X}"
    '07FFFFFFF080000000'
    """
    if bias.shape != shift.shape or bias.ndim != 1 or len(bias) % rq:
        raise ValueError(
            f"pack_bias takes bias and shift [n], n a multiple of {rq}; "
            f"got {bias.shape} and {shift.shape}"
        )
    _check_range("bias ", bias, -(1 << (BIAS_BITS - 1)), (1 << (BIAS_BITS - 1)) - 1)
    _check_range("shift ", shift, 0, (1 << SHIFT_BITS) - 1)
    entries = bias.astype(np.int64) & ((1 << BIAS_BITS) - 1)
    entries |= shift.astype(np.int64) << BIAS_BITS
    return _pack_fields(entries.reshape(-1, rq), ENTRY_BITS)


def unpack_bias(words: Words) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(bias, shift) of all entries, int64 [n * rq] each; the inverse of ``pack_bias``.

    >>> unpack_bias(pack_bias(np.array([-7, 8]), np.array([31, 0]), 2))
    (array([-7,  8]), array([31,  0]))
    """
    entries = _unpack_fields(words, ENTRY_BITS).reshape(-1)
    bias = entries & ((1 << BIAS_BITS) - 1)
    bias -= (bias >> (BIAS_BITS - 1)) << BIAS_BITS
    return bias, entries >> BIAS_BITS


def from_uint32(values: NDArray[np.uint32]) -> Words:
    """32-bit words, e.g. of the program image.

    >>> from_uint32(np.array([0x80000001], np.uint32)).data.tolist()
    [[1, 0, 0, 128]]
    """
    return Words(32, np.ascontiguousarray(values, "<u4").view(np.uint8).reshape(-1, 4))


def to_uint32(words: Words) -> NDArray[np.uint32]:
    """Words of at most 32 bits as uint32 [n].

    >>> to_uint32(Words(12, np.array([[0xBC, 0x0A]], np.uint8))) == 0xABC
    array([ True])
    """
    return to_axi(words).reshape(-1) if words.bits <= 32 else _refuse(words)


def _refuse(words: Words) -> NDArray[np.uint32]:
    raise ValueError(f"words of {words.bits} bits don't fit 32")


def to_axi(words: Words) -> NDArray[np.uint32]:
    """Each word as ceil(bits / 32) 32-bit words, least significant first: uint32 [n, parts].

    >>> w = pack_bias(np.array([5]), np.array([20]), 1)
    >>> [f"{part:08X}" for part in to_axi(w)[0]]
    ['00000005', '0000000A']
    """
    n, n_bytes = words.data.shape
    wide = np.zeros((n, -(-n_bytes // 4) * 4), np.uint8)
    wide[:, :n_bytes] = words.data
    return wide.view("<u4").astype(np.uint32)


def from_axi(values: NDArray[np.uint32], bits: int) -> Words:
    """The inverse of ``to_axi``.

    Raises:
        ValueError: a bit above ``bits`` is set; names the word.
    """
    data = (
        np.ascontiguousarray(values, "<u4").view(np.uint8).reshape(len(values), 4 * values.shape[1])
    )
    n_bytes = -(-bits // 8)
    if np.any(data[:, n_bytes:]):
        line = int(np.flatnonzero(data[:, n_bytes:].any(axis=1))[0])
        raise ValueError(f"word {line} has more than {bits} bits")
    return Words(bits, np.ascontiguousarray(data[:, :n_bytes]))


def split_banks(words: Words, bank_bits: int) -> list[Words]:
    """Cut words for several narrower memories side by side, least significant bits first.

    Bank k holds bits k * bank_bits and up; all banks are ``bank_bits`` wide, zeros above the word.

    >>> wide = Words(36, np.array([[1, 0, 0, 0x80, 0xF]], np.uint8))
    >>> [f"{bank.bits}: {bank.integer(0):08X}" for bank in split_banks(wide, 32)]
    ['32: 80000001', '32: 0000000F']
    >>> [bank.integer(0) for bank in split_banks(wide, 18)]
    [1, 253952]
    """
    n, n_banks = len(words), -(-words.bits // bank_bits)
    if bank_bits % 8 == 0:
        wide = np.zeros((n, n_banks, bank_bits // 8), np.uint8)
        wide.reshape(n, -1)[:, : words.data.shape[1]] = words.data
        return [Words(bank_bits, np.ascontiguousarray(wide[:, k])) for k in range(n_banks)]
    bits = np.zeros((n, n_banks * bank_bits), np.uint8)
    bits[:, : words.bits] = np.unpackbits(words.data, axis=1, count=words.bits, bitorder="little")
    cut = bits.reshape(n, n_banks, bank_bits)
    return [
        Words(bank_bits, np.packbits(cut[:, k], axis=1, bitorder="little")) for k in range(n_banks)
    ]


def join_banks(banks: Sequence[Words], bits: int) -> Words:
    """The inverse of ``split_banks``.

    Raises:
        ValueError: the banks differ in depth or width, or a bit above ``bits`` is set.

    >>> wide = Words(36, np.array([[1, 0, 0, 0x80, 0xF]], np.uint8))
    >>> join_banks(split_banks(wide, 5), 36) == wide
    True
    """
    depths, widths = {len(bank) for bank in banks}, {bank.bits for bank in banks}
    if len(depths) != 1 or len(widths) != 1:
        raise ValueError(f"banks of {sorted(depths)} words of {sorted(widths)} bits don't match")
    parts = [np.unpackbits(b.data, axis=1, count=b.bits, bitorder="little") for b in banks]
    joined = np.concatenate(parts, axis=1)
    above = joined[:, bits:].any(axis=1)
    if above.any():
        raise ValueError(f"word {int(np.argmax(above))} has more than {bits} bits")
    return Words(bits, np.packbits(joined[:, :bits], axis=1, bitorder="little"))
