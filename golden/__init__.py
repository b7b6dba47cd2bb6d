# SPDX-License-Identifier: Apache-2.0
"""The integer machine that executes a bundle's images, address by address, as the core does."""
