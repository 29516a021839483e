"""The languages of the pages: how each writes numbers."""

from __future__ import annotations

from dataclasses import dataclass

SPACE = "\u00a0"  # that a line does not break at: before units, in Spanish between groups of digits too


@dataclass(frozen=True)
class Language:
    """English, or Spanish as its academies write numbers: decimal comma, spaces in numbers of five digits and more."""

    spanish: bool = False

    def say(self, english: str, spanish: str) -> str:
        """One of two texts that say the same."""
        return spanish if self.spanish else english

    def number(self, value: float, decimals: int | None = None) -> str:
        """A count as it is; else so many decimals, by default two."""
        if decimals is None:
            decimals = 0 if isinstance(value, int) else 2
        text = f"{value:,.{decimals}f}"
        if not self.spanish:
            return text
        whole, _, fraction = text.partition(".")
        if len(whole.lstrip("-")) <= len("9,999"):
            whole = whole.replace(",", "")
        return whole.replace(",", SPACE) + (f",{fraction}" if fraction else "")

    def listed(self, parts: list[str]) -> str:
        """a, b and c."""
        *first, last = parts
        return f"{', '.join(first)} {self.say('and', 'y')} {last}" if first else last


ENGLISH, SPANISH = Language(), Language(spanish=True)
