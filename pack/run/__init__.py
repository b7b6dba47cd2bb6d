# SPDX-License-Identifier: Apache-2.0
"""Runs a graph in real numbers and in integers: calibration, scores, refinement. Imports torch."""
