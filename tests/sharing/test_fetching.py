"""What is fetched: archives over HTTP, Google Drive and the Hub, and nothing hostile."""

import hashlib
import io
import re
import stat
import sys
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from command_lines import call
from huggingface_hub import constants
from sharing_helpers import rewritten

from torchreid_vi import FeatureExtractor, InputError
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


def archive(folder, kind="zip", top=""):
    """A package as bytes of an archive."""
    buffer = io.BytesIO()
    paths = {f"{top}{path.name}": path for path in sorted(folder.iterdir())}
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as content:
            for name, path in paths.items():
                content.write(path, name)
    else:
        with tarfile.open(fileobj=buffer, mode=f"w:{kind.partition('.')[2]}") as content:
            for name, path in paths.items():
                content.add(path, name)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "top"), [("zip", ""), ("zip", "shared/"), ("tar", "./"), ("tar.gz", "a/b/"), ("tar.bz2", "")]
)
def test_an_archive_is_fetched_once(site, packaged, cache, capsys, kind, top):
    body = archive(packaged(), kind, top)
    url = site.put(f"/shared.{kind}", body)
    for named in (url, url, f"{url}#sha256={hashlib.sha256(body).hexdigest()}"):
        for name, path in zip((WEIGHTS, SETTINGS), locate(named), strict=True):
            assert path.name == name and path.read_bytes() == (packaged() / name).read_bytes()
    assert site.asked == [f"GET /shared.{kind}"]
    assert capsys.readouterr().err.count(f"=> Fetching {url}") == 1
    folder = locate(url).weights.parent
    assert folder.name == hashlib.sha256(body).hexdigest()
    assert {path.name for path in folder.iterdir()} == {SETTINGS, WEIGHTS, MANIFEST}
    assert not list(cache.glob(".*"))


def test_compression_that_asks_for_as_much_memory_as_it_says_is_refused(site, packaged):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as content:
        content.write(packaged() / MANIFEST, MANIFEST)
    for said, body in {
        "compressed in an unusual way": buffer.getvalue(),
        "plain or compressed by gzip or bzip2": archive(packaged(), "tar.xz"),
    }.items():
        with pytest.raises(InputError, match=said):
            locate(site.put("/shared", body))


def test_what_was_found_stays_when_something_else_lies_there(site, copied):
    first = archive(copied)
    url = site.put("/a.zip", first)
    found = locate(url).settings
    before = found.read_bytes()
    (copied / SETTINGS).write_bytes(before + b"# changed\n")
    rewritten(copied)
    second = archive(copied)
    site.put("/a.zip", second)
    assert locate(url).settings == found  # which is used again
    other = locate(f"{url}#sha256={hashlib.sha256(second).hexdigest()}").settings
    assert other != found and other.read_bytes() == before + b"# changed\n" and found.read_bytes() == before
    assert locate(f"{url}#sha256={hashlib.sha256(first).hexdigest()}").settings == found
    assert len(site.asked) == 2


def test_what_was_damaged_in_the_cache_is_fetched_again(site, packaged):
    url = site.put("/a.zip", archive(packaged()))
    locate(url).weights.write_bytes(b"damaged")
    assert locate(url).weights.read_bytes() == (packaged() / WEIGHTS).read_bytes()
    assert site.asked == ["GET /a.zip"] * 2


def test_a_note_that_is_no_text_is_written_anew(site, packaged, cache):
    url = site.put("/a.zip", archive(packaged()))
    locate(url)
    (note,) = cache.glob("*.txt")
    kept = note.read_bytes()
    note.write_bytes(b"\xff\xfe")
    assert locate(url).weights.is_file() and note.read_bytes() == kept
    assert site.asked == ["GET /a.zip"] * 2


def test_another_archive_than_asked_for_is_refused(site, packaged, cache):
    body = archive(packaged())
    url = site.put("/a.zip", body)
    with pytest.raises(InputError, match=r"has SHA-256 [0-9a-f]{64}, and not the one that was asked for"):
        locate(f"{url}#sha256={'0' * 64}")
    assert [path for path in cache.iterdir() if path.is_dir()] == []
    locate(url)
    with pytest.raises(InputError, match="not the one that was asked for"):
        locate(f"{url}#sha256={'0' * 64}")
    assert locate(f"{url}#sha256={hashlib.sha256(body).hexdigest().upper()}").weights.is_file()
    for fragment in ("sha256=12", "md5=" + "0" * 32, "part"):
        with pytest.raises(InputError, match="write #sha256= and 64 hexadecimal digits"):
            locate(f"{url}#{fragment}")


def test_what_is_cut_off_changed_or_gone_is_not_used(site, copied, cache):
    whole = archive(copied)
    changed = (copied / WEIGHTS).read_bytes()
    (copied / WEIGHTS).write_bytes(changed[:-1] + bytes([changed[-1] ^ 1]))
    cases = {
        "it ended after": site.put("/cut.zip", whole[:-1000], **{"Content-Length": str(len(whole))}),
        "is damaged: get it again|neither a zip nor a tar": site.put("/short.zip", whole[: len(whole) // 2]),
        "model.safetensors of http.* is not what": site.put("/changed.zip", archive(copied)),
        r"cannot be fetched \(HTTP Error 404: Not Found\)": site.put("/x", status=404),
        "larger than 4 GiB": site.put("/large.zip", b"", **{"Content-Length": str(5 * 2**30)}),
        "neither a zip nor a tar archive": site.put("/page", b"<html>Please sign in</html>"),
        r"cannot be fetched \(.*refused": "http://127.0.0.1:9/a.zip",
    }
    for said, url in cases.items():
        with pytest.raises(InputError, match=said) as refused:
            locate(url)
        assert "\n" not in str(refused.value)
    assert [path for path in cache.iterdir() if path.is_dir()] == []


def test_an_address_is_encrypted_or_on_this_machine_wherever_it_leads(site, packaged):
    for url in (
        "http://example.com/a.zip",
        "ftp://127.0.0.1/a",
        "file:///etc/passwd",
        "http://[",
        "s3://b/k",
    ):
        with pytest.raises(InputError, match="is no address to fetch weights from"):
            locate(url)
    site.put("/a.zip", archive(packaged()))
    assert locate(site.put("/here", status=302, Location="/a.zip")).weights.is_file()
    for target in ("http://example.com/a.zip", "file:///etc/passwd", "ftp://127.0.0.1/a"):
        with pytest.raises(InputError, match=r"is no address to fetch weights from|is not allowed\): check"):
            locate(site.put("/there", status=302, Location=target))


def test_a_folder_for_the_cache_that_cannot_be_written_is_one_sentence(site, packaged, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(InputError, match="set XDG_CACHE_HOME to another folder"):
        locate(site.put("/a.zip", archive(packaged())))


def test_a_header_as_long_as_memory_is_not_read(site, cache):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", pax_headers={"comment": "x" * 2**22}) as content:
        content.addfile(tarfile.TarInfo("a"))
    url = site.put("/a.tgz", buffer.getvalue())
    with pytest.raises(InputError, match="neither a zip nor a tar archive"):
        locate(url)
    assert [path for path in cache.iterdir() if path.is_dir()] == []


def zipped(*members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as content:
        for name, body, mode in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            content.writestr(info, body)
    return buffer.getvalue()


def tarred(*members):
    """Members with a type and a size that may be a lie."""
    buffer = io.BytesIO()
    for name, body, kind, size in members:
        info = tarfile.TarInfo(name)
        info.type, info.size, info.linkname = kind, len(body) if size is None else size, "/etc/passwd"
        buffer.write(info.tobuf(tarfile.GNU_FORMAT) + body + b"\0" * (-len(body) % 512))
    return buffer.getvalue() + b"\0" * 10240


LINK, FILE = stat.S_IFLNK | 0o777, stat.S_IFREG | 0o644
HOSTILE = {
    "up": zipped(("../../evil", b"x", FILE)),
    "root": zipped(("/tmp/evil", b"x", FILE)),
    "drive": zipped(("C:\\evil", b"x", FILE)),
    "zip link": zipped((WEIGHTS, b"/etc/passwd", LINK)),
    "tar up": tarred(("a/../../evil", b"x", tarfile.REGTYPE, None)),
    "tar root": tarred(("/tmp/evil", b"x", tarfile.REGTYPE, None)),
    "tar link": tarred((WEIGHTS, b"", tarfile.SYMTYPE, 0)),
    "tar hard link": tarred((WEIGHTS, b"", tarfile.LNKTYPE, 0)),
    "tar pipe": tarred((WEIGHTS, b"", tarfile.FIFOTYPE, 0)),
    "tar large": tarred((WEIGHTS, b"", tarfile.REGTYPE, 5 * 2**30)),
    "many": zipped(*((f"{number}", b"", FILE) for number in range(1001))),
    "long list": zipped((MANIFEST, b"0" * 2000000, FILE), (SETTINGS, b"", FILE), (WEIGHTS, b"", FILE)),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_archive_writes_nothing(site, cache, tmp_path, case):
    with pytest.raises(InputError, match=r"it was refused$"):
        locate(site.put("/a", HOSTILE[case]))
    assert not list(tmp_path.rglob("evil*")) and not Path("/tmp/evil").exists()
    assert [path for path in cache.iterdir() if path.is_dir()] == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (zipped(("a.txt", b"x", FILE)), r"holds no package\.json"),
        (zipped((MANIFEST, b"", FILE), (f"a/{MANIFEST}", b"", FILE)), r"holds 2 package\.json"),
        (zipped((MANIFEST, b"{}", FILE)), r"lacks config\.yaml"),
        (tarred((MANIFEST, b"{}", tarfile.REGTYPE, 900)), r"is damaged|lacks"),
    ],
    ids=["none", "two", "half", "cut off"],
)
def test_an_archive_of_something_else_is_one_sentence(site, body, said):
    with pytest.raises(InputError, match=said):
        locate(site.put("/a", body))


def test_a_pickle_in_an_archive_is_never_read(site, copied):
    torch.save({"state_dict": {}}, copied / "model.pth")
    (copied / WEIGHTS).write_bytes((copied / "model.pth").read_bytes())
    rewritten(copied)
    with pytest.raises(InputError, match=r"model\.safetensors is no safetensors file"):
        FeatureExtractor(site.put("/a.zip", archive(copied)))


@pytest.mark.parametrize(
    "link",
    [
        "https://drive.google.com/file/d/1aB_c-9/view?usp=sharing",
        "https://drive.google.com/uc?export=download&id=1aB_c-9",
        "https://docs.google.com/uc?id=1aB_c-9",
    ],
)
def test_a_link_to_google_drive_goes_to_google_drive(site, monkeypatch, link):
    proxy = f"http://127.0.0.1:{site.server_port}"
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(InputError, match=r"cannot be fetched .*: check the address and the network$"):
        locate(link)
    assert site.asked and {each.split()[1] for each in site.asked} == {"drive.google.com:443"}


def test_a_link_to_no_file_of_google_drive_is_one_sentence():
    with pytest.raises(InputError, match="use the link that its Share button gives"):
        locate("https://drive.google.com/drive/my-drive")


def test_every_tool_takes_an_address(site, packaged, roots, tmp_path):
    url = site.put("/a.zip", archive(packaged()))
    folder = roots / "regdb" / "Visible"
    query = next((roots / "regdb" / "Thermal").rglob("*.*"))
    searched = call("search.py", "--weights", url, "--query", query, "--gallery", folder, "--top", 2)
    index = tmp_path / "index"
    built = call("index.py", "build", "--weights", url, "--gallery", folder, "--out", index)
    found = call("index.py", "search", "--index", index, "--weights", url, "--query", query, "--top", 2)
    assert not any(done.returncode for done in (searched, built, found))
    out = searched.stdout + built.stdout + found.stdout
    found = re.findall(r"^ +\d+ +([-\d.]+)  .*?([^/\n]+/[^/\n]+)$", out, flags=re.MULTILINE)
    assert len(found) == 4 and found[:2] == found[2:]


# The Hub


def hub(site, folder, commit, name="someone/weights", revisions=("main",)):
    """Serves a repository as the Hub does, as far as files are asked for."""
    for path in folder.iterdir():
        body = path.read_bytes()
        for revision in (*revisions, commit):
            etag = hashlib.sha256(body).hexdigest()
            headers = {"ETag": f'"{etag}"', "X-Repo-Commit": commit}
            site.put(f"/{name}/resolve/{revision}/{path.name}", body, **headers)


def test_the_hub_is_asked_for_the_files_of_one_commit(site, packaged, copied, tmp_path, monkeypatch):
    endpoint = (
        f"http://127.0.0.1:{site.server_port}"  # as HF_ENDPOINT and HF_HOME set it at the library's import
    )
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
    with pytest.raises(InputError, match=rf"{WEIGHTS} of hf://someone/weights@v2 is not what package\.json"):
        locate("hf://someone/weights@v2")
    with pytest.raises(InputError, match=r"^package\.json of hf://someone/else is damaged"):
        locate("hf://someone/else")
    for named in ("hf://nobody/nothing", "hf://someone/weights@v3", "hf://a/b/c/d", "hf://"):
        with pytest.raises(
            InputError, match=r"cannot be fetched \(.*\): check OWNER/NAME@REVISION"
        ) as refused:
            locate(named)
        assert "\n" not in str(refused.value)
    assert not [each for each in site.asked if "else" in each and WEIGHTS in each]
    assert not any(CARD in each for each in site.asked)


def test_without_the_hubs_library_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=re.escape('pip install "torchreid_vi[share]"')):
        locate("hf://someone/weights")
