# SPDX-License-Identifier: Apache-2.0
"""A bundle on disk becomes a machine, if its images, program and manifest fit each other."""

import math
from pathlib import Path

import numpy as np

from bramcast.golden.groups import Groups, layer_parts, layer_pixels
from bramcast.golden.loops import affine
from bramcast.golden.machine import Machine
from bramcast.pack.bundle.delivered import verify_delivered
from bramcast.pack.bundle.errors import InputError, ProgramError
from bramcast.pack.bundle.images import load_images
from bramcast.pack.bundle.manifest import (
    MANIFEST_NAME,
    LayerInfo,
    Manifest,
    NestInfo,
    read_manifest,
)
from bramcast.pack.bundle.program import Nest


def load(bundle: Path, allow_modified: bool = False) -> Machine:
    """Read a bundle from disk and prepare it.

    Args:
        allow_modified: take images and other files of the bundle as they are.

    Raises:
        InputError: a missing or malformed file, or one of the bundle's that is not the packed one.
        ProgramError: the program breaks a rule; names the line of program.mem.
    """
    manifest = read_manifest(bundle)
    images = load_images(bundle, manifest, allow_modified)
    try:
        machine = Machine(images, manifest.core, manifest)
    except ProgramError as error:
        raise ProgramError(f"{bundle / 'program.mem'}: {error}") from None
    try:
        _check_manifest(machine, manifest)
    except InputError as error:
        raise InputError(f"{bundle / MANIFEST_NAME}: {error}; repack the network") from None
    if not allow_modified:
        verify_delivered(bundle, manifest)
    return machine


def _check_manifest(machine: Machine, manifest: Manifest) -> None:
    """What the manifest says of the program must fit it.

    Raises:
        InputError: names the manifest's key.
    """
    nests = [d for d in machine.program if isinstance(d, Nest)]
    if len(manifest.nests) != len(nests):
        raise InputError(
            f"nests: {len(manifest.nests)} entries, the program has {len(nests)} nests"
        )
    for index, (nest, info) in enumerate(zip(nests, manifest.nests, strict=True)):
        if info.layer >= len(manifest.layers):
            raise InputError(f"nests.{index}.layer: {info.layer}, there is no such layer")
        layer, groups = manifest.layers[info.layer], Groups.of(nest, machine.core)
        good = (
            len(layer.shape) == 3
            and _inside(nest, info, layer)
            and len(info.channels) == groups.count * groups.width
            and len(info.columns) in (0, len(info.channels))
            and -1 <= min(info.channels)
            and max(info.channels) < layer.shape[2]
            and all(channel == -1 for channel in info.channels[groups.results // groups.pixels :])
        )
        if not good:
            raise InputError(f"nests.{index}: does not fit layer {layer.name!r} and the program")
    for index, layer in enumerate(manifest.layers):
        mine = [pair for pair in zip(nests, manifest.nests, strict=True) if pair[1].layer == index]
        if not _covers(layer, mine, machine.core.tiles):
            raise InputError(
                f"nests: those of layer {layer.name!r} don't give each of its elements once"
            )
    last = machine.beats_out - sum(math.prod(frame.dims) for frame in manifest.outputs[:-1])
    frames = manifest.inputs
    came = machine.beats_in - sum(math.prod(f.dims) * f.planes for f in frames[:-1])
    places = []
    for number, frame in enumerate(frames):
        key = f"more_inputs.{number - 1}" if number else "input"
        beats = came if frame is frames[-1] else math.prod(frame.dims) * frame.planes
        places.append((key, frame, beats))
    for number, frame in enumerate(manifest.outputs):
        key = f"more_outputs.{number - 1}" if number else "output"
        beats = last if frame is manifest.outputs[-1] else math.prod(frame.dims)
        places.append((key, frame, beats))
    takes = [frame.name for frame in manifest.inputs]
    if len(takes) > 1 and (len(set(takes)) < len(takes) or not all(takes)):
        raise InputError("more_inputs: each input needs a name of its own")
    named = [frame.name for frame in manifest.outputs]
    if len(named) > 1 and (len(set(named)) < len(named) or not all(named)):
        raise InputError("more_outputs: each output needs a name of its own")
    if len(manifest.output_layers) != len(named):
        raise InputError(
            f"more_outputs: {len(named)} outputs, but {len(manifest.output_layers)} layers that no "
            "other one reads"
        )
    for name, frame, beats in places:
        elements = int(np.prod(frame.shape))
        dims, strides = frame.dims, frame.strides
        if len(dims) != 3 or len(strides) != 3 or frame.planes > 2:
            raise InputError(f"{name}: dims and strides need y, x and c; planes 1 or 2")
        for key in ("exponents", "offsets"):
            numbers = getattr(frame, key)
            if numbers and ("output" in name or len(numbers) != dims[2]):
                raise InputError(f"{name}: {key}: {len(numbers)}, but c has {dims[2]}")
        if frame.places and ("input" in name or len(frame.places) != dims[2]):
            raise InputError(f"{name}: places: {len(frame.places)}, but c has {dims[2]}")
        pixels = affine((dims[0], dims[1]), (strides[0], strides[1]))
        order = (pixels[:, None] + np.array(frame.channel_places, np.int64)).reshape(-1)
        if order.size * frame.planes != beats or not np.array_equal(
            np.sort(order), np.arange(elements)
        ):
            raise InputError(f"{name}: dims and strides don't fit the program's {beats} elements")


def _inside(nest: Nest, info: NestInfo, layer: LayerInfo) -> bool:
    """Whether the pixels of a nest are a layer's; those of strips may lie behind its last row."""
    y, x = layer_pixels(nest, info)
    height, width = layer.shape[:2]
    return int(y.stop) <= height and int(x.stop) <= width


def _covers(layer: LayerInfo, nests: list[tuple[Nest, NestInfo]], tiles: int) -> bool:
    """Whether the nests of a layer, which fit it, give each of its elements once."""
    parts = [part for nest, info in nests for part in layer_parts(nest, info, layer.shape, tiles)]
    if sum(part.elements for part in parts) != math.prod(layer.shape):
        return False
    seen = np.zeros(layer.shape, np.bool_)
    for part in parts:
        seen[part.y, part.x, part.channels] = True
    return bool(np.all(seen))
