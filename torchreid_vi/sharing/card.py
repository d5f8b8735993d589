"""The card of a model: what it is, where it comes from and what it may be used for, for people and for the Hub."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml
from yacs.config import CfgNode

from torchreid_vi import config
from torchreid_vi.evaluation import RANKS, explain, explain_settings

_TITLES = {
    "sysu_mm01": "SYSU-MM01",
    "regdb": "RegDB",
    "llcm": "LLCM",
    "vi_synthetic": "vi_synthetic, people drawn by torchreid_vi",
    "vi_folder": "vi_folder, unlabelled images of the author's own",
    "vi_labelled": "vi_labelled, labelled images of the author's own",
    "imagenet": "ImageNet, by torchreid's weights of the backbone",
}
_FOR_RESEARCH = ("sysu_mm01", "regdb", "llcm")  # what their authors give them out for
_FREE = ("vi_synthetic",)

#: Licences that the Hub knows by these names; any other one is written as ``other`` with its name.
_HUB_LICENCES = """apache-2.0 mit bsd-2-clause bsd-3-clause gpl-3.0 lgpl-3.0 agpl-3.0 mpl-2.0 cc0-1.0 cc-by-4.0
cc-by-sa-4.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-sa-4.0 cc-by-nc-nd-4.0 unlicense""".split()  # noqa: SIM905

_FIGURES = (*(f"R{k}" for k in RANKS), "mAP", "mINP")

_USE = """\
```python
from torchreid_vi import FeatureExtractor

extractor = FeatureExtractor("FOLDER")  # or "hf://OWNER/NAME"
features = extractor(["night.jpg"], modality="infrared")  # (1, D), L2-normalised: the inner product is the cosine
```

```bash
python tools/search.py --weights FOLDER --query night.jpg --gallery photos/
python tools/train.py --config-file FOLDER/config.yaml model.load_weights FOLDER
```

The first command finds the visible images of a folder most like an infrared one, the second one trains on from
here. FOLDER is this one. Where it is named as weights, `model.safetensors` and `config.yaml` are compared with
`package.json` first, which tells a damaged copy, not who made it; no pickle is read."""

_START = """\
This is where training starts, not a model that tells people apart: `FeatureExtractor` refuses it.

```bash
python tools/train.py --config-file YOURS.yaml model.name {backbone} model.load_weights FOLDER
```

FOLDER is this one or `hf://OWNER/NAME`; `model.safetensors` is compared with `package.json` before it is used, and
no pickle is read."""

_LIMITS = """\
Meant for research on person re-identification between visible and infrared cameras. Figures hold for the dataset
and the protocol they stand beside; on other cameras, places and people expect less, and measure before you rely on
it. Not meant for identifying or following people without a legal ground and their knowledge, nor for decisions
about a person that no person checks."""


def write_card(about: dict[str, Any], cfg: CfgNode) -> str:
    """The text of ``README.md``.

    Args:
        about: what the package's list of files says of the model.
        cfg: its settings.
    """
    pretraining = about["kind"] == "backbone"
    title = f"{about['model']['backbone']} trained on {', '.join(about['trained_on'])}"
    parts = [
        f"---\n{yaml.safe_dump(_front(about, title), sort_keys=False, allow_unicode=True)}---\n",
        f"# {title}\n",
        f"{_what(about)}\n",
        f"## Use\n\n{(_START if pretraining else _USE).format(**about['model'])}\n",
        f"## Trained on\n\n{_origin(about)}\n",
        f"## Figures\n\n{_figures(about['results'])}\n",
        f"## Settings\n\nWhat differs from torchreid_vi's defaults:\n\n```yaml\n{_changed(cfg)}```\n",
        f"## Intended use and limits\n\n{_LIMITS}{_synthetic(about)}\n",
        f"## Licence\n\n{_licence(about)}\n",
    ]
    return "\n".join(parts)


def _front(about: dict[str, Any], title: str) -> dict[str, Any]:
    """The metadata that the Hub reads."""
    tags = ["person-re-identification", "visible-infrared", "cross-modality", "torchreid"]
    front = _hub_licence(about) | {
        "library_name": "torchreid_vi",
        "pipeline_tag": "image-feature-extraction",
        "tags": [*tags, about["model"]["backbone"]],
        "datasets": about["trained_on"],
    }
    results = [result for result in about["results"] if "mean" in result]
    if not results:
        return front
    index = {"name": title, "results": [_indexed(result) for result in results]}
    return front | {"metrics": ["rank-1", "mean_average_precision"], "model-index": [index]}


def _indexed(result: dict[str, Any]) -> dict[str, Any]:
    data = result["dataset"]
    named = (("R1", "rank-1", "Rank-1"), ("mAP", "mean_average_precision", "mAP"))
    return {
        "task": {"type": "image-feature-extraction", "name": "Visible-infrared person re-identification"},
        "dataset": {"type": data["name"], "name": _title(data["name"]), "config": result["label"]},
        "metrics": [
            {"type": kind, "name": name, "value": round(result["mean"][figure], 2)}
            for figure, kind, name in named
        ],
    }


def _what(about: dict[str, Any]) -> str:
    model = about["model"]
    blocks = f", `{model['blocks']}` blocks" if model["blocks"] else ""
    said = (
        f"`{model['backbone']}` with {('one stream', 'two streams')[model['streams'] - 1]}{blocks}, method "
        f"`{model['method']}`, {model['parameters'] / 1e6:.2f} M parameters, images of {model['height']} × "
        f"{model['width']} pixels (height × width)"
    )
    if about["kind"] == "backbone":
        return f"A backbone pre-trained without identities for visible-infrared person re-identification: {said}."
    return f"A model that matches people between visible and infrared images: {said}."


def _origin(about: dict[str, Any]) -> str:
    epoch = about["model"]["epoch"]
    lines = [f"- {_title(name)}" for name in about["trained_on"]]
    if about["trained_on_more"]:
        lines.append("- what the weights it started from were trained on, which is not known here")
    began = f"Started from {about['started_from']}"
    lines.append(f"\n{began}{f', {epoch} epochs' if epoch is not None else ''}.")
    versions = [f"{name} {version}" for name, version in about["packages"].items()]
    lines.append(f"Trained with {', '.join(versions)}." if versions else "Versions were not recorded.")
    return "\n".join(lines)


def _figures(results: Sequence[dict[str, Any]]) -> str:
    """Tables of results as a run prints them, or of a pretext's scores."""
    if not results:
        return "None: the run's figures are not of these weights, or there are none."
    if "pretext" in results[0]:
        scores = [f"{name} {value:.4g}" for name, value in results[0]["pretext"].items()]
        return f"The pretext, on {results[0]['held_out_images']:,} held-out images: {', '.join(scores)}."
    parts = []
    for data in {str(result["dataset"]): result["dataset"] for result in results}.values():
        shown = [result for result in results if result["dataset"] == data]
        kind = "synthetic, " if data.get("synthetic") else ""
        how = explain_settings(shown[0])
        parts += [f"Tested on {_title(data['name'])} ({kind}split {data['split']}); {how}."]
        parts += ["In percent, mean ± standard deviation over the trials:\n"]
        parts += [f"| protocol | {' | '.join(_FIGURES)} | trials |", f"|---|{'---:|' * (len(_FIGURES) + 1)}"]
        for result in shown:
            cells = [f"{result['mean'][f]:.2f} ± {result['std'][f]:.2f}" for f in _FIGURES]
            parts.append(
                f"| `{result['label']}` | {' | '.join(cells)} | {result['protocol']['trials']} |",
            )
        parts += ["", *(f"- `{result['label']}`: {explain(result)}" for result in shown), ""]
    return "\n".join(parts).rstrip()


def _changed(cfg: CfgNode) -> str:
    settings, defaults = config.comparable(cfg), config.comparable(config.default_config())
    hidden = ("model.load_weights", "test.evaluate")
    changed = {k: v for k, v in settings.items() if v != defaults[k] and k not in hidden}
    return yaml.safe_dump(changed, default_flow_style=None)


def _synthetic(about: dict[str, Any]) -> str:
    if not _is_free(about):
        return ""
    return "\n\nThis one has seen drawn people alone: it serves to try things out, and is of no use on real images."


def _bounded(about: dict[str, Any]) -> list[str]:
    return [name for name in about["trained_on"] if name in _FOR_RESEARCH]


def _is_free(about: dict[str, Any]) -> bool:
    """Whether nothing that it learned from has terms of its own."""
    return set(about["trained_on"]) <= set(_FREE) and not about["trained_on_more"]


def _hub_licence(about: dict[str, Any]) -> dict[str, Any]:
    chosen, bounded = about["licence"], _bounded(about)
    if bounded:
        return {"license": "other", "license_name": _slug(f"academic-research {chosen}")}
    if not chosen:
        return {"license": "unknown"}
    if chosen.lower() in _HUB_LICENCES:
        return {"license": chosen.lower()}
    return {"license": "other", "license_name": _slug(chosen)}


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")


def _licence(about: dict[str, Any]) -> str:
    chosen, bounded = about["licence"], _bounded(about)
    said = [f"These weights: {chosen}." if chosen else "The author has named no licence for these weights."]
    if bounded:
        names = " and ".join(_TITLES[name] for name in bounded)
        said.append(
            f"Their authors give out {names} for academic research alone, and that bounds what weights trained on "
            "it may be used for, whatever else is said here."
        )
    others = [name for name in about["trained_on"] if name not in (*_FOR_RESEARCH, *_FREE)]
    if others:
        said.append(f"The terms of {', '.join(others)} bound it, too: ask the author of these weights.")
    if about["trained_on_more"]:
        said.append(f"So do the terms of what training started from: {about['started_from']}.")
    if _is_free(about):
        said.append("vi_synthetic is drawn by torchreid_vi, whose licence is MIT, and bounds nothing.")
    return " ".join(said)


def _title(name: str) -> str:
    return _TITLES.get(name, name)
