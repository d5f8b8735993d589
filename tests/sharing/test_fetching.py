"""Files are fetched over HTTP and from Google Drive, and packages from the Hub."""

import hashlib
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from command_lines import call
from huggingface_hub import constants

from torchreid_vi import InputError
from torchreid_vi.models import read_checkpoint
from torchreid_vi.sharing import CARD, MANIFEST, SETTINGS, WEIGHTS, locate


class Site(ThreadingHTTPServer):
    """A server on this machine: ``pages`` by path, each a status, headers and a body; ``asked`` for what came."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages, self.asked = {}, []

    def put(self, path, body=b"", status=200, **headers):
        headers.setdefault("Content-Length", str(len(body)))
        self.pages[path] = status, headers, body
        return f"http://127.0.0.1:{self.server_port}{path}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(f"{self.command} {self.path}")
        status, headers, body = self.server.pages.get(self.path, (404, {"Content-Length": "0"}, b""))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_CONNECT = do_GET

    def log_message(self, *arguments):
        pass


@pytest.fixture
def site():
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def checkpoint(run_of):
    return run_of() / "checkpoints" / "last.pth"


@pytest.mark.parametrize("name", ["last.pth", "weights.safetensors?download=true", "weights"])
def test_a_file_is_fetched_once(site, packaged, checkpoint, cache, caplog, name):
    body = (packaged() / WEIGHTS if "safetensors" in name else checkpoint).read_bytes()
    url = site.put(f"/{name}", body)
    for named in (url, url, f"{url}#sha256={hashlib.sha256(body).hexdigest().upper()}"):
        weights, settings = locate(named)
        assert weights.read_bytes() == body and settings is None
        assert "state_dict" in read_checkpoint(weights)
    assert site.asked == [f"GET /{name}"]
    assert caplog.text.count(f"Fetching {url}") == 1
    assert {path.suffix for path in cache.iterdir()} == {weights.suffix, ".lock"}


def test_another_file_than_expected_is_refused(site, cache):
    url = site.put("/a.pth", b"one")
    with pytest.raises(InputError, match=r"has SHA-256 [0-9a-f]{64}, not the expected one"):
        locate(f"{url}#sha256={'0' * 64}")
    assert not list(cache.glob("*.pth"))
    kept = locate(url).weights
    site.put("/a.pth", b"another")
    assert locate(url).weights.read_bytes() == b"one"  # which is used again
    with pytest.raises(InputError, match="not the expected one"):
        locate(f"{url}#sha256={'0' * 64}")
    assert kept.read_bytes() == b"one"
    pinned = f"{url}#sha256={hashlib.sha256(b'another').hexdigest()}"
    assert locate(pinned).weights.read_bytes() == b"another"
    with pytest.raises(InputError, match="write #sha256= and 64 hexadecimal digits"):
        locate(f"{url}#sha256=12")


def test_what_is_cut_off_or_gone_is_not_used(site, cache):
    cases = {
        "it ended after": site.put("/cut.pth", b"cut", **{"Content-Length": "1000"}),
        r"cannot be fetched \(HTTP Error 404: Not Found\)": site.put("/x", status=404),
        r"cannot be fetched \(.*refused": "http://127.0.0.1:9/a.pth",
    }
    for said, url in cases.items():
        with pytest.raises(InputError, match=said) as refused:
            locate(url)
        assert "\n" not in str(refused.value)
    assert {path.suffix for path in cache.iterdir()} == {".lock"}


def test_an_address_is_encrypted_or_on_this_machine_wherever_it_leads(site):
    for url in (
        "http://example.com/a.pth",
        "ftp://127.0.0.1/a",
        "file:///etc/passwd",
        "http://[",
        "s3://b/k",
    ):
        with pytest.raises(InputError, match="is no address to fetch weights from"):
            locate(url)
    site.put("/a.pth", b"a")
    assert locate(site.put("/here", status=302, Location="/a.pth")).weights.is_file()
    for target in (f"http://0.0.0.0:{site.server_port}/a.pth", "file:///etc/passwd"):  # this machine, unnamed
        with pytest.raises(InputError, match=r"is no address to fetch weights from|is not allowed\): check"):
            locate(site.put("/there", status=302, Location=target))


@pytest.mark.parametrize(
    "link",
    [
        "https://drive.google.com/file/d/1aB_c-9/view?usp=sharing",
        "https://docs.google.com/uc?id=1aB_c-9",
    ],
)
def test_a_link_to_google_drive_goes_to_google_drive(site, monkeypatch, link):
    proxy = f"http://127.0.0.1:{site.server_port}"
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(InputError, match=r"cannot be fetched .*: check the address$"):
        locate(link)
    assert site.asked and {each.split()[1] for each in site.asked} == {"drive.google.com:443"}


def test_every_tool_takes_an_address(site, run_of, checkpoint, roots, tmp_path):
    url = site.put("/a.pth", checkpoint.read_bytes())
    folder = roots / "regdb" / "Visible"
    query = next((roots / "regdb" / "Thermal").rglob("*.*"))
    weights = ["--weights", url, "--settings", run_of() / "config.yaml"]
    searched = call("search.py", *weights, "--query", query, "--gallery", folder, "--top", 2)
    index = tmp_path / "index"
    built = call("index.py", "build", *weights, "--gallery", folder, "--out", index)
    found = call("index.py", "search", "--index", index, "--weights", url, "--query", query, "--top", 2)
    assert not any(done.returncode for done in (searched, built, found))
    out = searched.stdout + built.stdout + found.stdout
    found = re.findall(r"^ +\d+ +([-\d.]+)  .*?([^/\n]+/[^/\n]+)$", out, flags=re.MULTILINE)
    assert len(found) == 4 and found[:2] == found[2:]


def hub(site, folder, commit, name="someone/weights", revisions=("main",)):
    """Serves a repository as the Hub does, as far as files are asked for."""
    for path in folder.iterdir():
        body = path.read_bytes()
        for revision in (*revisions, commit):
            etag = hashlib.sha256(body).hexdigest()
            headers = {"ETag": f'"{etag}"', "X-Repo-Commit": commit}
            site.put(f"/{name}/resolve/{revision}/{path.name}", body, **headers)


def test_the_hub_is_asked_for_the_files_of_one_commit(site, packaged, copied, tmp_path, monkeypatch):
    endpoint = f"http://127.0.0.1:{site.server_port}"  # as HF_ENDPOINT sets it at the library's import
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    hub(site, packaged(), "a" * 40)
    (copied / WEIGHTS).write_bytes(b"\0" * (copied / WEIGHTS).stat().st_size)
    hub(site, copied, "b" * 40, revisions=("v2",))
    (copied / MANIFEST).write_text("{}")
    hub(site, copied, "c" * 40, name="someone/else")
    for named in ("hf://someone/weights", "hf://someone/weights@" + "a" * 40):
        found = locate(named)
        assert found.weights.read_bytes() == (packaged() / WEIGHTS).read_bytes()
        assert found.settings == found.weights.with_name(SETTINGS) and found.weights.parent.name == "a" * 40
    with pytest.raises(InputError, match=rf"someone--weights.*{WEIGHTS} is not what package\.json"):
        locate("hf://someone/weights@v2")
    with pytest.raises(InputError, match=r"someone--else.*package\.json is damaged"):
        locate("hf://someone/else")
    for named in ("hf://nobody/nothing", "hf://someone/weights@v3", "hf://a/b/c/d", "hf://"):
        with pytest.raises(
            InputError, match=r"cannot be fetched \(.*\): check OWNER/NAME@REVISION"
        ) as refused:
            locate(named)
        assert "\n" not in str(refused.value)
    assert not any(CARD in each for each in site.asked)


def test_without_the_hubs_library_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=re.escape('pip install "torchreid_vi[share]"')):
        locate("hf://someone/weights")
