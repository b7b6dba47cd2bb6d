# SPDX-License-Identifier: Apache-2.0
"""The recipe: the TOML file that says what to pack, how, and for which core."""
