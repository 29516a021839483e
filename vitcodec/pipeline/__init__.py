"""From pictures to files and back: encoder.py and decoder.py, read from top to bottom. floats.py alone needs torch."""
