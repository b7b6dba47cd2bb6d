# SPDX-License-Identifier: Apache-2.0
"""The contract between packing and hardware: words, Q formats, program, manifest, images and the
folder on disk. Needs numpy and pydantic alone.
"""
