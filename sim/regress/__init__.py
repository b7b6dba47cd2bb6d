# SPDX-License-Identifier: Apache-2.0
"""Whether retrained images are a drop-in for the old ones."""
