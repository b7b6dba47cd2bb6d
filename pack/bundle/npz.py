# SPDX-License-Identifier: Apache-2.0
"""What can go wrong while an .npz file is read."""

import struct
import tokenize
import zipfile
import zlib

# What numpy, zipfile and zlib raise for files that are cut off or damaged.
READING_FAILS = (
    OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, RuntimeError,
    SyntaxError, MemoryError, OverflowError, struct.error, tokenize.TokenError,
)  # fmt: skip
