"""The exception for a user's mistake, and the sentence for an unknown name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_LONGEST = 1600  # characters of a sentence


class InputError(ValueError):
    """Bad input: one sentence that names the file or key and the remedy.

    The command lines print it and leave with exit status 2. Names that it takes from files stay on its line: what
    cannot be printed is escaped, and what is endless is cut.

    >>> print(InputError("a\\nb"))
    a\\nb
    """

    def __init__(self, message: str) -> None:
        sentence = message.strip()
        if len(sentence) > _LONGEST:
            sentence = f"{sentence[: _LONGEST // 2]} … {sentence[-_LONGEST // 4 :]}"
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in sentence))


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """Return an :class:`InputError` for ``name``, with the nearest known name or all of them.

    >>> str(unknown_name("loss", "cmrr", ["identity", "cmr"]))
    "unknown loss 'cmrr': did you mean 'cmr'?"
    """
    known = sorted(known)
    nearest = get_close_matches(name, known, n=1)
    hint = f"did you mean '{nearest[0]}'?" if nearest else f"known are {', '.join(known)}"
    return InputError(f"unknown {kind} {name[:100]!r}: {hint}")
