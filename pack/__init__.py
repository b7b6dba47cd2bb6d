# SPDX-License-Identifier: Apache-2.0
"""checkpoint -> graph -> folded -> quantized -> descriptors and words -> bundle."""
