# SPDX-License-Identifier: Apache-2.0
"""Layers that the same descriptors compute: a recurrent network's time steps."""

from collections.abc import Sequence

from bramcast.pack.bundle.program import Descriptor, unrolled


def same_descriptors(
    program: Sequence[Descriptor], layer_of: Sequence[int]
) -> dict[tuple[int, ...], list[int]]:
    """The layers that each run of descriptors computes, in the order of their first execution.

    Args:
        layer_of: for each nest that runs, in order, the number of its layer.

    >>> from bramcast.pack.bundle.program import Input, Loop, Nest
    >>> nest = Nest((1,) * 6, 8, (0,) * 6, 0, (0,) * 6, 4, (0,) * 3, 0, 1, 0, 0, 1)
    >>> frame = Input(1, 1, 0)
    >>> same_descriptors([frame, nest, Loop(2, 2), nest, nest, nest], [0, 1, 2, 3, 4, 5])
    {(1,): [0], (3,): [1, 3], (4,): [2, 4], (5,): [5]}
    """
    numbers = [number for number, _ in unrolled(program)][1:]  # without the input
    of_layer: dict[int, list[int]] = {}
    for number, layer in zip(numbers, layer_of, strict=True):
        of_layer.setdefault(layer, []).append(number)
    found: dict[tuple[int, ...], list[int]] = {}
    for layer, descriptors in sorted(of_layer.items()):
        found.setdefault(tuple(descriptors), []).append(layer)
    return found


def title(name: str, steps: int) -> str:
    """What stands for a layer in all its time steps.

    >>> title("rnn.h", 6), title("fc", 1)
    ('rnn.h x 6', 'fc')
    """
    return f"{name} x {steps}" if steps > 1 else name
