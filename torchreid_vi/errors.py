"""The one exception that a user's mistake raises, and the sentence for an unknown name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Bad input: one sentence that names the file or key and the remedy.

    The command lines print it and leave with exit status 2. A DataLoader worker raises it again with
    the worker's whole traceback in the message, of which only the sentence is kept.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition("InputError: ")[2].strip())


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """An :class:`InputError` for ``name``, with the nearest known name or all of them.

    >>> str(unknown_name("loss", "cmrr", ["identity", "cmr"]))
    "unknown loss 'cmrr': did you mean 'cmr'?"
    """
    known = sorted(known)
    nearest = get_close_matches(name, known, n=1)
    hint = f"did you mean '{nearest[0]}'?" if nearest else f"known are {', '.join(known)}"
    return InputError(f"unknown {kind} '{name[:100]}': {hint}")
