"""Blocks in Spanish, for README.es.md."""

from __future__ import annotations

import re

WORDS = {
    "BD-rate against": "BD-rate frente a",
    "bits per pixel": "bits por píxel",
    "quality": "calidad",
    "to": "a",
    "optimised": "optimizado",
    "default tuning": "ajuste por defecto",
    "published curve": "curva publicada",
    "Not measured yet with the weights that ship": "Sin medir todavía con los pesos actuales",
}


def translated(text: str) -> str:
    """A block in Spanish. What stands between backticks stays as it is."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else _words(part) for part in parts)


def _words(text: str) -> str:
    for english, spanish in sorted(WORDS.items(), key=lambda pair: -len(pair[0])):  # phrases before their parts
        text = re.sub(rf"\b{english}\b", spanish, text)
    return text
