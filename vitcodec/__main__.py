"""`python -m vitcodec`."""

from vitcodec.cli import main

main()
