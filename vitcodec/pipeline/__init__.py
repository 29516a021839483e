"""Format 1 from pictures to files and back: encoder.py and decoder.py, read from top to bottom. No torch."""
