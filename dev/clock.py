"""What the training scripts of this folder share."""

from __future__ import annotations

from datetime import datetime, timedelta


def until(text: str) -> datetime:
    """The next '18:05', or '90m' from now."""
    if text.endswith("m"):
        return datetime.now() + timedelta(minutes=float(text[:-1]))
    hour, minute = map(int, text.split(":"))
    moment = datetime.now().replace(hour=hour, minute=minute, second=0)
    return moment if moment > datetime.now() else moment + timedelta(days=1)
