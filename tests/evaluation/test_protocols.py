"""The protocols against an evaluation written from their description, in plain loops over dictionaries.

The plain loops know nothing of index arrays: they walk identities, cameras and images, draw as the
published codes draw, and rank one query at a time.
"""

import random

import numpy as np
import pytest
from random_test_set import make_test_set

from torchreid_vi.data import DATASETS
from torchreid_vi.errors import InputError
from torchreid_vi.evaluation import PROTOCOLS, choose, distance_matrix, evaluate, format_table
from torchreid_vi.evaluation.draws import excluded, split_by_location, trials
from torchreid_vi.modality import Modality


def images_of(test_set, modality, cameras=None):
    """``{identity: {camera number: [index of image 1, of image 2, …]}}``, both ascending."""
    tree = {}
    for i in sorted(range(len(test_set.pids)), key=lambda i: test_set.numbers[i]):
        camera = test_set.table[test_set.cameras[i]]
        if camera.modality is modality and (cameras is None or camera.number in cameras):
            tree.setdefault(int(test_set.pids[i]), {}).setdefault(camera.number, []).append(i)
    return {pid: dict(sorted(tree[pid].items())) for pid in sorted(tree)}


def draw(tree, kind, trial, shots, test_set):
    """A gallery drawn as the published codes do."""
    generator, drawn = random.Random(trial), []
    for pid, cameras in tree.items():
        for number, images in cameras.items():
            if kind == "seeded" and shots == 1:
                drawn.append(generator.choice(images))
            elif kind == "seeded":
                drawn += generator.sample(images, min(shots, len(images)))
            else:
                drawn += [images[k - 1] for k in test_set.permutations[number, pid][trial][:shots]]
    return drawn


def plain_figures(features, test_set, query, gallery, hidden, unique):
    """R1, R10, mAP and mINP in percent, one query at a time."""
    first, ap, inp = [], [], []
    for q in query:
        shown = [g for g in gallery if not hidden(q, g)]
        row = distance_matrix(features[[q]], features[shown], "cosine")[0]
        ids = [test_set.pids[shown[j]] for j in np.argsort(row, kind="stable")]
        hits = [position for position, pid in enumerate(ids, 1) if pid == test_set.pids[q]]
        if not hits:
            continue
        ranking = list(dict.fromkeys(ids)) if unique else ids
        first.append(ranking.index(test_set.pids[q]) + 1)
        ap.append(np.mean([k / position for k, position in enumerate(hits, 1)]))
        inp.append(len(hits) / hits[-1])
    first = np.array(first)
    return {"R1": 100 * np.mean(first <= 1), "R10": 100 * np.mean(first <= 10)} | {
        "mAP": 100 * np.mean(ap),
        "mINP": 100 * np.mean(inp),
        "queries": len(first),
    }


def unit(features):
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def compare(result, expected):
    for trial, figures in zip(result.trials, expected, strict=True):
        for name, value in figures.items():
            assert trial[name] == pytest.approx(value, abs=1e-6), (result.name, name)


@pytest.mark.parametrize("seed", range(6))
def test_sysu_figures_are_those_of_plain_loops(seed):
    table = DATASETS["sysu_mm01"].cameras
    features, test_set = make_test_set(table, seed)
    number = [table[c].number for c in test_set.cameras]

    def hidden(q, g):
        return number[q] == 3 and number[g] == 2

    names = [name for name in PROTOCOLS["sysu_mm01"] if not name.startswith("within")]
    for result in evaluate(
        features, test_set, choose("sysu_mm01", names, test_set), {"name": "sysu", "split": 0}
    ):
        mode, shots, kind = result.name.split("/")
        query = [i for i in range(len(number)) if number[i] in (3, 6)]
        tree = images_of(test_set, Modality.VISIBLE, (1, 2) if mode == "indoor" else (1, 2, 4, 5))
        galleries = [draw(tree, kind, t, int(shots.split("-")[0]), test_set) for t in range(10)]
        expected = [plain_figures(unit(features), test_set, query, g, hidden, True) for g in galleries]
        compare(result, expected)


@pytest.mark.parametrize("seed", range(6))
def test_regdb_figures_are_those_of_plain_loops(seed):
    features, test_set = make_test_set(DATASETS["regdb"].cameras, seed)
    visible = [i for i, camera in enumerate(test_set.cameras) if camera == 0]
    thermal = [i for i, camera in enumerate(test_set.cameras) if camera == 1]
    sides = {"visible-to-infrared": (visible, thermal), "infrared-to-visible": (thermal, visible)}
    for result in evaluate(features, test_set, PROTOCOLS["regdb"], {"name": "regdb", "split": 0}):
        direction, _, counted = result.name.partition("/")
        query, gallery = sides[direction]
        unique = counted == "identities"
        expected = plain_figures(unit(features), test_set, query, gallery, lambda q, g: False, unique)
        compare(result, [expected])


@pytest.mark.parametrize("seed", range(5))
def test_llcm_figures_are_those_of_plain_loops(seed):
    table = DATASETS["llcm"].cameras
    features, test_set = make_test_set(table, seed)
    number = [table[c].number for c in test_set.cameras]
    kind = [table[c].modality for c in test_set.cameras]

    def hidden(q, g):
        return test_set.pids[q] == test_set.pids[g] and number[q] == number[g]

    everything = {m: [i for i in range(len(kind)) if kind[i] is m] for m in Modality}
    drawn = {m: [draw(images_of(test_set, m), "seeded", t, 1, test_set) for t in range(10)] for m in Modality}
    visible, infrared = Modality.VISIBLE, Modality.INFRARED
    sides = {
        "infrared-to-visible/A": [(everything[infrared], g) for g in drawn[visible]],
        "visible-to-infrared/A": [(everything[visible], g) for g in drawn[infrared]],
        "visible-to-infrared/B": [(q, everything[visible]) for q in drawn[infrared]],
    }
    for result in evaluate(features, test_set, PROTOCOLS["llcm"], {"name": "llcm", "split": 0}):
        expected = [
            plain_figures(unit(features), test_set, q, g, hidden, True) for q, g in sides[result.name]
        ]
        compare(result, expected)


def test_the_euclidean_metric_ranks_by_euclidean_distance():
    features, test_set = make_test_set(DATASETS["regdb"].cameras, 0)
    protocol = {"visible-to-infrared": PROTOCOLS["regdb"]["visible-to-infrared"]}
    about = {"name": "regdb", "split": 0}
    plain = evaluate(features, test_set, protocol, about, "euclidean", normalise=False)[0]
    query, gallery = (np.nonzero(test_set.cameras == c)[0] for c in (0, 1))
    distance = np.linalg.norm(features[query][:, None] - features[gallery][None], axis=2)
    nearest = test_set.pids[gallery[distance.argmin(1)]]
    valid = np.isin(test_set.pids[query], test_set.pids[gallery])
    assert plain.trials[0]["R1"] == pytest.approx(100 * np.mean((nearest == test_set.pids[query])[valid]))
    assert plain.settings["normalised"] is False
    normalised = evaluate(features, test_set, protocol, about, "euclidean", normalise=True)[0]
    cosine = evaluate(features, test_set, protocol, about, "cosine")[0]
    assert normalised.trials[0]["mAP"] == pytest.approx(cosine.trials[0]["mAP"], abs=1e-6)


def test_the_official_draw_falls_back_to_the_seeded_one_only_by_default():
    _, test_set = make_test_set(DATASETS["sysu_mm01"].cameras, 0, permutations=False)
    assert list(choose("sysu_mm01", [], test_set)) == ["all/1-shot/seeded", "indoor/1-shot/seeded"]
    with pytest.raises(InputError, match="rand_perm_cam"):
        choose("sysu_mm01", ["all/1-shot/official"], test_set)


def test_a_permutation_of_another_dataset_is_refused():
    _, test_set = make_test_set(DATASETS["sysu_mm01"].cameras, 0)
    test_set.permutations.clear()
    with pytest.raises(InputError, match="no draw 1 for identity"):
        next(trials(PROTOCOLS["sysu_mm01"]["all/1-shot/official"], test_set))


@pytest.mark.parametrize("family", PROTOCOLS)
def test_every_protocol_names_itself_in_table_and_json(family):
    table = DATASETS[family].cameras if family in DATASETS else DATASETS["sysu_mm01"].cameras
    features, test_set = make_test_set(table, 1)
    results = evaluate(features, test_set, PROTOCOLS[family], {"name": family, "split": 3, "synthetic": True})
    text = format_table(results)
    assert "split 3" in text and "synthetic" in text and "re-ranking none" in text and "no flip" in text
    for result in results:
        assert text.count(result.name) >= 2
        said = result.as_dict()
        assert set(said) == {"label", "dataset", "protocol", "settings", "mean", "std", "trials"}
        wanted = {"name", "mode", "direction", "draw", "shots", "trials", "cmc_counts", "not_shown"}
        assert wanted <= set(said["protocol"])
        assert set(said["settings"]) == {"metric", "normalised", "flip", "reranking"}
        assert said["mean"]["R1"] == pytest.approx(np.mean([t["R1"] for t in result.trials]), abs=1e-3)
        assert result.protocol.trials == len(result.trials)


@pytest.mark.parametrize("family", PROTOCOLS)
def test_parts_of_a_trial_show_what_is_not_hidden(family):
    _, test_set = make_test_set(DATASETS["llcm" if family == "cross_modality" else family].cameras, 5)
    hidden = 0
    for protocol in PROTOCOLS[family].values():
        trial = next(iter(trials(protocol, test_set)))
        shown = np.zeros((len(test_set.pids),) * 2, bool)
        for part in split_by_location(protocol, test_set, trial):
            left = excluded(protocol, test_set, *part)
            assert protocol.exclude != "location" or not left.any()
            shown[np.ix_(*part)] = True if left is None else ~left
        expected = excluded(protocol, test_set, *trial)
        expected = np.zeros(shown[np.ix_(*trial)].shape, bool) if expected is None else expected
        assert np.array_equal(shown[np.ix_(*trial)], ~expected)
        assert shown.sum() == (~expected).sum()
        hidden += int(expected.sum())
    assert (hidden > 0) == (family != "regdb")  # which hides nothing
