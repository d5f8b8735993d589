"""Diagrams of docs/protocols.md."""

from __future__ import annotations

from pathlib import Path

from torchreid_vi.data.datasets import VISynthetic
from torchreid_vi.engine.evaluator import describe
from torchreid_vi.evaluation import PROTOCOLS, trials

from .svg import ACCENT, INFRARED, MUTED, PLAIN, VISIBLE, Svg


def two_draws(out: Path, root: str) -> None:
    """Show which image of each test identity and camera either draw takes first."""
    test_set = describe([VISynthetic(root=root, mode=mode, verbose=False) for mode in ("query", "gallery")])
    chosen = {}
    for draw in ("official", "seeded"):
        gallery = next(iter(trials(PROTOCOLS["sysu_mm01"][f"all/1-shot/{draw}"], test_set))).gallery
        chosen[draw] = {
            (int(test_set.pids[i]), int(test_set.of("number")[i])): int(test_set.numbers[i]) for i in gallery
        }
    people, cameras = sorted({pid for pid, _ in chosen["official"]}), (1, 2, 4, 5)
    svg = Svg(760, 104 + 42 * len(people))
    for half, (draw, by) in enumerate(
        (
            ("official", "first of the permutation in rand_perm_cam.mat"),
            ("seeded", "Python's Random(0).choice, in turn"),
        )
    ):
        left = 88 + 350 * half
        svg.text(left + 140, 26, f"{draw} draw, trial 1", 16)
        svg.text(left + 140, 46, by, 12, MUTED)
        for column, camera in enumerate(cameras):
            svg.text(left + 35 + 70 * column, 74, f"cam{camera}", 13)
            for row, pid in enumerate(people):
                number = chosen[draw][pid, camera]
                same = number == chosen["official"][pid, camera] and half
                fill = PLAIN if same else (VISIBLE if half == 0 else INFRARED)
                svg.box(left + 70 * column + 3, 84 + 42 * row, 64, 36, fill, [f"{number:04d}.jpg"], 12)
    for row, pid in enumerate(people):
        svg.text(76, 107 + 42 * row, f"identity {pid}", 13, anchor="end")
    svg.save(out / "two_draws.svg")


def location(out: Path) -> None:
    """Show which infrared camera is compared with which visible one."""
    svg = Svg(760, 270)
    places = {1: "a room", 2: "another room", 4: "outdoors", 5: "outdoors"}
    svg.text(450, 24, "gallery: visible cameras", 15)
    for column, (camera, place) in enumerate(places.items()):
        svg.box(200 + 130 * column, 38, 118, 48, VISIBLE, [f"cam{camera}", place])
    for row, (camera, place) in enumerate(((3, "where cam2 stands"), (6, "outdoors"))):
        top = 100 + 62 * row
        svg.box(24, top, 160, 50, INFRARED, [f"cam{camera}", place])
        for column, other in enumerate(places):
            hidden = camera == 3 and other == 2
            svg.box(
                200 + 130 * column,
                top,
                118,
                50,
                "#f6d5d2" if hidden else ACCENT,
                ["not shown" if hidden else "compared"],
            )
    svg.text(24, 64, "queries: infrared", 15, anchor="start")
    for top, right, name in ((228, 448, "indoor search"), (252, 708, "all search")):
        svg.text(184, top + 5, name, 13, MUTED, anchor="end")
        svg.line([(200, top), (right, top)], MUTED, arrow=False)
    svg.save(out / "location.svg")


def variants(out: Path) -> None:
    """Show the queries and the gallery of the three variants of LLCM's evaluation."""
    svg = Svg(760, 300)
    sides: dict[str, list[tuple[str, str, str, str]]] = {
        "A: both directions": [
            ("every infrared image", INFRARED, "drawn visible images", VISIBLE),
            ("every visible image", VISIBLE, "drawn infrared images", INFRARED),
        ],
        "B: visible to infrared, since June 2023": [
            ("drawn infrared images", INFRARED, "every visible image", VISIBLE)
        ],
        "C: all against all, not offered here": [
            ("every image of one", PLAIN, "every image of the other", PLAIN)
        ],
    }
    svg.text(370, 24, "queries", 14, MUTED)
    svg.text(630, 24, "gallery", 14, MUTED)
    top = 38
    for name, rows in sides.items():
        svg.text(20, top + 26 * len(rows) + 2, name.split(":")[0], 22, anchor="start")
        for i, line in enumerate(name.split(": ")[1].split(", ")):
            svg.text(52, top + 26 * len(rows) - 6 + 16 * i, line, 13, MUTED, anchor="start")
        for query, one, gallery, other in rows:
            svg.box(270, top, 200, 40, one, [query], 13)
            svg.line([(470, top + 20), (526, top + 20)])
            svg.box(530, top, 200, 40, other, [gallery], 13)
            top += 52
        top += 16
    svg.save(out / "llcm_variants.svg")
