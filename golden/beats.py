# SPDX-License-Identifier: Apache-2.0
"""Frames as beats of several elements, and what the core makes of them (core.md, Wider beats)."""

import numpy as np
from numpy.typing import NDArray

BEATS = (1, 2, 4, 8)  # elements of a beat: the HDL's parameter BEAT


def beats_of(frames: NDArray[np.int64], data_bits: int, beat: int) -> NDArray[np.uint8]:
    """Frames as they lie in a DMA's buffer: little-endian elements, padded to whole beats.

    Args:
        frames: int64 [n, elements], as of ``frames_from_arrays``.
        data_bits: DATA_BITS, 8 or 16.
        beat: BEAT, elements of a beat.

    Returns:
        uint8 [n, beats, bytes of a beat]; what fills the last beat is 0. A transfer of
        elements * data_bits / 8 bytes sends a frame: a DMA then clears TKEEP for the rest.

    >>> beats_of(np.array([[1, -2, 3]]), 8, 2)[0].tolist()
    [[1, 254], [3, 0]]
    >>> beats_of(np.array([[1, -2, 3]]), 16, 2)[0].tolist()
    [[1, 0, 254, 255], [3, 0, 0, 0]]
    """
    if data_bits not in (8, 16) or beat not in BEATS:
        raise ValueError(f"beats are of 1, 2, 4 or 8 elements of 8 or 16 bits: {beat}, {data_bits}")
    padded = np.pad(frames, ((0, 0), (0, -frames.shape[1] % beat)))
    stored = (padded & ((1 << data_bits) - 1)).astype(f"<u{data_bits // 8}")
    return stored.view(np.uint8).reshape(len(frames), -1, beat * data_bits // 8)


def keep_of(elements: int, data_bits: int, beat: int) -> NDArray[np.bool_]:
    """TKEEP of the beats of a frame: bool [beats, bytes of a beat], False behind its end.

    >>> keep_of(3, 8, 2).tolist()
    [[True, True], [True, False]]
    """
    wide = beat * data_bits // 8
    beats = -(-elements // beat)
    return (np.arange(beats * wide) < elements * data_bits // 8).reshape(beats, wide)


def elements_of(
    data: NDArray[np.uint8],
    keep: NDArray[np.bool_],
    last: NDArray[np.bool_],
    data_bits: int,
    tlast_ends: bool = True,
) -> list[tuple[int | None, bool]]:
    """The elements that the core takes from a stream of beats, with TLAST; ``bramcast_beats``.

    An element counts if TKEEP keeps all of it, and all that stands before it in the beat. None: a
    TLAST whose beat has no element; the frame that it ends is a short one.

    Args:
        data: [beats, bytes], element 0 first.
        keep: [beats, bytes], TKEEP.
        last: [beats], TLAST; ignored unless ``tlast_ends``.

    >>> data, keep = np.array([[1, 2], [3, 0], [9, 9]], np.uint8), np.eye(3, 2, dtype=bool)
    >>> elements_of(data, keep, np.array([True, False, True]), 8)
    [(1, True), (None, True)]
    """
    size = data_bits // 8
    stored = data.view(f"<u{size}")
    found: list[tuple[int | None, bool]] = []
    for beat in range(len(data)):
        whole = np.logical_and.accumulate(keep[beat].reshape(-1, size).all(axis=1))
        count, end = int(whole.sum()), bool(last[beat]) and tlast_ends
        found += [(int(stored[beat, i]), end and i == count - 1) for i in range(count)]
        if end and count == 0:
            found.append((None, True))
    return found
