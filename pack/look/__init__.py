# SPDX-License-Identifier: Apache-2.0
"""Looks into networks' files and takes tensors out of them."""
