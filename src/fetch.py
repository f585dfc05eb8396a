"""Stage fetch (data/arguana/dvc.yaml): download the real corpus; a second run continues an interrupted download."""

import hashlib
import http.client
import logging
import urllib.error
import urllib.request
from pathlib import Path

from counterpoint.core import process
from counterpoint.core.errors import InputError
from counterpoint.core.files import sha256
from counterpoint.core.params import load_params

TARGET = Path("arguana-counterargs-corpus.zip")
SECONDS = 30  # without a byte, before the download fails


def main() -> None:
    """Download the corpus that `fetch.url` names into the working directory."""
    params = load_params(Path(__file__).parent.parent / "params.yaml").fetch
    if params.url is None:
        raise InputError(
            "params.yaml: fetch.url must be the address of the corpus zip (https:, or file: for a local copy); got none"
        )
    fetch(params.url, params.sha256, TARGET)


def fetch(url: str, expected: str | None, target: Path) -> None:
    """Download `url` to `target`, through a .part file of this address, which a later call continues.

    Raise InputError where the download fails, or where its sha256 is not the expected one (None = any).
    """
    part = target.with_name(f"{target.name}.{hashlib.sha256(url.encode()).hexdigest()[:8]}.part")
    try:
        _download(url, part)
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise InputError(f"fetch.url: {url} cannot be fetched ({reason}); run again to continue the download") from None
    actual = sha256(part)
    if expected is not None and actual != expected.lower():
        part.unlink()
        raise InputError(f"fetch.sha256: {url} must have {expected}; got {actual}")
    part.replace(target)
    logging.info("%s: %d bytes, sha256 %s", target, target.stat().st_size, actual)


def _download(url: str, part: Path) -> None:
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{start}":
            return  # the part is complete
        if error.code == 416:
            part.unlink()
        raise
    with response:
        continues = response.status == 206  # None for file:, 200 where the server sends the whole file again
        expected = int(response.headers["Content-Length"]) if response.headers["Content-Length"] else None
        with part.open("ab" if continues else "wb") as stream:
            received = 0
            while block := response.read(2**20):
                received += stream.write(block)
    if expected is not None and received < expected:
        raise OSError(f"received {received} of {expected} bytes")


if __name__ == "__main__":
    process.run(main)
