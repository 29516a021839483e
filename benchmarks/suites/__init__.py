"""One module for each suite; see ../harness.py for what a suite is."""
