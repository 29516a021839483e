"""A page of HTML with decoded pictures in it: it needs nothing else, and loads nothing."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from . import described

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { margin: 1.5rem auto; max-width: 72rem; padding: 0 1rem; }
figure { margin: 0 0 3rem; }
img { display: block; max-width: 100%; height: auto;
  background: repeating-conic-gradient(#8883 0 25%, #fff3 0 50%) 0 0 / 16px 16px; }
figcaption { font-weight: 600; margin: .6rem 0; overflow-wrap: anywhere; }
th { text-align: left; font-weight: 400; opacity: .7; padding-right: 1.5rem; vertical-align: top; white-space: nowrap; }
td { font-variant-numeric: tabular-nums; overflow-wrap: anywhere; white-space: pre-wrap; }
"""


def page(pictures: Sequence[tuple[dict[str, Any], bytes]]) -> str:
    """The page. pictures: what is known of each file (described.record_of), and its PNG."""
    title = Path(pictures[0][0]["file"]).name if len(pictures) == 1 else f"{len(pictures)} pictures"
    figures = "\n".join(_figure(record, png) for record, png in pictures)
    return f"""<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
{figures}
</html>
"""


def _figure(record: dict[str, Any], png: bytes) -> str:
    line, rows = described.line_of(record), described.rows_of(record)
    table = "\n".join(f"<tr><th>{escape(what)}<td>{escape(' '.join(how.split()))}" for what, how in rows)
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return f"""<figure>
<img alt="{escape(record["file"])}" src="{source}">
<figcaption>{escape(line)}</figcaption>
<table>
{table}
</table>
</figure>"""
