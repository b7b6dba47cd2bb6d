# SPDX-License-Identifier: Apache-2.0
"""Formats of image files: one file for each family, and the table that names them all."""
