"""The documentation builds without a warning, needs no network to be read, and has the pictures it says."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import yaml

import torchreid_vi

DOCS = Path(__file__).parents[1] / "docs"


def test_the_site_builds_without_warnings_and_loads_nothing_from_elsewhere(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    result = subprocess.run(
        [*command, "-d", str(tmp_path / "read"), str(DOCS), str(tmp_path / "html")],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    pages = sorted((tmp_path / "html").rglob("*.html"))
    assert {page.stem for page in DOCS.rglob("*.md")} <= {page.stem for page in pages}
    for page in pages:
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img)[^>]* src=\"([^\"]*)\"", text)
        loaded += re.findall(r"<link[^>]* rel=\"stylesheet\"[^>]* href=\"([^\"]*)\"", text)
        assert not [address for address in loaded if "//" in address], page.name
    formulas = (tmp_path / "html" / "mcja.html").read_text(encoding="utf-8")
    assert r"<title>y = \sum_{c} w_c" in formulas


def test_the_pictures_are_what_their_script_draws(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    script = runpy.run_path(str(DOCS / "figures.py"))
    script["main"](tmp_path)
    drawn = {path.name for path in tmp_path.iterdir()}
    assert drawn == {path.name for path in (DOCS / "figures").iterdir()}
    for name in sorted(drawn):
        if name.endswith(".svg"):  # a JPEG's bytes are its library's
            assert (tmp_path / name).read_text() == (DOCS / "figures" / name).read_text(), name


def test_every_picture_says_what_it_shows():
    for page in DOCS.rglob("*.md"):
        for said in re.findall(r"!\[([^\]]*)\]", page.read_text(encoding="utf-8")):
            assert len(said.split()) > 3, page.name


def test_the_page_of_settings_is_what_its_script_writes():
    script = runpy.run_path(str(DOCS / "settings.py"))
    assert script["PAGE"].read_text(encoding="utf-8") == script["page"](), "run python docs/settings.py"


def test_every_method_has_its_paper_and_bibtex():
    papers = (DOCS / "papers.md").read_text(encoding="utf-8")
    keys = re.findall(r"^@\w+\{[a-z]+\d{4}(\w+),$", papers, flags=re.MULTILINE)
    assert {"mcja", "mmgl", "agw", "caj", "ddag", "deen", "torchreid", "sysu", "regdb"} <= set(keys)
    citation = yaml.safe_load((DOCS.parent / "CITATION.cff").read_text(encoding="utf-8"))
    for each in citation["references"]:
        assert each["url"] in papers and papers.count(each["doi"]) == 2
        authors = " and ".join(f"{one['family-names']}, {one['given-names']}" for one in each["authors"])
        assert authors in papers


def test_the_citation_names_this_version_and_both_papers():
    citation = yaml.safe_load((DOCS.parent / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["title"].split(":")[0], citation["version"]) == (
        "torchreid_vi",
        torchreid_vi.__version__,
    )
    assert [each["notes"] for each in citation["references"]] == [
        "MMGL, arXiv 2112.06147",
        "MCJA, arXiv 2307.08316",
    ]
