"""The result of a protocol: its metrics, and all that is needed to compare them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from torchreid_vi.errors import InputError
from torchreid_vi.evaluation.draws import Trial
from torchreid_vi.evaluation.protocols import Protocol
from torchreid_vi.evaluation.ranking import Ranking, cmc

RANKS = (1, 5, 10, 20)


@dataclass(frozen=True)
class Result:
    """The metrics of one protocol, with all that is needed to compare them.

    Attributes:
        dataset: Name, and whether it is synthetic and which split was used.
        name: The protocol's name in its family.
        protocol: What was compared with what.
        settings: Metric, normalisation, flip averaging and re-ranking.
        trials: For each trial its metrics in percent, and its numbers of queries and gallery images.
        rankings: For each trial the ranks that its queries' matches have; queries are numbered as in the test set.
    """

    dataset: dict[str, Any]
    name: str
    protocol: Protocol
    settings: dict[str, Any]
    trials: list[dict[str, float]] = field(default_factory=list)
    rankings: list[Ranking] = field(default_factory=list, repr=False)

    @property
    def label(self) -> str:
        """Return the protocol's name, and the re-ranking's if there is one."""
        how = self.settings["reranking"]
        return self.name if how == "none" else f"{self.name} + {how.split(' (')[0]}"

    def add(self, found: Ranking, trial: Trial) -> None:
        """Add what the queries of a trial found.

        Raises:
            InputError: When no query has a match.
        """
        queries = len(found.first)
        if not queries:
            raise InputError(
                f"protocol {self.protocol.mode}, {self.protocol.direction}: no query has a match in its "
                "gallery; check that both sides have the same identities"
            )
        metrics = {f"R{k}": 100 * share for k, share in cmc(found.first, RANKS).items()}
        metrics |= {"mAP": 100 * float(np.mean(found.ap)), "mINP": 100 * float(np.mean(found.inp))}
        self.trials.append(metrics | {"queries": queries, "gallery": len(trial.gallery)})
        self.rankings.append(found)

    def mean(self, metric: str) -> float:
        """Return the mean of a metric (``R1``, ``mAP``, …) over the trials, in percent."""
        return float(np.mean([trial[metric] for trial in self.trials]))

    def std(self, metric: str) -> float:
        """Return the standard deviation of a metric over the trials, in points."""
        return float(np.std([trial[metric] for trial in self.trials]))

    def as_dict(self) -> dict[str, Any]:
        """Return all of it, for JSON."""
        metrics = [f"R{k}" for k in RANKS] + ["mAP", "mINP"]
        what = {key: getattr(self.protocol, key) for key in ("mode", "direction", "draw", "drawn", "shots")}
        what |= {"cmc_counts": "identities" if self.protocol.unique_ids else "images"}
        what |= {"not_shown": self.protocol.exclude, "trials": len(self.trials)}
        return {
            "label": self.label,
            "dataset": self.dataset,
            "protocol": {"name": self.name} | what,
            "settings": self.settings,
            "mean": {metric: round(self.mean(metric), 4) for metric in metrics},
            "std": {metric: round(self.std(metric), 4) for metric in metrics},
            "trials": self.trials,
        }
