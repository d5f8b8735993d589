"""Write the card of a model, for people and for the Hugging Face Hub: its origin, its use and its limits."""

from __future__ import annotations

from typing import Any

import yaml
from jinja2 import Environment, PackageLoader
from yacs.config import CfgNode

from torchreid_vi import config
from torchreid_vi.evaluation import METRICS, explain, explain_settings

_TITLES = {
    "sysu_mm01": "SYSU-MM01",
    "regdb": "RegDB",
    "llcm": "LLCM",
    "vi_synthetic": "vi_synthetic, people rendered by torchreid_vi",
    "vi_folder": "vi_folder, unlabelled images of the author's own",
    "vi_labelled": "vi_labelled, labelled images of the author's own",
}
_FOR_RESEARCH = ("sysu_mm01", "regdb", "llcm")  # datasets given out for academic research alone


def write_card(about: dict[str, Any], cfg: CfgNode) -> str:
    """Return the text of a package's ``README.md``.

    Args:
        about: Content of the package's manifest.
        cfg: Settings of the model.
    """
    environment = Environment(loader=PackageLoader("torchreid_vi.sharing"), keep_trailing_newline=True)  # noqa: S701 - Markdown
    research = [name for name in about["trained_on"] if name in _FOR_RESEARCH]
    random = about["started_from"] == "random values"
    licence = {"license": about["licence"].lower() or "unknown"}
    if research:
        licence = {"license": "other", "license_name": "academic-research"}
    tags = ["person-re-identification", "visible-infrared", "cross-modality", "torchreid"]
    front = licence | {  # metadata that the Hub reads
        "library_name": "torchreid_vi",
        "pipeline_tag": "image-feature-extraction",
        "tags": [*tags, about["model"]["backbone"]],
        "datasets": about["trained_on"],
    }
    settings, defaults = config.comparable(cfg), config.comparable(config.default_config())
    hidden = ("model.load_weights", "test.evaluate")
    changed = {k: v for k, v in settings.items() if v != defaults.get(k) and k not in hidden}
    return environment.get_template("card.md").render(
        about,
        front=yaml.safe_dump(front, sort_keys=False, allow_unicode=True),
        title=f"{about['model']['backbone']} trained on {', '.join(about['trained_on'])}",
        pretraining=about["kind"] == "backbone",
        titles=_TITLES,
        metrics=METRICS,
        explain=explain,
        explain_settings=explain_settings,
        settings=yaml.safe_dump(changed, default_flow_style=None),
        research=research,
        began_elsewhere=not random,
        synthetic=random and about["trained_on"] == ["vi_synthetic"],
    )
