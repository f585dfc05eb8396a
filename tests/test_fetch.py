import hashlib
import http.server
import threading

import pytest

from counterpoint.core.errors import InputError
from fetch import fetch

DATA = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(DATA).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves DATA; cut_at ends the next response after that many bytes; ranges: whether it supports Range; tags are headers."""

    cut_at, ranges, requested, data, tags = None, True, (), DATA, {"ETag": '"one"'}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        wanted = self.headers.get("Range")
        self.server.requested += (wanted,)
        same = self.headers.get("If-Range") in (None, *self.server.tags.values())  # None: it sends the range of whatever it has
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.server.ranges and same else 0
        data = self.server.data
        if self.path.partition("?")[0] != "/corpus.zip":
            return self.send_error(404)
        if start >= len(data):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            return self.end_headers()
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        for name, value in self.server.tags.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[start : self.server.cut_at])
        self.server.cut_at = None

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = Server(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{server.server_port}/corpus.zip"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_corpus_is_fetched_and_checked(server, tmp_path):
    fetch(server.url, SHA256.upper(), tmp_path / "x.zip")
    assert (tmp_path / "x.zip").read_bytes() == DATA
    assert list(tmp_path.iterdir()) == [tmp_path / "x.zip"]


@pytest.mark.parametrize("ranges", [True, False])
def test_an_interrupted_download_is_continued(server, tmp_path, ranges):
    server.cut_at, server.ranges = 100_000, ranges
    with pytest.raises(InputError, match=r"received 100000 of 512000 bytes.*run again to continue the download"):
        fetch(server.url, SHA256, tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()
    fetch(server.url, SHA256, tmp_path / "x.zip")
    assert (tmp_path / "x.zip").read_bytes() == DATA
    assert server.requested == (None, "bytes=100000-")


@pytest.mark.parametrize("tags", [{"ETag": '"two"'}, {"Last-Modified": "Sat, 28 Nov 2026 20:00:00 GMT"}])
def test_a_file_that_has_changed_meanwhile_is_downloaded_anew(server, tmp_path, tags):
    server.cut_at = 100_000
    with pytest.raises(InputError, match="run again to continue"):
        fetch(server.url, None, tmp_path / "x.zip")
    server.data, server.tags = DATA[::-1], tags
    fetch(server.url, None, tmp_path / "x.zip")
    assert (tmp_path / "x.zip").read_bytes() == DATA[::-1]


@pytest.mark.parametrize("tags", [{}, {"ETag": 'W/"one"'}])
def test_a_server_that_does_not_name_its_file_is_asked_anew(server, tmp_path, tags):
    server.cut_at, server.tags = 100_000, tags
    with pytest.raises(InputError, match="run again to continue"):
        fetch(server.url, None, tmp_path / "x.zip")
    fetch(server.url, SHA256, tmp_path / "x.zip")
    assert server.requested == (None, None)


@pytest.mark.parametrize("tags", [{"Last-Modified": "Sat, 28 Nov 2026 20:00:00 GMT"}])
def test_a_date_serves_as_well_as_an_etag(server, tmp_path, tags):
    server.cut_at, server.tags = 100_000, tags
    with pytest.raises(InputError, match="run again to continue"):
        fetch(server.url, None, tmp_path / "x.zip")
    fetch(server.url, SHA256, tmp_path / "x.zip")
    assert server.requested == (None, "bytes=100000-")


def test_a_complete_part_is_not_downloaded_again(server, tmp_path):
    fetch(server.url, SHA256, tmp_path / "x.zip")
    part = hashlib.sha256(server.url.encode()).hexdigest()[:8]
    (tmp_path / "x.zip").rename(tmp_path / f"x.zip.{part}.part")
    (tmp_path / f"x.zip.{part}.tag").write_text('"one"')
    fetch(server.url, SHA256, tmp_path / "x.zip")
    assert (tmp_path / "x.zip").read_bytes() == DATA
    assert server.requested == (None, f"bytes={len(DATA)}-")


def test_a_part_of_one_address_is_not_continued_from_another(server, tmp_path):
    server.cut_at = 100_000
    with pytest.raises(InputError, match="run again to continue"):
        fetch(server.url + "?a", None, tmp_path / "x.zip")
    fetch(server.url, None, tmp_path / "x.zip")
    assert (tmp_path / "x.zip").read_bytes() == DATA


def test_a_wrong_file_is_refused_and_not_kept(server, tmp_path):
    with pytest.raises(InputError, match=f"must have {'0' * 64}; got {SHA256}"):
        fetch(server.url, "0" * 64, tmp_path / "x.zip")
    assert list(tmp_path.iterdir()) == []


def test_a_local_copy_serves_as_well(tmp_path):
    (tmp_path / "copy.zip").write_bytes(DATA)
    fetch((tmp_path / "copy.zip").as_uri(), None, tmp_path / "x.zip")
    assert (tmp_path / "x.zip").read_bytes() == DATA


@pytest.mark.parametrize("path", ["http://127.0.0.1:9/x.zip", "file:///nowhere/x.zip", "no address", "ftp:x", "http://[x"])
def test_a_failed_download_is_an_error_of_one_line(tmp_path, path):
    with pytest.raises(InputError, match=r"^fetch.url: .* cannot be fetched \(") as refused:
        fetch(path, None, tmp_path / "x.zip")
    assert "\n" not in str(refused.value)


def test_an_unknown_page_is_an_error_of_one_line(server, tmp_path):
    with pytest.raises(InputError, match=r"cannot be fetched .*Not Found"):
        fetch(server.url + "x", None, tmp_path / "x.zip")
