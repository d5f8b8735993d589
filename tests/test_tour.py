"""The notebook runs from a checkout, with few people and one epoch."""

import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]


def test_the_tour_ends_with_a_ranked_gallery(tmp_path, monkeypatch):
    notebook = nbformat.read(ROOT / "docs" / "tour.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) <= 10
    assert not any(cell.outputs or cell.execution_count for cell in cells)
    for target in re.findall(r"\]\(([^)#]+)\)", "".join(cell.source for cell in notebook.cells)):
        assert (ROOT / "docs" / target).exists(), target
    assert "PEOPLE, EPOCHS = 60, 6" in cells[0].source
    cells[0].source = cells[0].source.replace("60, 6", "12, 1")
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "docs").mkdir()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path / "docs")}}).execute()
    assert "image/png" in cells[-1].outputs[-1].data
    assert (tmp_path / "log" / "tour" / "results.json").is_file()
