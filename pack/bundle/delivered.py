# SPDX-License-Identifier: Apache-2.0
"""Whether the files of a bundle are, byte for byte, the ones that were packed."""

import hashlib
import stat
from pathlib import Path

from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.float_results import FLOAT_RESULTS_NAME
from bramcast.pack.bundle.formats.text import read_source
from bramcast.pack.bundle.manifest import MANIFEST_NAME, Manifest, as_written


def _sums(bundle: Path, manifest: Manifest) -> dict[str, str]:
    """SHA-256 of each file that a bundle's manifest lists, by name.

    Raises:
        InputError: a name that is no file of the folder.
    """
    found = {file: digest for image in manifest.images for file, digest in image.files.items()}
    if manifest.float_results is not None:
        found[FLOAT_RESULTS_NAME] = manifest.float_results
    strange = next((file for file in found if file in (".", "..") or Path(file).name != file), None)
    if strange is not None:
        place = bundle / MANIFEST_NAME
        raise InputError(f"{place}: images: files: {strange!r} is no file of the bundle")
    return found


def verify_delivered(bundle: Path, manifest: Manifest) -> None:
    """Compare all files of a bundle with its manifest, and the manifest with its own sum.

    A file that is not there is not missed: the images alone can be mailed. Nor is the sum of a
    manifest that has none, as those of older versions.

    Raises:
        InputError: names the first file that is another one.
    """
    for file, recorded in _sums(bundle, manifest).items():
        path = bundle / file
        if not path.exists() or _file_sum(path) == recorded:
            continue
        fate = (
            "delete it: nothing but the judgement needs it"
            if file == FLOAT_RESULTS_NAME
            else "pass --allow-modified to go on with it as it is"
        )
        raise InputError(
            f"{path}: differs from what was packed (SHA-256 does not match {MANIFEST_NAME}); "
            f"repack, or {fate}; 'bramcast images {bundle}' shows what differs"
        )
    path = bundle / MANIFEST_NAME
    if not as_written(read_source(path).raw, manifest):
        raise InputError(
            f"{path}: differs from what was packed (its last line is the SHA-256 of the others); "
            "repack, or pass --allow-modified to go on with it as it is"
        )


def _file_sum(path: Path) -> str:
    """SHA-256 of a file of any size: some forms take many times an image's bits.

    Raises:
        InputError: it can't be read, or is a device, which may have no end.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{path}: not a regular file")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None


def absent(bundle: Path, manifest: Manifest) -> list[str]:
    """Files that a manifest lists for its images and that are not in the folder."""
    files = [file for image in manifest.images for file in image.files]
    return [file for file in files if not (bundle / file).exists()]
