"""The block of efforts: what each does, from the search's own options, and what it gains and costs, from results."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from .cost import effort_name, seconds
from .library import Block, Library, source, table


def effort(results: Library) -> str:
    """All efforts; those without a result have no figures."""
    from vitcodec.rdo import EFFORTS

    document = results.document("effort", any_weights=True)
    measured = results.current(document["results"]["efforts"]) if document else {}
    configs = {number: asdict(config) for number, config in EFFORTS.items()}
    rows = []
    for number, config in configs.items():
        entry = measured.get(str(number))
        figures = (
            (f"{entry['bd_rate']:+.1f}" if number > 1 else "0", seconds(entry["encode_seconds"])) if entry else ("", "")
        )
        rows.append((effort_name(number), described(config, configs), *figures))
    headings = ("effort", "the encoder", "BD-rate against effort 1 (%)", "encode (s per megapixel)")
    lines = table(headings, rows, 2)
    longest = EFFORTS[max(EFFORTS)]
    lines += [
        "",
        f"From round {longest.skip_after + 1} on {100 * longest.skip_share:.0f} % of the updates are randomly skipped.",
    ]
    if len(measured) < len(configs):
        left = ", ".join(str(n) for n in configs if str(n) not in measured)
        lines += ["", f"Not measured yet with the weights that ship: effort {left}; `python -m benchmarks effort`."]
    return "\n".join([*lines, *(source(*(e["provenance"] for e in measured.values())) if measured else [])])


def described(config: dict[str, Any], configs: dict[int, dict[str, Any]]) -> str:
    """What an effort does: its rounds, and the other options that are not the same at all efforts."""
    rounds = config["rounds"]
    parts = ["rounds to the nearest token" if not rounds else f"RDO search, {rounds} round{'s' if rounds > 1 else ''}"]
    parts += ["scale offsets fitted"] if config["fit_scales"] else []
    for name, value in config.items():
        if name not in ("rounds", "fit_scales") and len({repr(c[name]) for c in configs.values()}) > 1:
            parts.append(f"{name.replace('_', ' ')} {value}")
    return "; ".join(parts)


BLOCKS: dict[str, Block] = {"effort": effort}
