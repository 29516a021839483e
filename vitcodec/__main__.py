"""`python -m vitcodec`."""

from .cli import run

run()
