# SPDX-License-Identifier: Apache-2.0
"""AMD's updatemem: a Tcl script that says where a core's images lie in a placed design.

Vivado writes a .mmi for processors and XPM memories only. The core's own memories are blocks of a
known shape where they are synthesized with BANKED = 1 (hw/bramcast_memory.sv), so that the script
asks the placed design for nothing but their sites.
"""

from bramcast.pack.bundle.formats.table import image_format
from bramcast.pack.bundle.manifest import IMAGES, Core
from bramcast.sim.folder.template import filled

MMI_SCRIPT = "mmi.tcl"
BANK_BITS = 32  # of a word of updatemem's files
BLOCK_BITS = 32768  # of a RAMB36 without its parity


def block_bits(word_bits: int, depth: int) -> int:
    """Bits of a word that a block holds, as in hw/bramcast_memory.sv.

    >>> block_bits(64, 418), block_bits(64, 1025), block_bits(8, 256), block_bits(8, 32768)
    (32, 16, 8, 1)
    """
    most = BANK_BITS
    while most > 1 and most * depth > BLOCK_BITS:
        most //= 2
    return min(most, word_bits)


def blocks(word_bits: int, depth: int) -> int:
    """Blocks of a memory; the last bank is full, too.

    >>> blocks(64, 418), blocks(36, 418), blocks(36, 1025), blocks(8, 1024)
    (2, 2, 4, 1)
    """
    bank = min(BANK_BITS, word_bits)
    return -(-word_bits // bank) * bank // block_bits(word_bits, depth)


def mmi_script(name: str, core: Core) -> str:
    """The script; it takes the place of nothing and changes nothing in the design."""
    images = []
    for image in IMAGES:
        if core.depth(image):
            bits, depth = core.word_bits(image), core.depth(image)
            images.append(f"{image} {bits} {block_bits(bits, depth)} {blocks(bits, depth)}")
    return filled(
        MMI_SCRIPT,
        {
            "name": name,
            "images": " ".join(images),
            "suffix": image_format("updatemem").suffix,
            "bank_bits": BANK_BITS,
            "block_bits": BLOCK_BITS,
        },
    )
