# SPDX-License-Identifier: Apache-2.0
"""Activations: their formulas, and one table of what each is called by whom."""
