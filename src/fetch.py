"""Stage fetch (data/arguana/dvc.yaml): download the real corpus; a second run continues an interrupted download."""

import hashlib
import http.client
import logging
import urllib.error
import urllib.request
from pathlib import Path

from counterpoint.core import process
from counterpoint.core.errors import InputError
from counterpoint.core.files import sha256, write_text
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

    The .part is continued only where the server still has the same file, by its ETag or date in a file beside it. Raise
    InputError where the download fails, or where its sha256 is not the expected one (None = any).
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
        _tag(part).unlink(missing_ok=True)
        raise InputError(f"fetch.sha256: {url} must have {expected}; got {actual}")
    part.replace(target)
    _tag(part).unlink(missing_ok=True)
    logging.info("%s: %d bytes, sha256 %s", target, target.stat().st_size, actual)


def _download(url: str, part: Path) -> None:
    tag = _tag(part).read_text(encoding="utf-8") if part.exists() and _tag(part).exists() else ""
    start = part.stat().st_size if tag else 0  # without a tag the rest may be that of another file
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-", "If-Range": tag} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{start}":
            return  # the part is complete
        if error.code == 416:
            part.unlink()
        raise
    with response:
        continues = response.status == 206  # None for file:, 200 where the server sends the whole file, perhaps another
        expected = int(response.headers["Content-Length"]) if response.headers["Content-Length"] else None
        if not continues:
            _keep_tag(part, response.headers)
        with part.open("ab" if continues else "wb") as stream:
            received = 0
            while block := response.read(2**20):
                received += stream.write(block)
    if expected is not None and received < expected:
        raise OSError(f"received {received} of {expected} bytes")


def _tag(part: Path) -> Path:
    return part.with_suffix(".tag")


def _keep_tag(part: Path, headers: http.client.HTTPMessage) -> None:
    """Keep what names the server's file: a strong ETag, else its date; nothing where it sends neither."""
    part.unlink(missing_ok=True)
    tag = headers["ETag"] or ""
    write_text(_tag(part), headers["Last-Modified"] or "" if tag.startswith("W/") or not tag else tag)


if __name__ == "__main__":
    process.run(main)
