"""Report on finished runs: one run on a page, or methods side by side."""

from torchreid_vi.report.bootstrap import Difference, paired_bootstrap
from torchreid_vi.report.collect import Method, collect
from torchreid_vi.report.comparison import plain_table, write_comparison
from torchreid_vi.report.published import PUBLISHED, Published, published
from torchreid_vi.report.run_page import write_report

__all__ = [
    "PUBLISHED",
    "Difference",
    "Method",
    "Published",
    "collect",
    "paired_bootstrap",
    "plain_table",
    "published",
    "write_comparison",
    "write_report",
]
