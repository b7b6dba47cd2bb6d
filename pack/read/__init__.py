# SPDX-License-Identifier: Apache-2.0
"""Networks from disk: checkpoints, model.py, ONNX, .pt2, bare state dicts. Imports torch."""
