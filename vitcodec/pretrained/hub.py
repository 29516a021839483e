"""Models on the Hugging Face Hub: downloading into a cache of vitcodec's own, and uploading.

huggingface_hub is imported when something is asked of it.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError, WeightsError
from .config import CONFIG, FLOAT_CONTEXT, FLOAT_SYNTHESIS, FLOAT_TRANSFORM, GRAPHS, SEARCH, parts_of

HUB = "hf-hub:"
SOURCES = "SOURCES.md"
OPTIONAL = "README.md", SOURCES, GRAPHS, SEARCH, FLOAT_CONTEXT, FLOAT_TRANSFORM, FLOAT_SYNTHESIS


@dataclass(frozen=True)
class Repository:
    """hf-hub:ORG/NAME[@REVISION]; without a revision, the newest of the main branch."""

    name: str
    revision: str | None

    @classmethod
    def parse(cls, text: str) -> Repository:
        """Raises UsageError."""
        match = re.fullmatch(rf"{HUB}([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", text)
        if not match:
            raise UsageError(f"'{text}' is no model on the hub; write it as {HUB}ORG/NAME or {HUB}ORG/NAME@REVISION")
        return cls(match[1], match[2])

    def __str__(self) -> str:
        return f"{HUB}{self.name}" + (f"@{self.revision}" if self.revision else "")


def is_name(text: str) -> bool:
    """Whether a text can be ORG/NAME."""
    return re.fullmatch(r"[\w.-]+/[\w.-]+", text) is not None and text.split("/")[0] not in (".", "..")


def cache_folder() -> Path:
    """$VITCODEC_CACHE/hub, by default ~/.cache/vitcodec/hub ($XDG_CACHE_HOME is respected)."""
    base = os.environ.get("VITCODEC_CACHE")
    return (
        Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vitcodec"
    ) / "hub"


def cached(repository: Repository) -> Path | None:
    """The folder of a repository that has been downloaded."""
    from huggingface_hub import try_to_load_from_cache

    def cached_file(file: str) -> str | None:
        path = try_to_load_from_cache(repository.name, file, cache_folder(), repository.revision)
        return path if isinstance(path, str) else None

    config = cached_file(CONFIG)
    if config is None:
        return None
    try:
        return Path(config).parent if all(map(cached_file, parts_of(Path(config)))) else None
    except ValueError:
        return None


def downloaded() -> list[tuple[str, Path]]:
    """(hf-hub:ORG/NAME@COMMIT, folder) of everything in the cache, in the layout that huggingface_hub documents."""
    found = []
    for config in sorted(cache_folder().glob("models--*--*/snapshots/*/config.json")):
        organisation, name = config.parents[2].name.split("--", 2)[1:]
        found.append((f"{HUB}{organisation}/{name}@{config.parent.name}", config.parent))
    return found


def download(repository: Repository) -> Path:
    """The folder of a repository, brought up to date. Raises WeightsError."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    _quiet_unless_terminal()

    def fetch(file: str, revision: str | None) -> Path:
        return Path(hf_hub_download(repository.name, file, cache_dir=cache_folder(), revision=revision))

    try:
        config = fetch(CONFIG, repository.revision)
        # the folder is named for the commit: the other files are to be of the same
        folder = config.parent
        for part in parts_of(config):
            fetch(part, folder.name)
        for file in OPTIONAL:
            try:
                fetch(file, folder.name)
            except EntryNotFoundError:
                continue
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise WeightsError(
            f"{repository}: not in {cache_folder()}, and the hub cannot be reached; "
            f"with a network, and HF_HUB_OFFLINE unset, run vitcodec models download {repository}"
        ) from error
    except EntryNotFoundError as error:
        raise WeightsError(
            f"{repository}: holds no vitcodec model, which is a {CONFIG} and a model.safetensors; check the name"
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise WeightsError(
            f"{repository}: no such model or revision on the hub, or it is private; "
            "check the name, or log in with hf auth login"
        ) from error
    except (OSError, ValueError) as error:
        raise WeightsError(f"{repository}: cannot be downloaded ({_first_line(error)}); try again later") from error
    return folder


def push(folder: Path, repository: Repository, private: bool, sources: Path | None = None) -> str:
    """Upload a model folder to a repository, in one commit, and return the commit's address. Raises WeightsError.

    A repository that does not exist is created, and is private if `private`. sources: a SOURCES.md that is not in the
    folder.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    _quiet_unless_terminal()
    api = HfApi()
    files = {name: folder / name for name in (CONFIG, *parts_of(folder / CONFIG), *OPTIONAL)}
    if sources is not None:
        files[SOURCES] = sources
    try:
        api.create_repo(repository.name, private=private, exist_ok=True)
        commit = api.create_commit(
            repository.name,
            [CommitOperationAdd(name, file) for name, file in files.items() if file.is_file()],
            revision=repository.revision,
            commit_message="Upload with vitcodec",
        )
    except Exception as error:  # the libraries below, httpx or requests depending on the version, share no base class
        raise WeightsError(
            f"{repository}: cannot be uploaded ({_first_line(error)}); "
            "log in with hf auth login, and check the name and the network"
        ) from error
    return str(commit.commit_url)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]


def _quiet_unless_terminal() -> None:
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
