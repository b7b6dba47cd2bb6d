# SPDX-License-Identifier: Apache-2.0
"""How much the machine takes at once; results don't depend on it."""

CHUNK_BYTES = 1 << 22  # scratchpads of one chunk of samples
BLOCK_BYTES = 1 << 21  # intermediate arrays of one block of pixels
MAX_CHUNK = 512  # samples
CACHED_ENTRIES = 1 << 23  # gather indices and weights that are kept ready, per machine
TAPS_AT_ONCE = 1 << 12
KEPT_CHUNKS = 2  # numbers of samples whose steps are kept
