"""Share weights: write a package of a model, its settings and its card, and find a model by any name of it."""

from torchreid_vi.sharing.locating import is_remote, locate
from torchreid_vi.sharing.package import CARD, MANIFEST, SETTINGS, WEIGHTS, verify
from torchreid_vi.sharing.writing import write_package

__all__ = ["CARD", "MANIFEST", "SETTINGS", "WEIGHTS", "is_remote", "locate", "verify", "write_package"]
