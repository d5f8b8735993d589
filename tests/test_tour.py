"""The notebook is stored with its outputs, and runs from a checkout, here with few people and one epoch."""

import json
import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
TOUR = ROOT / "docs" / "tour.ipynb"


def test_the_tour_is_stored_with_the_outputs_of_one_run_and_no_noise():
    cells = [cell for cell in nbformat.read(TOUR, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}  # no warnings
    shown = [json.loads(json.dumps(output)) for output in outputs]
    for output in shown:
        output.get("data", {}).pop("image/jpeg", None)
    assert not re.search(r"/(home|root|tmp|work|Users)\b|Warning|Error", json.dumps(shown))
    assert "image/jpeg" in cells[-1].outputs[-1].data
    assert TOUR.stat().st_size < 600_000


def test_the_tour_ends_with_a_ranked_gallery(tmp_path, monkeypatch):
    notebook = nbformat.read(TOUR, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) <= 10
    for target in re.findall(r"\]\(([^)#]+)\)", "".join(cell.source for cell in notebook.cells)):
        assert (ROOT / "docs" / target).exists(), target
    assert "PEOPLE, IMAGES, EPOCHS = 180, 6, 15" in cells[1].source
    cells[1].source = cells[1].source.replace("180, 6, 15", "24, 2, 1")
    for cell in cells:
        cell.outputs = []
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "docs").mkdir()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path / "docs")}}).execute()
    assert "image/jpeg" in cells[-1].outputs[-1].data
    assert (tmp_path / "log" / "tour" / "results.json").is_file()
