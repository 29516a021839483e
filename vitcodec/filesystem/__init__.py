"""Inputs found, outputs written: what files.py gathers for the commands."""
