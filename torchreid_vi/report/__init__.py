"""Reports on finished runs: methods side by side, as tables and as one page."""

from torchreid_vi.report.bootstrap import Difference, paired_bootstrap
from torchreid_vi.report.collect import Method, collect
from torchreid_vi.report.comparison import write_comparison
from torchreid_vi.report.published import PUBLISHED, Published, published

__all__ = [
    "PUBLISHED",
    "Difference",
    "Method",
    "Published",
    "collect",
    "paired_bootstrap",
    "published",
    "write_comparison",
]
