"""The report of a run shows everything, correctly, with heads hidden where asked, and a browser shows it."""

import base64
import html.parser
import io
import json
import re
import shutil
import subprocess
from collections import Counter
from datetime import date

import numpy as np
import pytest
from command_lines import MMGL, call
from crops import spread, tiles
from PIL import Image

from torchreid_vi import InputError, load_config
from torchreid_vi.evaluation import Ranking
from torchreid_vi.report import write_report
from torchreid_vi.report.finished import FinishedRun
from torchreid_vi.report.pictures import activations, batch, best_and_worst, confused, galleries

TWO = {"model.streams": 2, "test.flip": True, "data.second_view": ["random_flip"]}


@pytest.fixture
def finished(trained):
    """Return a function that gives the folder of a run of two epochs."""
    return lambda **changes: trained(train__max_epoch=2, **changes)


class Page(html.parser.HTMLParser):
    """Collects headings, images and what is open."""

    def __init__(self, text):
        super().__init__()
        self.headings, self.images, self.open, self.where = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.images.append(dict(attributes))
        elif tag not in ("meta", "br"):
            self.open.append(tag)
        self.where = tag

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.where in ("h1", "h2", "h3") and data.strip():
            self.headings.append(data.strip())


RETRIEVAL = ["Retrieval", "Distances", "Map of features", "Ranked galleries", "Best queries", "Worst queries"]
INPUT = ["What the network was shown", "One image, augmented again and again", "A batch"]


@pytest.mark.parametrize(
    ("changes", "sections"),
    [
        (TWO, [*RETRIEVAL, "Who is taken for whom", "Activations"]),
        ({"loss.name": "softmax"}, [*RETRIEVAL, "Who is taken for whom"]),
        (MMGL, []),
    ],
    ids=["two streams", "torchreid's", "mmgl"],
)
def test_everything_is_on_the_page_and_nothing_outside_of_it(finished, changes, sections):
    folder = finished(**changes)
    path = write_report(folder)
    assert path == folder / "report.html" and not list(folder.glob(".*partial*"))
    text = path.read_text()
    page = Page(text)
    assert page.open == [] and page.headings[0] == "run"
    assert set(sections) | {"Run", "Training", *INPUT} <= set(page.headings)
    assert ("Retrieval" in page.headings) == bool(sections)
    assert len(page.images) >= 2 and all(image["alt"] for image in page.images)
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in page.images)
    outside = re.findall(r'(?:src|href|url)\s*[=(]\s*["\']?((?!data:|#)[^"\')\s>]+)', text)
    assert outside == []
    assert "train.max_epoch" in text and "torch " in text
    rows = dict(re.findall(r"<tr><td>(.*?)</td><td>(.*?)</td></tr>", text[: text.index("</table>")]))
    cfg = load_config(str(folder / "config.yaml"))
    assert rows["loss"].split(":")[0] == cfg.loss.name and date.fromisoformat(rows.pop("date"))
    assert rows == {
        "backbone": cfg.model.name,
        "image size": f"{cfg.data.height} × {cfg.data.width}",
        "loss": rows["loss"],
        "seed": str(cfg.train.seed),
    }
    results = json.loads((folder / "results.json").read_text())["results"]
    for result in results:
        mean = f"{result['mean']['mAP']:.2f}" if sections else f"{next(iter(result['pretext'].values())):.2f}"
        assert mean in text


def test_best_and_worst_queries_are_of_different_people():
    ranking = Ranking(np.arange(6), np.ones(6), np.array([0.1, 0.9, 0.8, 0.5, 0.2, 0.7]), np.ones(6))
    pids = np.array([4, 5, 5, 6, 4, 7])
    best, worst = best_and_worst(ranking, pids, 3)
    assert best.tolist() == [1, 5, 3] and worst.tolist() == [0, 3, 5]


def test_galleries_and_confusions_are_those_of_a_plain_loop(finished):
    folder = finished(**TWO)
    opened = FinishedRun(folder)
    ranked, pids = opened.ranked, opened.test_set.pids
    counts, hits = Counter(), 0
    for row, query in enumerate(ranked.trial.query):
        distances = [1 - opened.features[query] @ opened.features[image] for image in ranked.trial.gallery]
        nearest = ranked.trial.gallery[int(np.argmin(distances))]
        assert ranked.trial.gallery[ranked.order[row, 0]] == nearest
        hits += pids[nearest] == pids[query]
        if pids[nearest] != pids[query]:
            counts[int(pids[query]), int(pids[nearest])] += 1
    found = confused(opened, 3)
    assert [times for _, _, times, _ in found] == [times for _, times in counts.most_common(3)]
    assert all(counts[query, answer] == times for query, answer, times, _ in found)
    first = [(ranked.trial.query[row], ranked.trial.gallery[ranked.order[row, 0]]) for *_, row in found]
    assert [[pids[query], pids[answer]] for query, answer in first] == [[q, a] for q, a, _, _ in found]
    r1 = json.loads((folder / "results.json").read_text())["results"][0]["trials"][0]["R1"]
    queries = len(ranked.trial.query)
    assert 100 * hits / queries == pytest.approx(r1, abs=101 / queries)  # one may be a tie
    assert galleries(opened, np.array([0]), top=3).width == 4 * (72 + 8) + 8


def test_the_batch_shows_what_the_network_got(finished):
    plain = FinishedRun(finished(**{"data.transforms": []}))
    picture = np.asarray(batch(plain, most=1))
    manager = plain.engine.datamanager
    manager.train_loader.set_epoch(1)
    image = manager.normalise.undo(next(iter(manager.train_loader))["img"][0])
    expected = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((64, 160))
    assert picture.shape == (8 + 160 + 16 + 8, 72 + 8 + 8, 3)
    np.testing.assert_array_equal(picture[4:164, 4:68], np.asarray(expected))


@pytest.mark.parametrize("changes", [TWO, MMGL], ids=["retrieval", "mmgl"])
def test_a_page_shows_people_as_it_is_told(finished, tmp_path, changes):
    folder = finished(**changes)
    pages = {
        people: Page(write_report(folder, tmp_path / f"{people}.html", people=people).read_text())
        for people in ("shown", "blurred", "none")
    }
    assert pages["none"].images == [] and "left out" in (tmp_path / "none.html").read_text()
    assert pages["none"].headings == pages["shown"].headings == pages["blurred"].headings
    number = {people: (tmp_path / f"{people}.html").read_text().count("<figure") for people in pages}
    assert len(set(number.values())) == 1 and number["none"] > 0
    assert len(pages["blurred"].images) == len(pages["shown"].images) == (2 if changes is MMGL else 6)
    for hidden, plain in zip(pages["blurred"].images, pages["shown"].images, strict=True):
        found, before = (
            tiles(Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2]))))
            for image in (hidden, plain)
        )
        assert len(found) == len(before) > 1
        assert spread(found).max() < 8 < np.median(spread(before))  # a JPEG's noise, and a head


def test_no_transform_or_stripe_carries_a_head_elsewhere(finished):
    """People who are grey but for a head of black and white: none of it is left, wherever it was put."""

    def striped(path):
        image = np.full((3, *size), 127, np.uint8)
        image[:, : round(0.3 * size[0])] = np.where(
            np.arange(size[1]) * 8 // size[1] % 2, 255, 0
        )  # two in each cell
        return image

    opened = FinishedRun(finished(**MMGL | {"data.transforms": ["random_flip", "random_patch"]}))
    source = opened.engine.datamanager.train_loader.source
    source.read, size = striped, source.size
    shown, blurred = (tiles(batch(opened, blurred=blurred)) for blurred in (False, True))
    assert np.ptp(shown[:, 60:]) > 40 and np.ptp(blurred) < 5


def test_activations_are_those_of_images_with_heads(finished, monkeypatch):
    opened = FinishedRun(finished(**TWO))
    numbers, true = [], FinishedRun.activations
    monkeypatch.setattr(
        FinishedRun, "activations", lambda run, chosen: numbers.append(true(run, chosen)) or numbers[-1]
    )
    pictures = [activations(opened, people=1, blurred=blurred) for blurred in (False, True)]
    assert (numbers[0] == numbers[1]).all()
    below = [tiles(picture)[:, 48:] for picture in pictures]
    np.testing.assert_array_equal(*below)


def report(*arguments):
    return call("report.py", *arguments)


def test_the_tool_writes_where_it_is_told_and_says_what_is_wrong(finished, roots, tmp_path):
    folder = finished(**MMGL)
    page = tmp_path / "pages" / "page.html"
    done = report(folder, "--out", page, "--root", roots, "--people", "none")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "" and done.stderr.splitlines()[-1] == f"Written: {page}"
    assert "<img" not in page.read_text()
    assert report(folder, "-q", "--out", page).stdout == ""
    with pytest.raises(InputError, match="unknown way to show people 'blured': did you mean 'blurred'"):
        write_report(folder, people="blured")
    for arguments, words in (
        ([tmp_path], "is no finished run, config.yaml is missing"),
        ([folder, "--root", tmp_path], "not found: put"),
        ([folder, "--out", tmp_path], "name another file or folder"),
        ([folder, "--people", "masked"], "invalid choice: 'masked'"),
    ):
        wrong = report(*arguments)
        assert wrong.returncode == 2 and "Traceback" not in wrong.stderr
        assert words in next(line for line in wrong.stderr.splitlines() if "error: " in line)


def test_damaged_files_and_weights_of_another_model_are_refused(finished, tmp_path):
    folder = shutil.copytree(finished(**MMGL), tmp_path / "run")
    (folder / "environment.json").write_text("{")
    with pytest.raises(InputError, match=r"environment\.json is damaged: remove it"):
        write_report(folder)
    (folder / "environment.json").write_text("[]")
    other = finished(**{"loss.name": "softmax"}) / "checkpoints" / "last.pth"
    shutil.copy(other, folder / "checkpoints" / "last.pth")
    with pytest.raises(InputError, match="is not of the model"):
        write_report(folder)


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_a_browser_shows_it_without_complaint(finished, tmp_path, width=400):
    page = write_report(finished(**TWO), tmp_path / "page.html")
    shot = tmp_path / "shot.png"
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += [f"--window-size={width},2000", f"--screenshot={shot}", page.as_uri()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0 and "CONSOLE" not in result.stderr
    pixels = np.asarray(Image.open(shot).convert("RGB"))
    assert pixels.shape[1] >= 400 and len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100
