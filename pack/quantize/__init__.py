# SPDX-License-Identifier: Apache-2.0
"""Formats for tensors, integers for weights."""
