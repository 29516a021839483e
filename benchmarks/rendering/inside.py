"""Captions and tables of docs/inside-*.webp, in two languages: what layers make of one photograph."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

from ..language import SPACE, Language
from .library import Library, Lines, Results, source, table

Spoken = Callable[[Library, Language], Lines]
# the suite's results and their provenance -> what the page says
Measured = Callable[[Results, Language], Lines]


def measured(function: Measured) -> Spoken:
    """Makes a block of a function of the suite's document: one that says so where nothing was measured."""

    def render(results: Library, language: Language) -> Lines:
        if document := results.document("inside"):
            return function(document, language)
        text = language.say("Not measured yet with the weights that ship", "Sin medir todavía con los pesos actuales")
        return [f"{text}: `python -m benchmarks inside`."]

    return render


def caption(language: Language, english: str, spanish: str) -> Lines:
    return textwrap.wrap(language.say(english, spanish), 120, break_on_hyphens=False, break_long_words=False)


@measured
def wavelet(document: Results, language: Language) -> Lines:
    found = document["results"]
    name, size = f"`examples/{found['image']}`", f"{found['width']}x{found['height']}"
    return caption(
        language,
        f"{name}, {size} pixels, and what the wavelet makes of it. In the upper left corner, the low band. Around it, "
        "the details of level 4; then those of levels 3, 2 and 1. Mid-gray is zero; each level has a contrast of its "
        "own.",
        f"{name}, {size} píxeles, y lo que la ondícula hace de ella. En la esquina superior izquierda, la banda baja. "
        "A su alrededor, los detalles del nivel 4; después, los de los niveles 3, 2 y 1. El gris medio es cero; cada "
        "nivel tiene su propio contraste.",
    )


@measured
def neurons(document: Results, language: Language) -> Lines:
    found = document["results"]["neurons"]
    layer, channels = f"`{found['layer']}`", language.listed([str(c) for c in found["channels"]])
    return caption(
        language,
        f"Four neurons of the convolution {layer}: the channel that each sees, its weights (gray is zero), and what it "
        f"makes. They are channels {channels}, those whose maps are the smoothest and unlike each other.",
        f"Cuatro neuronas de la convolución {layer}: el canal que ve cada una, sus pesos (el gris es cero) y lo que "
        f"resulta. Son los canales {channels}, los de mapas más suaves y distintos entre sí.",
    )


@measured
def features(document: Results, language: Language) -> Lines:
    channels = document["results"]["features"]["channels"]
    listed = language.listed([f"{', '.join(map(str, own))} (1/{stride})" for stride, own in channels.items()])
    return caption(
        language,
        "What neurons of the analysis make of the photograph at 1/4, 1/8 and 1/16 of the resolution, at the end of the "
        f"way down. On the left, the photograph at each of these. Channels {listed}: those with the smoothest maps. "
        "Most others look like noise to the eye.",
        "Lo que hacen de la fotografía algunas neuronas del análisis a 1/4, 1/8 y 1/16 de la resolución, al final de "
        f"la bajada. A la izquierda, la fotografía a cada una de ellas. Canales {listed}: los de mapas más suaves. "
        "Casi todos los demás parecen ruido a simple vista.",
    )


@measured
def changes(document: Results, language: Language) -> Lines:
    found, number = document["results"], language.number
    total, quality = number(3 * found["width"] * found["height"]), found["quality"]
    analysis, search = (number(found["changed"][k]) for k in ("by_analysis", "by_search"))
    return caption(
        language,
        f"In the example, at quality {quality}, analysis and gains change {analysis} of {total} integers from what "
        f"rounding the wavelet's coefficients would give. The search then changes {search}.",
        f"En el ejemplo, con calidad {quality}, el análisis y las ganancias cambian {analysis} de los {total} enteros "
        f"que daría el redondeo de la ondícula sin más. Después, la búsqueda cambia {search}.",
    )


@measured
def tokens(document: Results, language: Language) -> Lines:
    """What the example's integers are and cost, level by level."""
    found, say, number = document["results"], language.say, language.number
    rows, values, zeros = [], 0, 0
    for level in found["levels"]:
        height, width, channels = level["shape"]
        count, index = height * width * channels, level["level"]
        values, zeros = values + count, zeros + level["zeros"]
        rows.append(
            (
                f"{say('level', 'nivel')} {index}" if index else say("low band", "banda baja"),
                number(count),
                f"{number(100 * level['zeros'] / count, 1)}{SPACE}%",
                str(level["largest"]),
                number(level["bits_of_a_zero"], 2),
                number(level["bits_of_another"], 1),
                number(level["bytes"]),
            )
        )
    headings = (
        "",
        say("integers", "enteros"),
        say("zeros", "ceros"),
        say("largest magnitude", "magnitud máxima"),
        say("bits of a zero", "bits de un cero"),
        say("bits of another", "bits de los demás"),
        say("bytes in the file", "bytes en el archivo"),
    )
    head = f"`examples/{found['image']}`, {say('quality', 'calidad')} {found['quality']}, "
    head += f"{say('effort', 'esfuerzo')} {found['effort']}:"
    size, rate = number(found["bytes"]), number(8 * found["bytes"] / (found["width"] * found["height"]), 2)
    groups, psnr, share = found["groups"], number(found["psnr"], 2), number(100 * zeros / values, 0)
    after = caption(
        language,
        f"In all, with what frames them, {size} bytes: {rate} bits a pixel. The decoded picture has a PSNR of {psnr} "
        f"dB. {share} % of the integers are zero. They are coded in {groups} groups. Bits of a zero include block "
        "flags.",
        f"En total, con lo que los enmarca, son {size} bytes: {rate} bits por píxel. La imagen decodificada tiene un "
        f"PSNR de {psnr} dB. El {share} % de los enteros son ceros. Se codifican en {groups} grupos. Los bits de un "
        "cero incluyen las banderas de bloque.",
    )
    origin = [line.replace(" cores,", say(" cores,", " núcleos,")) for line in source(document["provenance"])]
    return [head, "", *table(headings, rows), "", *after, *origin]


@measured
def bits(document: Results, language: Language) -> Lines:
    found = document["results"]["bits_of_a_token"]
    least, median, most = (language.number(found[k]) for k in ("least", "median", "most"))
    return caption(
        language,
        f"Where the bits go: each square is a token. The cheapest costs {least} bits, half of them at most {median}, "
        f"the most expensive one {most}.",
        f"Dónde se gastan los bits: cada cuadrado es un token. El más barato cuesta {least} bits; la mitad, {median} o "
        f"menos; el más caro, {most}.",
    )


@measured
def correction(document: Results, language: Language) -> Lines:
    found, number = document["results"]["correction"], language.number
    quality, size = found["quality"], number(found["bytes"])
    keys = "psnr_without", "psnr_network", "psnr_filtered", "psnr"
    without, network, filtered, whole = (number(found[k], 2) for k in keys)
    return caption(
        language,
        f"A part of the photograph at quality {quality} ({size} bytes). From the left: the original; decoded without "
        f"the synthesis network ({without} dB in the whole picture); with it ({network} dB), the adaptive filter "
        f"({filtered} dB) and the enhancement ({whole} dB); what the network changes, six times as strong.",
        f"Una parte de la fotografía con calidad {quality} ({size} bytes). De izquierda a derecha: el original; "
        f"decodificada sin la red de síntesis ({without} dB en la imagen entera); con ella ({network} dB), con el "
        f"filtro adaptativo ({filtered} dB) y con la mejora ({whole} dB); lo que cambia la red, seis veces más fuerte.",
    )


BLOCKS: dict[str, Spoken] = {
    "inside-wavelet": wavelet,
    "inside-neurons": neurons,
    "inside-features": features,
    "inside-changes": changes,
    "inside-tokens": tokens,
    "inside-bits": bits,
    "inside-correction": correction,
}
