"""Measure what evaluation costs: all of SYSU-MM01 beside the product that it needs, and growing galleries.

python benchmarks/evaluation.py
python benchmarks/evaluation.py --sizes 2000x100000 20000x1000000

Ratios are medians over rounds that take turns. Leave the machine alone.
"""

from __future__ import annotations

import multiprocessing
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from parts.measurement import Measurement, in_turns, machine, peak_mib, ratio

from torchreid_vi.cli import common


def main() -> int:
    """Run the command line; return the exit status."""
    parser = common.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="rounds of SYSU-MM01's evaluations")
    parser.add_argument(
        "--sizes",
        type=size,
        nargs="+",
        default=[],
        metavar="QxG",
        help="measure Q queries × G images instead",
    )
    args = parser.parse_args()

    def work() -> None:
        print(", ".join(f"{name} {value}" for name, value in machine().items()))
        for row in large_galleries(args.sizes) if args.sizes else sysu_mm01(args.rounds):
            print(f"{row.name:55} {row.value:12.3f} {row.unit:5} {row.goal}")

    return common.status(work, args)


def size(text: str) -> tuple[int, int]:
    """Read ``QxG``."""
    queries, gallery = text.split("x")
    return int(queries), int(gallery)


def sysu_mm01(rounds: int) -> list[Measurement]:
    """Measure forty evaluations of 2,048 dimensions: all and indoor search, 1 and 10 shots, ten gallery draws."""
    from torchreid_vi.data import DATASETS
    from torchreid_vi.evaluation import PROTOCOLS, TestSet, evaluate, trials
    from torchreid_vi.evaluation.protocols import TRIALS

    rng = np.random.default_rng(0)
    cameras = DATASETS["sysu_mm01"].cameras
    # As many images as the test set: 3,803 infrared ones, 6,775 visible ones, of 96 identities.
    counts = {3: 1883, 6: 1920, 1: 1694, 2: 1694, 4: 1694, 5: 1693}
    camera = np.concatenate([np.full(n, [c.number for c in cameras].index(k)) for k, n in counts.items()])
    # By identity, as files are listed, and numbered from 1.
    pids = np.concatenate([np.sort(np.arange(n) % 96) for n in counts.values()])
    first = np.concatenate(
        [np.searchsorted(each, each) for each in np.split(pids, np.cumsum([*counts.values()])[:-1])]
    )
    numbers = np.concatenate([np.arange(n) for n in counts.values()]) - first + 1
    test_set = TestSet(pids, camera, numbers, cameras)
    features = (rng.normal(size=(96, 2048))[pids] + 4 * rng.normal(size=(len(pids), 2048))).astype(np.float32)
    names = [name for name in PROTOCOLS["sysu_mm01"] if name.endswith("seeded") and "within" not in name]
    protocols = {name: PROTOCOLS["sysu_mm01"][name] for name in names}
    query, gallery = features[:3803], features[3803:]

    def everything() -> list:
        return evaluate(features, test_set, protocols, {"name": "sysu_mm01", "split": 0})

    some = 40  # queries of the plain loops
    drawn = [next(iter(trials(protocol, test_set))) for protocol in protocols.values()]
    product, ours, plain = in_turns(
        rounds,
        lambda: query @ gallery.T,
        everything,
        lambda: [_plainly(features, test_set, trial, some) for trial in drawn],
    )
    results = everything()
    plain = [seconds / some * len(query) * TRIALS for seconds in plain]
    middle = rounds // 2
    return [
        Measurement("SYSU-MM01, 40 evaluations, to one product", ratio(ours, product), "×", most=3),
        Measurement("SYSU-MM01, 40 evaluations", sorted(ours)[middle], "s"),
        Measurement("one product of 3,803 × 6,775 features", sorted(product)[middle], "s"),
        Measurement("plain loops, 40 evaluations, from some queries", sorted(plain)[middle], "s"),
        Measurement("plain loops, to ours", ratio(plain, ours), "×", least=100),
        Measurement("mean R1 of the random features", float(np.mean([r.mean("R1") for r in results])), "%"),
    ]


def _plainly(features: np.ndarray, test_set, trial, some: int) -> None:
    """Evaluate some queries of a gallery draw in plain loops."""
    number = test_set.of("number")
    chosen = random.Random(0).sample(trial.query.tolist(), some)
    distances = 1 - features[chosen] @ features[trial.gallery].T
    for i, query in enumerate(chosen):
        seen, matches, found, first = set(), [], 0, 0
        for position in np.argsort(distances[i], kind="stable").tolist():
            image = int(trial.gallery[position])
            if number[query] == 3 and number[image] == 2:
                continue
            pid = int(test_set.pids[image])
            matches.append(pid == test_set.pids[query])
            found += not first and pid not in seen
            seen.add(pid)
            if matches[-1] and not first:
                first = found
        ranks = [rank for rank, match in enumerate(matches, 1) if match]
        if ranks:
            sum((k + 1) / rank for k, rank in enumerate(ranks)) / len(ranks)


def large_galleries(sizes: list[tuple[int, int]]) -> list[Measurement]:
    """Measure galleries whose features lie in a half-precision file, each in a process of its own."""
    rows = []
    for queries, gallery in sizes:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            seconds, product, peak = pool.apply(_evaluate_large, (queries, gallery))
        of = f"{queries:,} × {gallery:,}"
        rows += [
            Measurement(f"{of} × 2,048", seconds, "s"),
            Measurement(f"{of}, to its product", seconds / product, "×"),
            Measurement(f"{of}, peak memory", peak, "MiB", most=6 * 1024),
        ]
    return rows


def _evaluate_large(queries: int, gallery: int) -> tuple[float, float, float]:
    """Return the seconds of an evaluation and of its product (from a tenth or less), and the peak memory in MiB."""
    from torchreid_vi.evaluation import PROTOCOLS, TestSet, evaluate
    from torchreid_vi.modality import Camera, Modality

    rng = np.random.default_rng(0)
    number, dimensions = queries + gallery, 2048
    table = Camera(1, 1, Modality.VISIBLE), Camera(2, 2, Modality.INFRARED)
    pids = np.concatenate([rng.integers(0, gallery // 20, queries), np.arange(gallery) % (gallery // 20)])
    camera = (np.arange(number) < queries).astype(int)
    test_set = TestSet(pids, camera, np.ones(number, int), table)
    with tempfile.TemporaryDirectory() as folder:
        shape = number, dimensions
        features = np.memmap(Path(folder) / "features.f16", np.float16, "w+", shape=shape)
        for start in range(0, number, 10_000):
            features[start : start + 10_000] = rng.standard_normal(
                (min(10_000, number - start), dimensions), np.float32
            )
        features.flush()
        features = np.memmap(Path(folder) / "features.f16", np.float16, "r", shape=shape)
        name = "infrared-to-visible"
        start_time = time.perf_counter()
        evaluate(
            features, test_set, {name: PROTOCOLS["cross_modality"][name]}, {"name": "random", "split": 0}
        )
        seconds = time.perf_counter() - start_time
        some = features[queries : queries + 10_000].astype(np.float32)
        query = features[: min(queries, 2000)].astype(np.float32)
        taken = min(in_turns(2, lambda: query @ some.T)[0])
        del features  # some systems remove no file that is mapped
    product = taken * queries * gallery / (len(query) * len(some))
    return seconds, product, peak_mib()


if __name__ == "__main__":
    sys.exit(main())
