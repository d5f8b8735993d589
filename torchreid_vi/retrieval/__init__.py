"""Search with trained weights: features, galleries, indexes, thresholds, exports."""

from torchreid_vi.retrieval.extractor import FeatureExtractor
from torchreid_vi.retrieval.gallery import Found, Gallery

__all__ = ["FeatureExtractor", "Found", "Gallery"]
