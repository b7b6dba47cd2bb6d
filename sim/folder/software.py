# SPDX-License-Identifier: Apache-2.0
"""What C software needs of a written folder with AXI4-Lite: driver, registers, images, ledger."""

from bramcast.golden.ledger import c_header, ledgers
from bramcast.pack.bundle.formats.c_header import HEADER_NAME, header_text
from bramcast.pack.bundle.images import DRIVER_NAMES, DRIVERS
from bramcast.pack.bundle.words import Words
from bramcast.sim.folder.options import HdlOptions
from bramcast.sim.folder.recorded import Recorded

LEDGER_HEADER = "bramcast_ledger.h"


def software_files(
    record: Recorded, images: dict[str, Words], options: HdlOptions
) -> dict[str, bytes]:
    """The C files, by name; with a ledger also the bench's frame and what the ledger then holds."""
    files = {name: (DRIVERS / name).read_bytes() for name in DRIVER_NAMES}
    files[HEADER_NAME] = header_text(images, record.machine.core)
    if options.ledger_depth:
        (entries,) = ledgers(record.machine, record.results)
        text = c_header(record.machine, record.frame, entries)
        files[LEDGER_HEADER] = f"/* SPDX-License-Identifier: Apache-2.0 */\n{text}".encode()
    return files
