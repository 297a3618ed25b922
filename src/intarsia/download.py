# SPDX-License-Identifier: Apache-2.0
"""Downloading a file so that it can be interrupted and damage is noticed."""

import http.client
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from intarsia.errors import IntarsiaError
from intarsia.files import sha256

_CHUNK = 1 << 18
_TRIES = 4


class FetchError(IntarsiaError):
    """A source could not be reached or did not give what it should; another source may."""


def download(url: str, target: Path, checksum: str, *, progress: bool = False, timeout: float = 20.0) -> None:
    """Download `url` to `target`, going on where an earlier attempt stopped.

    Bytes arrive in `target` with `.part` appended, which becomes `target` only once its SHA-256 sum is
    `checksum`. A broken connection is taken up again (HTTP Range) up to three times; what has arrived stays
    for the next call.

    Args:
        url: http or https.
        target: where the complete file goes; its folder is made.
        checksum: SHA-256, hexadecimal.
        progress: show a bar.
        timeout: seconds without a byte before the connection counts as broken.

    Raises:
        FetchError: the server cannot be reached, refuses, keeps breaking off, or sends another file.
        IntarsiaError: the folder cannot be written or the disk is full.
    """
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
    except OSError as error:
        raise IntarsiaError(f"cannot write {part}: {error.strerror}; choose a writable folder.") from error
    reason = ""
    for _ in range(_TRIES):
        try:
            if _continue(url, part, progress, timeout):
                break
            reason = "the connection broke off"
        except urllib.error.HTTPError as error:
            raise FetchError(f"{url} answers {error.code} {error.reason}; try again later.") from error
        except urllib.error.URLError as error:
            reason = str(error.reason)
        except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
            reason = str(error) or type(error).__name__
    else:
        if part.stat().st_size == 0:
            part.unlink()
        raise FetchError(f"cannot download {url}: {reason}; check the network and try again.")
    found = sha256(part)
    if found != checksum:
        part.unlink()
        raise FetchError(f"{url} sent a file with SHA-256 {found[:16]}… instead of {checksum[:16]}…; try again.")
    part.replace(target)


def _continue(url: str, part: Path, progress: bool, timeout: float) -> bool:
    """Append what is missing to `part`; return whether the whole file has arrived."""
    have = part.stat().st_size
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310 (own URL)
    try:
        reply = urllib.request.urlopen(request, timeout=timeout)  # noqa: S310 (own URL)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            return True  # nothing is left to send: the checksum decides
        raise
    with reply:
        resumed = reply.status == http.HTTPStatus.PARTIAL_CONTENT
        if not resumed:
            have = 0
        length = reply.headers.get("Content-Length")
        total = have + int(length) if length else None
        with (
            part.open("ab" if resumed else "wb") as file,
            tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=part.stem, disable=not progress) as bar,
        ):
            while chunk := reply.read(_CHUNK):
                try:
                    file.write(chunk)
                except OSError as error:
                    raise IntarsiaError(
                        f"cannot write {part}: {error.strerror}; free some space and try again."
                    ) from error
                bar.update(len(chunk))
    return total is None or part.stat().st_size >= total
