# SPDX-License-Identifier: Apache-2.0
"""Rewrites: each takes a graph to one that computes the same in fewer or cheaper operations."""
