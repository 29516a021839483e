"""`python -m vitcodec`."""

from .cli import main

main()
