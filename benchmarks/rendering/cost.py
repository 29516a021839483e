"""Blocks of time, memory and size."""

from __future__ import annotations

from vitcodec.options import EncodeOptions

from ..images import LARGE
from .library import Block, Library, Lines, Results, block, source, table

TORCH = "torch", "nvidia", "triton", "cuda"  # how the packages of PyTorch and of its GPU libraries begin


def seconds(value: float) -> str:
    """Three digits: 0.00251, 0.482, 12.3, 148."""
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def effort_name(effort: int) -> str:
    return f"{effort} (default)" if effort == EncodeOptions.effort else str(effort)


def _entries(results: Library, document: Results) -> list[Results]:
    return [e for e in document["results"]["entries"] if results.is_current(e["provenance"])]


@block("memory", any_weights=True)
def speed_12mp(results: Library, document: Results) -> Lines | None:
    """Whole commands on the picture of 12 megapixels, one row for each effort."""
    entries = [e for e in _entries(results, document) if e["size"] == LARGE]
    if not entries:
        return None
    width, height = map(int, LARGE.split("x"))
    rows = [
        (
            effort_name(e["effort"]),
            *(seconds(e["commands"][c]["seconds"]) for c in ("encode", "decode")),
            *(f"{e['commands'][c]['mib']:,}" for c in ("encode", "decode")),
            f"{8 * e['bytes'] / (width * height):.3f}",
        )
        for e in entries
    ]
    headings = ("effort", "encode (s)", "decode (s)", "encode (MiB)", "decode (MiB)", "bits per pixel")
    return [*table(headings, rows, 0), *source(*(e["provenance"] for e in entries))]


@block("memory", any_weights=True)
def memory(results: Library, document: Results) -> Lines | None:
    """Whole commands by size, at the lowest effort that was measured of each size."""
    entries = _entries(results, document)
    chosen = {e["size"]: e for e in sorted(entries, key=lambda e: -e["effort"])}
    chosen = {size: chosen[size] for size in dict.fromkeys(e["size"] for e in entries)}
    rows = [
        (size, str(e["effort"]), f"`{what}`", f"{c['mib']:,}", seconds(c["seconds"]), seconds(c["cpu"]))
        for size, e in chosen.items()
        for what, c in e["commands"].items()
    ]
    if not rows:
        return None
    alone = document["results"]["torch_alone"]
    rows.insert(0, ("", "", "torch alone", f"{alone['mib']:,}", seconds(alone["seconds"]), seconds(alone["cpu"])))
    headings = ("pixels", "effort", "command", "peak memory (MiB)", "time (s)", "CPU (s)")
    return [*table(headings, rows, 3), *source(*(e["provenance"] for e in chosen.values()))]


@block("speed")
def speed(results: Library, document: Results) -> Lines:
    found = document["results"]
    rows = []
    for r in found["rows"]:
        name = f"{r['codec']}, effort {effort_name(r['effort'])}" if "effort" in r else r["codec"]
        times = (seconds(r["encode_seconds"]), seconds(r["decode_seconds"]))
        rows.append((name, f"{r['setting']:g}", str(r["threads"]), f"{r['bpp']:.4f}", f"{r['psnr']:.2f}", *times))
    headings = ("codec", "setting", "threads", "bits per pixel", "PSNR (dB)", "encode (s)", "decode (s)")
    head = f"`{found['image']}`, {found['width']}x{found['height']}, median of {found['reps']} runs:"
    return [head, "", *table(headings, rows), *source(document["provenance"])]


@block("times")
def times(results: Library, document: Results) -> Lines:
    """A row for each picture and quality: seconds with the model loaded, seconds and memory of commands, avifenc."""
    found = document["results"]
    efforts = [name for name in found["rows"][0]["seconds"] if name.endswith(", loaded")]
    names = [name.removesuffix(", loaded") for name in efforts]
    rows = []
    for r in found["rows"]:
        took, avif = r["seconds"], r["avifenc"]
        rows.append(
            (
                f"{r['image']}, {r['width']}x{r['height']}",
                f"{r['quality']}",
                *(seconds(took[f"{name}, loaded"]) for name in names),
                *(f"{seconds(took[f'{name}, command'])} ({r['mib'][name]:,})" for name in names),
                f"{seconds(took['avifenc'])}" if avif else "",
                f"{took[f'{names[-2]}, command'] / took['avifenc']:.2f}" if avif else "",
            )
        )
    headings = ("picture", "quality", *(f"{name} (s)" for name in names), *(f"`{name}` (s, MiB)" for name in names))
    instructions = {True: "with VNNI", False: "without VNNI", None: "VNNI not known"}[found["vnni"]]
    head = [f"Shortest of {found['reps']} runs; a processor {instructions}; networks run on {found['engine']}."]
    head += [f"avifenc: {found['avifenc']}, `-s 4 -j 2`, at the same size." if found["avifenc"] else "No avifenc here."]
    last = f"`{names[-2]}` / avifenc"
    return [" ".join(head), "", *table((*headings, "avifenc (s)", last), rows), *source(document["provenance"])]


@block("partial")
def partial(results: Library, document: Results) -> Lines:
    found = document["results"]
    whole = found["rows"][0]
    rows = [
        (
            f"`{r['part']}`" if r["part"].startswith("--") else r["part"],
            f"{r['bytes']:,}",
            seconds(r["seconds"]),
            f"{whole['seconds'] / r['seconds']:.1f}",
        )
        for r in found["rows"]
    ]
    size = f"{found['width']}x{found['height']}"
    head = f"`{found['image']}`, {size}, quality {found['quality']}, median of {found['reps']} runs:"
    headings = ("part", "bytes read", "time (s)", "times as fast")
    return [head, "", *table(headings, rows), *source(document["provenance"])]


@block("tokens")
def tokens(results: Library, document: Results) -> Lines:
    found = document["results"]
    rows = [
        (
            r["what"],
            str(r["processes"]),
            f"{r['rate']:.3g}" if r["rate"] < 100 else f"{r['rate']:.0f}",
            f"{r['ratio']:.0f}",
        )
        for r in found["rows"]
    ]
    pictures = f"{found['pictures']} pictures of {found['width']}x{found['height']}"
    held = ", ".join(f"{name} {size:,}" for name, size in found["bytes"].items())
    head = f"{pictures}, quality {found['quality']}, effort {found['effort']}; bytes a picture: {held}."
    headings = ("what", "threads or workers", "pictures a second", "times as fast as decoding")
    return [head, "", *table(headings, rows), *source(document["provenance"])]


@block("startup", any_weights=True)
def startup(results: Library, document: Results) -> Lines:
    rows = [(f"`{c['command']}`", f"{c['seconds']:.2f}") for c in document["results"]["commands"]]
    head = f"Median of {document['results']['reps']} runs:"
    return [head, "", *table(("command", "time (s)"), rows), *source(document["provenance"])]


@block("install", any_weights=True)
def install_size(results: Library, document: Results) -> Lines:
    """Whole installations, and what extras add."""
    found = document["results"]
    own = found["code"] + sum(found["weights"].values())
    torch = sum(p["bytes"] for p in found["packages"] if p["package"].startswith(TORCH))
    rest = sum(p["bytes"] for p in found["packages"]) - torch
    sizes = [
        ("everything", own + torch + rest),
        ("of that PyTorch with its GPU libraries", torch),
        (f"of that vitcodec with the weights of {len(found['weights'])} models", own),
    ]
    if cpu := found.get("cpu"):
        sizes.append((f"everything, PyTorch {cpu['version']} for CPUs", own + cpu["bytes"] + rest))
    sizes.append(("without PyTorch", own + found["light"]))
    sizes += [(f"`[{extra}]` adds", size) for extra, size in found.get("extras", {}).items()]
    rows = [(name, f"{size / 1e6:.0f}") for name, size in sizes]
    return [*table(("installed", "MB"), rows), *source(document["provenance"])]


BLOCKS: dict[str, Block] = {
    "speed-12mp": speed_12mp,
    "memory": memory,
    "speed": speed,
    "times": times,
    "partial": partial,
    "tokens": tokens,
    "startup": startup,
    "install-size": install_size,
}
