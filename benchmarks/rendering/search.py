"""The block of efforts: what each does, from the search's own options, and what it gains and costs, from results."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from vitcodec.search.efforts import EFFORTS, FLOAT_EFFORTS

from .cost import effort_name, seconds
from .library import Block, Library, source, table


def effort(results: Library) -> str:
    """All efforts of the default model; those without a result have no figures."""
    document = results.document("effort", any_weights=True)
    measured = results.current(document["results"]["efforts"]) if document else {}
    configs = {number: asdict(config) for number, config in EFFORTS.items()}
    rows = []
    for number, config in configs.items():
        entry = measured.get(str(number))
        figures = (
            (f"{entry['bd_rate']:+.1f}" if number > 1 else "0", seconds(entry["encode_seconds"])) if entry else ("", "")
        )
        needs = "PyTorch" if config["gradients"] else ""
        rows.append((effort_name(number), described(config, configs), needs, *figures))
    headings = ("effort", "the encoder", "needs", "BD-rate against effort 1 (%)", "encode (s per megapixel)")
    lines = table(headings, rows, 3)
    lines += ["", _skipped(configs)]
    if len(measured) < len(configs):
        left = ", ".join(str(n) for n in configs if str(n) not in measured)
        lines += ["", f"Not measured yet with the weights that ship: effort {left}; `python -m benchmarks effort`."]
    return "\n".join([*lines, *(source(*(e["provenance"] for e in measured.values())) if measured else [])])


def efforts_of_floats(results: Library) -> str:
    """What each effort does in families in floating point; no figures."""
    configs = {number: asdict(config) for number, config in FLOAT_EFFORTS.items()}
    rows = [(effort_name(number), described(config, configs)) for number, config in configs.items()]
    return "\n".join([*table(("effort", "the encoder"), rows, 2), "", _skipped(configs)])


def _skipped(configs: dict[int, dict[str, Any]]) -> str:
    longest = configs[max(configs)]
    share = 100 * longest["skip_share"]
    return f"After {longest['skip_after']} rounds, {share:.0f} % of the updates are randomly skipped."


def described(config: dict[str, Any], configs: dict[int, dict[str, Any]]) -> str:
    """What an effort does: its rounds, and the other options that are not the same at all efforts."""
    own = ("proposals", "exact", "gradients", "rounds", "fit_scales")
    kinds = {"proposals": " of proposals", "exact": " with the adjoint", "gradients": " by gradient", "rounds": ""}
    counts = [(config[name], kind) for name, kind in kinds.items() if config.get(name)]
    each = [f"{n} round{'s' if n > 1 else ''}{kind}" for n, kind in counts]
    rounds = " and ".join([", ".join(each[:-1]), each[-1]] if each[1:] else each)
    parts = [f"RDO search, {rounds}" if rounds else "rounds to the nearest token"]
    parts += ["scale offsets fitted"] if config["fit_scales"] else []
    for name, value in config.items():
        if name not in own and len({repr(c[name]) for c in configs.values()}) > 1:
            parts.append(f"{name.replace('_', ' ')} {value}")
    return "; ".join(parts)


BLOCKS: dict[str, Block] = {"effort": effort, "effort-floats": efforts_of_floats}
