"""Measurements of vitcodec, and the documents that are made from their results. See README.md here."""
