# SPDX-License-Identifier: Apache-2.0
"""Images as bytes: raw binary, NumPy's .npz, and images.bin with all images of a bundle."""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.formats.text import (
    MAX_BITS,
    Content,
    ImageSource,
    check_extent,
    read_source,
)
from bramcast.pack.bundle.manifest import IMAGES, Core
from bramcast.pack.bundle.words import Words, from_axi, to_axi

BIN_NAME = "images.bin"


def raw_bytes(words: Words, depth: int) -> bytes:
    """Each word as ceil(bits / 8) little-endian bytes.

    >>> raw_bytes(Words(12, np.array([[0xBC, 0x0A]], np.uint8)), 2).hex()
    'bc0a0000'
    """
    return words.padded(depth).data.tobytes()


def parse_raw(source: ImageSource, bits: int | None) -> Content:
    """Read raw binary; it does not say how wide its words are, so ``bits`` must."""
    if bits is None:
        source.fail(0, "raw binary does not say how wide its words are; give --bits")
    if not 1 <= bits <= MAX_BITS:
        source.fail(0, f"words of {bits} bits; 1..{MAX_BITS} are read")
    n_bytes = -(-bits // 8)
    if len(source.raw) % n_bytes:
        source.fail(0, f"{len(source.raw)} bytes are no whole number of words of {n_bytes} bytes")
    check_extent(source, 0, len(source.raw) // n_bytes, bits)
    data = np.frombuffer(source.raw, np.uint8).reshape(-1, n_bytes)
    return _numbered(source, data, bits, False)


def npz_bytes(words: Words, depth: int) -> bytes:
    """``bits``, a number, and ``words``, uint8 [depth, ceil(bits / 8)], least significant first."""
    file = io.BytesIO()
    np.savez(file, bits=np.int64(words.bits), words=words.padded(depth).data)
    return file.getvalue()


def parse_npz(source: ImageSource, bits: int | None) -> Content:
    """Read a .npz with the two arrays of ``npz_bytes``."""
    try:
        with zipfile.ZipFile(io.BytesIO(source.raw)) as archive:
            if sorted(archive.namelist()) != ["bits.npy", "words.npy"]:
                source.fail(0, "expected the arrays 'bits' and 'words' and nothing else")
            for entry in archive.infolist():
                check_extent(source, 0, 1, 8 * entry.file_size)
        with np.load(io.BytesIO(source.raw), allow_pickle=False) as arrays:
            width, data = arrays["bits"], arrays["words"]
    except InputError:
        raise
    except Exception as error:  # zipfile and numpy raise whatever a damaged file leads them to
        source.fail(0, f"not an .npz file: {error}")
    if width.shape != () or width.dtype.kind not in "iu" or not 1 <= int(width) <= MAX_BITS:
        source.fail(0, f"'bits' is one integer, 1..{MAX_BITS}")
    if bits is not None and bits != int(width):
        source.fail(0, f"'bits' is {int(width)}, expected {bits}")
    n_bytes = -(-int(width) // 8)
    if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != n_bytes:
        source.fail(
            0, f"'words' is uint8 [n, {n_bytes}], got {data.dtype} {'x'.join(map(str, data.shape))}"
        )
    return _numbered(source, np.ascontiguousarray(data), int(width), True)


def _numbered(source: ImageSource, data: np.ndarray, bits: int, declared: bool) -> Content:
    try:
        words = Words(bits, data)
    except ValueError as error:
        source.fail(0, str(error))
    return Content(words, np.arange(1, len(words) + 1, dtype=np.int64), declared)


# --- images.bin


@dataclass(frozen=True, slots=True)
class Section:
    """Where an image lies in images.bin: ``words`` words of ``axi_words`` 32-bit words each."""

    name: str
    bits: int
    words: int
    offset: int  # bytes

    @property
    def axi_words(self) -> int:
        return -(-self.bits // 32)

    @property
    def bytes(self) -> int:
        return 4 * self.axi_words * self.words


def sections(core: Core) -> list[Section]:
    """The images in images.bin, one after another; those with depth 0 are left out.

    >>> [(s.name, s.offset, s.bytes) for s in sections(Core(16, 1, 8, 8, 2, 64, 10, 4, 0, 64))]
    [('program', 0, 256), ('weights', 256, 160), ('bias', 416, 48)]
    """
    result: list[Section] = []
    offset = 0
    for name in IMAGES:
        if core.depth(name):
            section = Section(name, core.word_bits(name), core.depth(name), offset)
            result.append(section)
            offset += section.bytes
    return result


def bin_bytes(images: Mapping[str, Words], core: Core) -> bytes:
    """images.bin: every word as little-endian bytes, filled up to whole 32-bit words.

    Args:
        images: by name; one that is missing is all zeros.
    """
    parts = []
    for section in sections(core):
        words = images.get(section.name, no_words(section.bits)).padded(section.words)
        parts.append(to_axi(words).astype("<u4").tobytes())
    return b"".join(parts)


def no_words(bits: int) -> Words:
    """An image of depth 0."""
    return Words(bits, np.zeros((0, -(-bits // 8)), np.uint8))


def read_bin(path: Path, core: Core) -> dict[str, Words]:
    """Read images.bin for a core.

    Raises:
        InputError: wrong length, or fill bits that are not zero; names the image and word.
    """
    return split_bin(read_source(path), core)


def split_bin(source: ImageSource, core: Core) -> dict[str, Words]:
    """The images in the bytes of images.bin."""
    layout = sections(core)
    size = sum(s.bytes for s in layout)
    if len(source.raw) != size:
        source.fail(0, f"{len(source.raw)} bytes, expected {size}; repack the bundle")
    images = {}
    for s in layout:
        values = np.frombuffer(source.raw, "<u4", s.bytes // 4, s.offset)
        try:
            shaped = values.reshape(s.words, s.axi_words).astype(np.uint32)
            images[s.name] = from_axi(shaped, s.bits)
        except ValueError as error:
            source.fail(0, f"{s.name} at byte {s.offset}: {error}")
    return images
