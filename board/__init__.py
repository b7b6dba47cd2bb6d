# SPDX-License-Identifier: Apache-2.0
"""The host's end of a serial line with a core behind it."""
