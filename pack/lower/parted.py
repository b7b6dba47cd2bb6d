# SPDX-License-Identifier: Apache-2.0
"""Pixels that consist of parts with room behind each, as those of a concat do.

Each part is filled up to whole sub-words. The shortest progression through all channels would pass
these zeros, too; but parts lie as evenly as pixels do, so a part may count as a pixel:

    pixel x: a a a a 0 0 0 0 b b b 0 0 0 0 0     parts 2 x and 2 x + 1, of four channels each

The coordinate along x counts parts, and a window of KX pixels has twice as many of these.
"""

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.lower.walks import (
    LARGEST_COORDINATE,
    Axis,
    DenseWalk,
    Layout,
    Loops,
    Reading,
    pixel_loops,
    progression,
    walk_of,
)


def parted_walks(
    layout: Layout, reading: Reading, y: Axis, x: Axis, written: NDArray[np.bool_]
) -> list[list[DenseWalk]]:
    """A dense layer's nest for every distance at which the parts of its operand's pixels may lie.

    Args:
        written: which blocks of the buffer are written.
    """
    taps, used = layout.taps, np.flatnonzero(reading.offsets >= 0)
    if reading.sx <= 0 or max(axis.phases(taps) for axis in (y, x)) > 1:
        return []
    if y.kernel > 1 and y.tap_step % taps:
        return []
    block, element = np.divmod(reading.offsets[used], taps)
    pitch, found = reading.sx // taps, []
    for step in range(max(1, layout.lanes // taps), pitch, max(1, layout.lanes // taps)):
        if pitch % step or reading.sx % taps:
            continue
        part, place = np.divmod(block - block.min(), step)
        parts, of_pixel = int(part.max()) + 1, pitch // step
        whole = parts == of_pixel or x.kernel == 1
        beyond = parts > of_pixel  # a channel lies in another pixel: no coordinate tells its own
        reach = max(x.size, (x.out - 1) * x.stride + (x.kernel - 1) * x.dilation + 1)
        reach = reach * of_pixel + (parts if beyond else 0)
        if parts == 1 or not whole or (beyond and not x.inside()) or reach > LARGEST_COORDINATE:
            continue
        low, inner, count = progression(place)
        inside = np.arange(parts)[:, None] * step + low + inner * np.arange(count)
        if not written[block.min() + inside].all():
            continue
        across = x.dilation * of_pixel
        loops = Loops(
            origin=0,
            stride=1,
            outs=x.out,
            out_step=x.out_step,
            taps=(x.kernel - 1) * across + parts,
            tap_step=step * taps,
            first=-x.before * x.step,
            start=-x.before * of_pixel,
            limit=reach if beyond else x.size * of_pixel,
            coordinate_out=x.stride * of_pixel,
            coordinate_tap=1,
        )
        rows = pixel_loops(y, 0, 1)
        base = (int(block.min()) + low) * taps + rows.first + loops.first
        column = np.arange(x.kernel) * across + part[:, None]
        tap = np.arange(y.kernel)[None, :, None] * loops.taps + column[:, None, :]
        tap = tap * count + ((place - low) // inner)[:, None, None]
        walk = walk_of(reading.buffer, base, rows, loops, count, inner * taps)
        found.append([DenseWalk(walk, used, tap * taps + element[:, None, None])])
    return found
