"""Stage fetch (data/arguana/dvc.yaml): download the real corpus; an interrupted download goes on where it was."""

import hashlib
import http.client
import logging
import urllib.error
import urllib.request
from pathlib import Path

from counterpoint.core import process
from counterpoint.core.errors import InputError
from counterpoint.core.files import sha256
from counterpoint.core.params_file import load_params

TARGET = Path("arguana-counterargs-corpus.zip")
SECONDS = 30  # without a byte, until the server counts as gone


def main() -> None:
    params = load_params(Path(__file__).parent.parent / "params.yaml").fetch
    if params.url is None:
        raise InputError(
            "params.yaml: fetch.url must be the address of the corpus zip (https:, or file: for a local copy); got none"
        )
    fetch(params.url, params.sha256, TARGET)


def fetch(url: str, expected: str | None, target: Path) -> None:
    """Download url to target by way of a .part of its own, which a later call continues.

    Raises InputError where it cannot be had, or its sha256 is not the expected one (None = any).
    """
    part = target.with_name(f"{target.name}.{hashlib.sha256(url.encode()).hexdigest()[:8]}.part")
    try:
        _download(url, part)
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise InputError(f"fetch.url: {url} cannot be fetched ({reason}); what has come is kept, run again to go on") from None
    found = sha256(part)
    if expected is not None and found != expected.lower():
        part.unlink()
        raise InputError(f"fetch.sha256: {url} must have {expected}; got {found}")
    part.replace(target)
    logging.info("%s: %d bytes, sha256 %s", target, target.stat().st_size, found)


def _download(url: str, part: Path) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{have}":
            return  # nothing is left to ask for
        if error.code == 416:
            part.unlink()
        raise
    with response:
        goes_on = response.status == 206  # None for file:, 200 where the server sends all of it again
        expected = int(response.headers["Content-Length"]) if response.headers["Content-Length"] else None
        with part.open("ab" if goes_on else "wb") as stream:
            got = 0
            while block := response.read(2**20):
                stream.write(block)
                got += len(block)
    if expected is not None and got < expected:
        raise OSError(f"{got} of {expected} bytes came")


if __name__ == "__main__":
    process.run(main)
