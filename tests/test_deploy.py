"""The example of docs/deploy.md finds people of an index in a video, at their times."""

import re
import subprocess
import sys
from pathlib import Path

from command_lines import call
from PIL import Image, ImageOps

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "docs" / "examples"


def test_people_in_a_video_are_found_when_they_walk_past(trained, roots, tmp_path):
    weights = trained() / "checkpoints" / "last.pth"
    photos = tmp_path / "photos"
    for path in (roots / "vi_synthetic" / "cam3" / "0001").iterdir():
        image = Image.open(path)  # a network of one epoch tells it from its negative, and little more
        for name, seen in (("one", image), ("other", ImageOps.invert(image))):
            (photos / name).mkdir(parents=True, exist_ok=True)
            seen.save(photos / name / path.name)
    built = call(
        "index.py", "build", "--weights", weights, "--gallery", "photos", "--out", "index", cwd=tmp_path
    )
    assert built.returncode == 0, built.stderr
    made = call(EXAMPLES / "synthetic_video.py", "night.mp4", photos / "other", photos / "one", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    words = [sys.executable, EXAMPLES / "search_video.py", "night.mp4", "index", weights, "0.5"]
    found = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    lines = [
        re.fullmatch(r"0:00:(\d\d)  (\d\.\d{3})  (\S+)  at \d+,\d+ \d+x\d+", line)
        for line in found.stdout.splitlines()
    ]
    assert [(int(line[1]), Path(line[3]).parent.name) for line in lines] == [
        *((second, "other") for second in (2, 3, 4, 5)),
        *((second, "one") for second in (8, 9, 10, 11)),
    ]
    about = tmp_path / "index" / "about.json"
    about.write_text(about.read_text().replace('"extractor": "', '"extractor": "0'))
    refused = call(EXAMPLES / "search_video.py", "night.mp4", "index", weights, 0.5, cwd=tmp_path)
    assert "built with other weights" in refused.returncode
