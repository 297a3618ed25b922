# SPDX-License-Identifier: Apache-2.0
"""Fetching the libraries that `load_pdk` reads: one Liberty file of standard cells, and one for each SRAM macro.

They are files of IHP's open PDK (Apache-2.0), of one commit, each checked against its SHA-256 sum.
"""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from tqdm import tqdm

from intarsia.download import FetchError, download
from intarsia.errors import IntarsiaError
from intarsia.files import STALE, flush_folder, sha256, sweep
from intarsia.synthesize.pdk import CORNER, NAME, SRAMS, STANDARD_CELLS

_COMMIT = "5cccb161f7492697cfa52eb14dc03beb00bdca9e"
#: Where the files are, under the names that they have in the PDK.
SOURCE = f"https://raw.githubusercontent.com/IHP-GmbH/IHP-Open-PDK/{_COMMIT}"

_SRAM_SUMS = {
    "RM_IHPSG13_1P_1024x16_c2_bm_bist": "af68a5c69ee9210504dc625717ccb6a315a958f0452450536a0c4674266fd691",
    "RM_IHPSG13_1P_1024x32_c2_bm_bist": "4eba4f904ad61e1c0dbb78a6b636e486335be19803370048276438e41a0c26d3",
    "RM_IHPSG13_1P_1024x64_c2_bm_bist": "470dd62e2699d4c3d5b19b5dcba950d0c8544661b22f1f2fe1c8af7efa9348b7",
    "RM_IHPSG13_1P_1024x8_c2_bm_bist": "8bfb43a70f21afc577dead203a9120e869726c6efa1218161c19a7bda89373ef",
    "RM_IHPSG13_1P_2048x64_c2_bm_bist": "9aefb0cb245b15ced86b10401e71bf2002da31c4e1356b23bf6f4c789bee254f",
    "RM_IHPSG13_1P_256x16_c2_bm_bist": "6f4cca1ed508f879a35bdc15a9de2d027f81ec0eeec0d6c8ab27d05f5edad445",
    "RM_IHPSG13_1P_256x32_c2_bm_bist": "5592828b5fbce6d368f870ce725ebe9e14d980061a535604e8ad9ada68b219c6",
    "RM_IHPSG13_1P_256x48_c2_bm_bist": "59039d282bd8120b718877303c6dd4db6e37dd3199f647349862f04269b7a5cc",
    "RM_IHPSG13_1P_256x64_c2_bm_bist": "d117d4d86a07afd2d5302740fef0f9d1a12277490c600e1f1f7ba4633ca6e50a",
    "RM_IHPSG13_1P_256x8_c3_bm_bist": "8f0b8d69cd41c982961d2a5abecfa8e25578d0c0e9ca310855519d63d297ea43",
    "RM_IHPSG13_1P_4096x16_c3_bm_bist": "aac82a09330dafef0c33262590ff42cd220f2e8ce46021d5db21d4eea8dd1994",
    "RM_IHPSG13_1P_4096x8_c3_bm_bist": "1190ed06f3162b7b08bc1d825b20e090f911bac472839c679085d3c42ac56c2f",
    "RM_IHPSG13_1P_512x16_c2_bm_bist": "44c6ff102ab0a3fc8766b92cbb40a9723bac5aa084a00a111a5a70a772d30a1e",
    "RM_IHPSG13_1P_512x32_c2_bm_bist": "1a7409f75c7107385d01f8b2e9cde5d22ee54e1e914643b70e19833e03f3e9b0",
    "RM_IHPSG13_1P_512x64_c2_bm_bist": "1fb769565599938fa7179d4d62f1d49ffd356ef0fdf7277d705ca19486b27b0e",
    "RM_IHPSG13_1P_512x8_c3_bm_bist": "7485e7b3afd6fa07ad8ca89e69157045574451d13e869293f859ca1679409dd7",
    "RM_IHPSG13_1P_64x64_c2_bm_bist": "6064c5909605d9d4242df1ab3043598e558951122d210c18f12f1ab15badd044",
    "RM_IHPSG13_1P_8192x32_c4": "04cf6164abfe145e39712e2606c8b2f5cbb4dc60c472dfc021025db3d96d8250",
    "RM_IHPSG13_2P_1024x16_c2_bm_bist": "bd6702406ba76f4aa818958fc18edf4cc78cf9b23ecd73a8823757341e0eb41f",
    "RM_IHPSG13_2P_1024x32_c2_bm_bist": "148c9973b2ddc387e312e2e0f03f388596f1c732524edc9d5d592161f91849d9",
    "RM_IHPSG13_2P_256x16_c2_bm_bist": "491d34328c5b4225277ccb72f1c254ba34e1f18eb1664ace80c890376cf83c23",
    "RM_IHPSG13_2P_256x32_c2_bm_bist": "67b6fbd1ac03377513e68de93d1658a22a57bba14dc2a78d230109661b1d3960",
    "RM_IHPSG13_2P_256x8_c2_bm_bist": "67c6f51042d5f2c9b498d45869bd3b520ed395fbb8d32f2ad8b57fa0a94e5055",
    "RM_IHPSG13_2P_512x16_c2_bm_bist": "3ddc35359562fcb80b98d8dd9a693c82bd9266c984465a6eee3e76238b79cd83",
    "RM_IHPSG13_2P_512x32_c2_bm_bist": "e876e2d0ad1a1a70edc8229783d699453d281d29478ba0ddb05daadad6eeb83d",
    "RM_IHPSG13_2P_512x8_c2_bm_bist": "1f8b2325dd8ea1d463993486695e825620d245e6d8174084211ea6a50236ad99",
    "RM_IHPSG13_2P_64x22_c2": "da9b3f3c32909b7fa5735430f2d07d4da2dcba98fdcb0196404d4b658bc4a6a1",
    "RM_IHPSG13_2P_64x32_c2": "1185e854c05d2f8019aea32b8f0867ee747ac5b58b599b18d3ae7cfb615eecd4",
}
#: SHA-256 sums of the files, by their paths under the root of the PDK.
LIBRARIES: Mapping[str, str] = MappingProxyType(
    {
        STANDARD_CELLS: "7677a8918689f452e80405ad16a83e744709342574f2aedcc507c2758986b396",
        **{f"{SRAMS}/{name}{CORNER}": checksum for name, checksum in _SRAM_SUMS.items()},
    }
)


def fetch_pdk(
    folder: Path, *, source: str = SOURCE, libraries: Mapping[str, str] = LIBRARIES, progress: bool = False
) -> None:
    """Fetch the libraries into `folder`, which `load_pdk` then takes as root; what is there already is only checked.

    They appear all together or not at all: an interrupted call leaves nothing, and the next one starts again.

    Args:
        folder: the root, made when missing.
        source: http or https address of the PDK's root.
        libraries: SHA-256 sum of each file, by its path under the root.
        progress: show a bar.

    Raises:
        FetchError: the server cannot be reached, refuses, or sends another file.
        IntarsiaError: other libraries are there already, or the folder cannot be written.
    """
    if (folder / NAME).exists():
        _require_same(folder, libraries)
        return
    with _made_if_filled(folder), tempfile.TemporaryDirectory(prefix=f".{NAME}-", dir=folder) as scratch:
        for name in tqdm(libraries, unit="file", desc="PDK", disable=not progress):
            _fetch(f"{source}/{name}", Path(scratch) / name, libraries[name])
        _put(Path(scratch) / NAME, folder, libraries)


def _fetch(url: str, target: Path, checksum: str) -> None:
    try:
        download(url, target, checksum)
    except FetchError as error:
        reason = str(error).rsplit(";", 1)[0]
        remedy = "try again with a network, or give the folder of an installed IHP-Open-PDK with PDK_ROOT"
        raise FetchError(f"the libraries cannot be fetched: {reason}; {remedy}.") from error


def _put(made: Path, folder: Path, libraries: Mapping[str, str]) -> None:
    """Let the fetched libraries appear; another process may have been faster."""
    try:
        made.rename(folder / NAME)
    except OSError as error:
        if not (folder / NAME).exists():
            raise IntarsiaError(f"cannot write {folder}: {error.strerror}; choose another folder.") from error
        _require_same(folder, libraries)
    flush_folder(folder)


def _require_same(folder: Path, libraries: Mapping[str, str]) -> None:
    """Refuse a folder whose libraries are others: they are not ours to replace.

    Raises:
        IntarsiaError: names the first that differs.
    """
    for name, checksum in libraries.items():
        try:
            found = sha256(folder / name)
        except OSError:
            found = ""
        if found != checksum:
            what = "is another version" if found else "is missing"
            raise IntarsiaError(
                f"{folder / NAME} is there already, but {Path(name).name} in it {what}; move it away or choose "
                "another folder."
            )


@contextlib.contextmanager
def _made_if_filled(folder: Path) -> Iterator[None]:
    """Make a folder for what the block puts there, and take it away again if that is nothing.

    Raises:
        IntarsiaError: it cannot be made or written.
    """
    missing = [path for path in (folder, *folder.absolute().parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder.glob(f".{NAME}-*"), older_than=STALE)
        yield
    except OSError as error:
        raise IntarsiaError(f"cannot write {folder}: {error.strerror or error}; choose another folder.") from error
    finally:
        for path in missing:
            with contextlib.suppress(OSError):  # it is not empty, or was not made
                path.rmdir()
