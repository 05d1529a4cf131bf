"""Downloads from a server of this machine: what is not the file that was asked for is refused, and nothing is left."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from focalnet_d2.model_zoo.download import WebRedirects, download
from focalnet_d2.model_zoo.files import fetch_weights
from focalnet_d2.model_zoo.weights import Mirror, WeightFile

CONTENT = b"PK\x03\x04" + bytes(range(256)) * 20
DIGEST = hashlib.sha256(CONTENT).hexdigest()

Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture
def server(tmp_path, monkeypatch) -> Iterator[Callable[..., str]]:
    """Makes addresses with a fixed answer: `server(CONTENT, status=200, **headers)` is the address."""
    answers: dict[str, Answer] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answers[self.path]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def address(body: bytes = CONTENT, status: int = 200, **headers: str | None) -> str:
        path = f"/{len(answers)}/model.pth"
        named = {"Content_Length": str(len(body)), **headers}
        answers[path] = (status, {name: value for name, value in named.items() if value is not None}, body)
        return f"http://127.0.0.1:{http.server_port}{path}"

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for variable in ("XDG_CACHE_HOME", "FOCALNET_D2_WEIGHTS"):
        monkeypatch.delenv(variable, raising=False)
    yield address
    http.shutdown()
    http.server_close()


def refused(mirror: Mirror, folder: Path) -> str:
    with pytest.raises((ValueError, OSError)) as error:
        download(mirror, folder / "model.pth")
    assert list(folder.glob("*model*")) == []
    return str(error.value)


@pytest.mark.parametrize("digest", [None, DIGEST, DIGEST.upper()])
@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_a_right_file_is_kept(server, tmp_path, digest, size):
    path = download(Mirror(server(), digest, size), tmp_path / "model.pth")
    assert path.read_bytes() == CONTENT


def test_another_size_than_stated_is_refused_before_and_while_it_is_read(server, tmp_path):
    for size in (len(CONTENT) - 1, len(CONTENT) + 1):
        assert f"{len(CONTENT)} bytes instead of {size}" in refused(Mirror(server(), size=size), tmp_path)
    unannounced = server(Content_Length=None)
    assert "bytes and more instead of 10" in refused(Mirror(unannounced, size=10), tmp_path)
    rounded = Mirror(server(), size=5000, size_tolerance=500)
    assert download(rounded, tmp_path / "model.pth").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("body", "headers", "words"),
    [
        (b"", {}, "empty"),
        (CONTENT, {"Content_Type": "text/html; charset=utf-8"}, "a page (text/html)"),
        (CONTENT, {"Content_Type": "application/json"}, "a page (application/json)"),
        (b"\n <!DOCTYPE html><title>Sign in</title>", {}, "a page"),
        (b"<HTML>", {"Content_Type": "application/octet-stream"}, "a page"),
        (b"<?xml version='1.0'?><Error><Code>PublicAccessNotPermitted</Code></Error>", {}, "a page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", {}, "a page"),
        (CONTENT, {"Content_Encoding": "gzip"}, "packed (gzip)"),
        (CONTENT, {"Content_Length": str(len(CONTENT) + 5)}, f"after {len(CONTENT)} of {len(CONTENT) + 5} bytes"),
        (CONTENT, {"Content_Length": "many"}, "many"),
    ],
)
def test_what_is_no_file_is_refused(server, tmp_path, body, headers, words):
    assert words in refused(Mirror(server(body, **headers)), tmp_path)


def test_a_wrong_digest_is_refused(server, tmp_path):
    assert f"sha256 {DIGEST} instead of {'0' * 64}" in refused(Mirror(server(), "0" * 64), tmp_path)


@pytest.mark.parametrize("status", [301, 302, 303, 307])
def test_redirects_lead_to_web_addresses_only(server, tmp_path, status):
    right = server(b"", status, Location=server())
    assert download(Mirror(right, DIGEST), tmp_path / "model.pth").read_bytes() == CONTENT
    (tmp_path / "model.pth").unlink()
    (tmp_path / "secret").write_bytes(CONTENT)
    for place in ("ftp://127.0.0.1:9/model.pth", (tmp_path / "secret").as_uri()):
        assert place in refused(Mirror(server(b"", status, Location=place)), tmp_path)


def test_the_handler_refuses_what_urllib_would_follow():
    with pytest.raises(ValueError, match="leads to ftp://host/model.pth"):
        WebRedirects().redirect_request(None, None, 302, "", None, "ftp://host/model.pth")


def test_a_second_address_is_tried_after_a_page(server, tmp_path):
    page, right = server(b"<html>", Content_Type="text/html"), server()
    file = WeightFile("model.pth", "a model", "MIT", (Mirror(page), Mirror(right, DIGEST)))
    assert fetch_weights(file, tmp_path / "here").read_bytes() == CONTENT


@pytest.mark.parametrize("digest", [DIGEST, DIGEST.upper()])
def test_a_local_file_is_compared_with_the_known_digest(tmp_path, digest):
    path = tmp_path / "model.pth"
    path.write_bytes(CONTENT)
    file = WeightFile("model.pth", "a model", "MIT", (Mirror("https://first.example/model.pth"),), sha256=digest)
    assert fetch_weights(file, tmp_path) == path
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(ValueError, match=rf"model\.pth has sha256 .* instead of {DIGEST}: it is damaged"):
        fetch_weights(file, tmp_path)
    assert path.read_bytes() == CONTENT[:-1]
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"model\.pth is empty"):
        fetch_weights(file, tmp_path)


def test_a_local_file_other_than_the_one_known_copy_is_taken_with_a_warning(tmp_path, caplog):
    (tmp_path / "model.pth").write_bytes(CONTENT)
    mirrors = (Mirror("https://first.example/model.pth", "0" * 64), Mirror("https://second.example/model.pth"))
    assert fetch_weights(WeightFile("model.pth", "a model", "MIT", mirrors), tmp_path) == tmp_path / "model.pth"
    assert f"sha256 {DIGEST} instead of {'0' * 64}" in caplog.text


def test_the_cache_is_made_for_its_user_alone(server, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fetch_weights(WeightFile("model.pth", "a model", "MIT", (Mirror(server()),)))
    assert (tmp_path / "cache" / "focalnet_d2").stat().st_mode & 0o777 == 0o700
