"""Weights to share: a folder with a model, its settings and its card, and every way to one."""

from torchreid_vi.sharing.locating import is_remote, locate
from torchreid_vi.sharing.package import CARD, MANIFEST, SETTINGS, WEIGHTS, verify
from torchreid_vi.sharing.writing import write_package

__all__ = ["CARD", "MANIFEST", "SETTINGS", "WEIGHTS", "is_remote", "locate", "verify", "write_package"]
