"""What a misspelt word may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def meant(word: str, known: Iterable[str], least: float = 0.6) -> str | None:
    """The known word that is nearest to a word, or None. least: how alike they have to be, 0 to 1."""
    return next(iter(difflib.get_close_matches(word.lower(), list(known), 1, least)), None)


def advice(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """The end of a message on a word that is none of those known: "did you mean X?", or "give A, B or C".

    otherwise: what to say in place of the latter.
    """
    names = list(known)
    if found := meant(word, names):
        return f"did you mean {found}?"
    return otherwise or f"give {' or '.join([', '.join(names[:-1]), names[-1]] if len(names) > 1 else names)}"
