# SPDX-License-Identifier: Apache-2.0
"""Operations as loop nests, tensors as words of the scratchpad, weights as words of the images."""
