# SPDX-License-Identifier: Apache-2.0
"""The chip against golden, layer by layer."""
