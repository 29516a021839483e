"""Blocks that are written in English, in Spanish: words, and numbers."""

from __future__ import annotations

import re

from ..language import SPANISH

WORDS = {
    "BD-rate against": "BD-rate frente a",
    "bits per pixel": "bits por píxel",
    "quality": "calidad",
    "effort": "esfuerzo",
    "default": "por defecto",
    "encode": "codificar",
    "decode": "decodificar",
    "to": "a",
    "optimised": "optimizado",
    "default tuning": "ajuste por defecto",
    "published curve": "curva publicada",
    "installed": "instalado",
    "everything": "todo",
    "everything, PyTorch": "todo, con PyTorch",
    "for CPUs": "para CPU",
    "of that PyTorch with its GPU libraries": "de ello, PyTorch con sus bibliotecas para GPU",
    "of that vitcodec with the weights of": "de ello, vitcodec con los pesos de",
    "models": "modelos",
    "mean of": "media de",
    "images": "imágenes",
    "PSNR of RGB in dB": "PSNR del RGB en dB",
    "without PyTorch": "sin PyTorch",
    "adds": "añade",
    "cores": "núcleos",
    "Not measured yet with the weights that ship": "Sin medir todavía con los pesos actuales",
}
# numbers, but not those of versions, which have points in any language, and not within names
NUMBER = re.compile(r"(?<![\w.,])(?<!VTM )(\d{1,3}(?:,\d{3})+|\d+)(?:\.(\d+))?(?![\w,]*\d|\.\d)")


def translated(text: str) -> str:
    """A block in Spanish. What stands between backticks stays as it is."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else _numbers(_words(part)) for part in parts)


def translated_plot(svg: str) -> str:
    """A plot with its texts in Spanish."""
    return re.sub(r"(?<=>)[^<>]+(?=</text>)", lambda found: translated(found[0]), svg)


def _words(text: str) -> str:
    phrases = "|".join(re.escape(english) for english in sorted(WORDS, key=len, reverse=True))  # before their parts
    return re.sub(rf"\b({phrases})\b", lambda found: WORDS[found[1]], text)


def _numbers(text: str) -> str:
    def written(found: re.Match[str]) -> str:
        whole, fraction = found[1], found[2]
        if "," in whole or len(whole) > 4:  # years, months and minutes stay as they are
            whole = SPANISH.number(int(whole.replace(",", "")))
        return f"{whole},{fraction}" if fraction else whole

    return NUMBER.sub(written, text)
