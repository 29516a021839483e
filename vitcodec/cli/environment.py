"""Environment variables and exit codes, for `doctor` and the man page; docs/cli.md has the same tables."""

from __future__ import annotations

ENVIRONMENT = {
    "VITCODEC_MODEL": "The model, where -m names none.",
    "VITCODEC_MODELS": "Folders, separated as in PATH, that are models or hold some. -m finds these by name, and "
    "decode finds the one that made a file.",
    "VITCODEC_DEVICE": "The device, where --device names none.",
    "VITCODEC_CACHE": "The folder for downloaded models. By default ~/.cache/vitcodec, or vitcodec in $XDG_CACHE_HOME.",
    "VITCODEC_DEBUG": "With 1, errors come with a traceback.",
    "HF_HUB_OFFLINE": "With 1, nothing is fetched from the Hugging Face Hub.",
    "OMP_NUM_THREADS": "CPU threads, where --threads says nothing.",
}
EXIT_STATUS = {
    0: "All is done, or there was nothing to do.",
    1: "At least one file failed; with --strict also where something in a folder was left out.",
    2: "The command line makes no sense. Nothing was done.",
    130: "Interrupted, by Ctrl-C. Files that were finished are kept, and none is half-written.",
}
