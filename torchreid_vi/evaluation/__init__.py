"""Protocols, ranking and results."""

from torchreid_vi.evaluation.draws import require_matches, trials
from torchreid_vi.evaluation.evaluate import distance_matrix, evaluate
from torchreid_vi.evaluation.protocols import PROTOCOLS, Protocol, TestSet, choose
from torchreid_vi.evaluation.ranking import GalleryIds, Ranking, cmc, rank
from torchreid_vi.evaluation.rerank import Reranking
from torchreid_vi.evaluation.result import RANKS, Result
from torchreid_vi.evaluation.table import METRICS, explain, explain_settings, format_table

__all__ = [
    "METRICS",
    "PROTOCOLS",
    "RANKS",
    "GalleryIds",
    "Protocol",
    "Ranking",
    "Reranking",
    "Result",
    "TestSet",
    "choose",
    "cmc",
    "distance_matrix",
    "evaluate",
    "explain",
    "explain_settings",
    "format_table",
    "rank",
    "require_matches",
    "trials",
]
