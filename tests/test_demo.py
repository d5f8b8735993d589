"""The page to search with answers people on this machine, serves no other file, and leaves nothing behind."""

import os
import re
import socket
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from command_lines import call

from torchreid_vi import FeatureExtractor, InputError
from torchreid_vi.demo import answers, served, some_of
from torchreid_vi.retrieval.gallery import Gallery


@pytest.fixture(scope="module")
def gallery(trained, roots):
    return Gallery(roots / "vi_synthetic" / "cam1", FeatureExtractor(trained()), cache="")


@pytest.fixture(scope="module")
def night(roots):
    return some_of(roots / "vi_synthetic" / "cam3", 4)


@pytest.fixture(scope="module")
def address(gallery, night):
    with served(gallery, night, top=5) as address:
        yield address


@pytest.fixture
def client(address):
    from gradio_client import Client

    return Client(address, verbose=False)


def test_an_infrared_picture_finds_the_most_similar(client, gallery, night):
    from gradio_client import handle_file

    expected = gallery.search(night[:1], top=5)[0]
    middle = (expected[1].similarity + expected[2].similarity) / 2
    shown = client.predict(handle_file(night[0]), middle, api_name="/search")
    names = [str(answer.path.relative_to(gallery.folder)) for answer in expected]
    assert re.findall(r'alt="rank \d, ([^"]+)"', shown) == names
    assert shown.count('src="data:image/jpeg;base64,') == 5 and shown.count("class=below") == 3
    assert f"2 of the 5 nearest of {len(gallery.paths)} pictures" in shown
    moved = client.predict(-1, api_name="/move")
    assert "class=below" not in moved and "5 of the 5" in moved


def ask(address, picture):
    """Send a picture and search with it, as a browser does; return the status and the answer."""
    import httpx

    with httpx.Client(base_url=address, timeout=120) as http:
        sent = http.post("gradio_api/upload", files={"files": (picture.name, picture.read_bytes())})
        file = {"path": sent.json()[0], "meta": {"_type": "gradio.FileData"}}
        call = http.post("gradio_api/call/search", json={"data": [file, 0.5]}).json()
        answer = http.get(f"gradio_api/call/search/{call['event_id']}")
    return answer.status_code, answer.text


def test_fifty_people_may_search_at_once(address, gallery, roots, capfd):
    pictures = some_of(roots / "vi_synthetic" / "cam3", 10)
    best = [found[0].path.relative_to(gallery.folder) for found in gallery.search(pictures, top=1)]
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda number: ask(address, pictures[number % len(pictures)]), range(50)))
    for number, (status, text) in enumerate(answers):
        assert status == 200 and "event: complete" in text and "event: error" not in text
        assert f"rank 1, {best[number % len(best)]}" in text
    assert "Traceback" not in capfd.readouterr().err


def test_what_is_no_picture_is_answered_with_a_sentence(client, tmp_path, capfd):
    from gradio_client import handle_file
    from gradio_client.exceptions import AppError

    (tmp_path / "person.jpg").write_bytes(b"no picture")
    with pytest.raises(AppError, match="cannot be read: try another one"):
        client.predict(handle_file(tmp_path / "person.jpg"), 0.5, api_name="/search")
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("meta", [{}, {"meta": {"_type": "gradio.FileData"}}])
def test_a_path_is_no_upload(address, gallery, meta):
    import httpx

    file = {"path": str(gallery.paths[0].absolute())} | meta
    call = httpx.post(f"{address}gradio_api/call/search", json={"data": [file, 0.5]}).json()
    answer = httpx.get(f"{address}gradio_api/call/search/{call['event_id']}", timeout=30).text
    assert "event: error" in answer and "base64" not in answer


def test_names_of_files_are_no_html(gallery, roots, copy_of):
    folder = copy_of("vi_synthetic") / "vi_synthetic" / "cam1"
    odd = some_of(folder, 1)[0].rename(folder / "<img src=x onerror=alert(1)>.jpg")
    other = Gallery(folder, gallery.extractor, cache="")
    shown = answers(other, other.search([odd], "visible", 1)[0], 0.5)
    assert "<img src=x" not in shown and "&lt;img src=x" in shown


TRAVERSALS = [
    *("/etc/hostname", "../../../../../../../../etc/hostname", "/proc/self/environ", "file:///etc/hostname"),
    *("..%2f..%2f..%2f..%2f..%2f..%2f..%2fetc%2fhostname", "/etc/hostname%00.jpg"),
    *("{}/../../../../../../etc/hostname", "{}%2f..%2f..%2f..%2f..%2fetc%2fhostname", "{}/.."),
]


@pytest.mark.parametrize("route", ["gradio_api/file=", "file/", "assets/", "custom_component/a/b/c/", ""])
def test_no_name_leads_to_another_file(address, gallery, route):
    parts = urlsplit(address)
    known = Path("/etc/hostname").read_bytes().strip() or b"localhost"
    for path in (*TRAVERSALS, str(gallery.paths[0].absolute())):
        with socket.create_connection((parts.hostname, parts.port), timeout=30) as line:
            target = f"/{route}{path.format(os.environ['GRADIO_TEMP_DIR'])}"
            line.sendall(
                f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode()
            )
            answer = b"".join(iter(lambda line=line: line.recv(2**16), b""))
        status, body = int(answer.split()[1]), answer.partition(b"\r\n\r\n")[2]
        page = status == 200 and b"<!doctype html>" in body[:200].lower()
        assert page or status in (307, 400, 403, 404, 405), path
        assert known not in body.splitlines() and b"PATH=" not in body, path


def test_only_this_machine_reaches_it(address):
    parts = urlsplit(address)
    assert parts.hostname == "127.0.0.1"
    socket.create_connection(("127.0.0.1", parts.port)).close()
    with pytest.raises(OSError):  # it would answer if it listened on all interfaces
        socket.create_connection(("127.0.0.2", parts.port), timeout=5)


def test_another_sites_name_for_this_machine_is_not_answered(address):
    port = urlsplit(address).port
    for host, status in ((f"evil.example:{port}", 400), (f"localhost:{port}", 200)):
        request = urllib.request.Request(address, headers={"Host": host})
        try:
            found = urllib.request.urlopen(request).status
        except urllib.error.HTTPError as error:
            found = error.code
        assert found == status


def test_a_port_that_is_taken_or_none_is_named(gallery):
    with pytest.raises(InputError, match="from 1 to 65535"), served(gallery, port=65536):
        pass
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} .* --port"), served(gallery, port=port):
            pass


def test_the_tool_answers_bad_input_with_a_sentence(trained, tmp_path):
    done = call("demo.py", "--weights", trained(), "--gallery", tmp_path)
    assert done.returncode == 2 and "holds no images" in done.stderr


def test_the_page_is_asked_for_past_every_proxy(gallery, monkeypatch):
    """An office has one, which leads nowhere here."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "socks5://127.0.0.1:9")
    before = dict(os.environ)
    with served(gallery) as address:
        assert urllib.request.urlopen(address).status == 200
    assert before.items() <= os.environ.items()
