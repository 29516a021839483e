"""Image files: their pixels, colours and metadata, by format. images.py is what the rest uses."""
