# SPDX-License-Identifier: Apache-2.0
"""The .npz files of samples."""
