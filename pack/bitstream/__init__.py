# SPDX-License-Identifier: Apache-2.0
"""A bundle's images into the block RAMs of a finished bitstream."""
