# SPDX-License-Identifier: Apache-2.0
"""Builds and runs the HDL with Icarus or Verilator, and compares it with golden."""
