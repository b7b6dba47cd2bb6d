# SPDX-License-Identifier: Apache-2.0
"""AMD's updatemem: a Tcl script that says where a core's images lie in a placed design.

Vivado writes a .mmi for processors and XPM memories only, so that the script asks the placed block
RAMs: which bits and words of a memory each holds, and where it is. What updatemem can't patch is
refused there: RAMB18, and words that use parity bits.
"""

from bramcast.pack.bundle.formats.table import image_format
from bramcast.pack.bundle.manifest import IMAGES, Core
from bramcast.sim.folder.template import filled

MMI_SCRIPT = "mmi.tcl"
BANK_BITS = 32


def mmi_script(name: str, core: Core) -> str:
    """The script; it takes the place of nothing and changes nothing in the design."""
    images = [f"{image} {core.word_bits(image)}" for image in IMAGES if core.depth(image)]
    return filled(
        MMI_SCRIPT,
        {
            "name": name,
            "images": " ".join(images),
            "suffix": image_format("updatemem").suffix,
            "bank_bits": BANK_BITS,
            "bank_bytes": BANK_BITS // 8,
        },
    )
