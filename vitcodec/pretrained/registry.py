"""Finding and checking weights. Nothing here imports torch, so that `models list` and error messages start at once."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path

from .. import files
from ..errors import UsageError, WeightsError
from ..suggestions import advice, meant
from . import hub
from .config import CONFIG, PretrainedConfig
from .presets import PRESETS

DEFAULT_MODEL = "swin"
# what an encoder can minimise -> the shipped model that is taken for it
TUNED = {
    "psnr": DEFAULT_MODEL,
    "ms-ssim": f"{DEFAULT_MODEL}-ms-ssim-3",
    "ssimulacra2": f"{DEFAULT_MODEL}-ssimulacra2-3",
}
LOCAL = "local-dir:"
_INSTALLED = Path(__file__).parent.parent / "weights"  # in a wheel
_CHECKOUT = Path(__file__).parent.parent.parent / "weights"  # in a source tree


def _shipped() -> Path:
    return _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT


def check_tune(name: str) -> str:
    """What models can be trained for, and encoders minimise. Raises UsageError."""
    if name not in TUNED:
        raise UsageError(f"unknown tuning '{name}'; {advice(name, TUNED)}")
    return name


def available() -> list[PretrainedConfig]:
    """The models that came with the package, the default first."""
    folders = [p.parent for p in sorted(_shipped().glob("*/config.json"))]
    return sorted((PretrainedConfig.read(f) for f in folders), key=lambda c: (c.name != DEFAULT_MODEL, c.name))


def downloaded() -> list[tuple[str, PretrainedConfig]]:
    """The models in the hub's cache: (hf-hub:ORG/NAME@COMMIT, config). Those that cannot be read are passed over."""
    configs = []
    for source, folder in hub.downloaded():
        try:
            configs.append((source, PretrainedConfig.read(folder)))
        except WeightsError:
            continue
    return configs


def searched() -> list[PretrainedConfig]:
    """The models in the folders that $VITCODEC_MODELS lists, in its order. Those that cannot be read are passed over.

    A folder of the list is a model, or holds models.
    """
    configs = []
    for folder in filter(None, os.environ.get("VITCODEC_MODELS", "").split(os.pathsep)):
        for config in (Path(folder) / CONFIG, *sorted(Path(folder).glob(f"*/{CONFIG}"))):
            try:
                configs.append(PretrainedConfig.read(config.parent))
            except WeightsError:
                continue
    return configs


def find(model: str | os.PathLike[str] | None = None, revision: str | None = None) -> PretrainedConfig:
    """The config of a model. Raises WeightsError, UsageError.

    model: a name of a shipped model or of one in $VITCODEC_MODELS, a folder (written with a slash, or as
    local-dir:FOLDER), ORG/NAME on the hub (also hf-hub:ORG/NAME[@REVISION]), or None for $VITCODEC_MODEL or else the
    default. revision: of a model on the hub. A model on the hub is taken from the cache, and downloaded where it is not
    in it: to name it is to ask for it.
    """
    if not (model is None or isinstance(model, str)):
        model = f"{LOCAL}{os.fspath(model)}"
    model = chosen(model)
    if model.startswith(LOCAL):
        config = PretrainedConfig.read(Path(model.removeprefix(LOCAL)).expanduser())
    elif model.startswith(hub.HUB):
        repository = hub.Repository.parse(f"{model}@{revision}" if revision else model)
        return PretrainedConfig.read(hub.cached(repository) or hub.download(repository))
    elif _is_path(model) and (Path(model).expanduser().is_dir() or not hub.is_name(model)):
        config = PretrainedConfig.read(Path(model).expanduser())
    elif _is_path(model):
        return find(f"{hub.HUB}{model}", revision)
    else:
        config = _by_name(model)
    if revision:
        raise UsageError(f"model '{model}' is not on the hub and has no revisions; leave revision out")
    return config


def _by_name(model: str) -> PretrainedConfig:
    """Shipped, or in $VITCODEC_MODELS. Never a folder here: names come from files too, which nobody vouches for."""
    if _is_shipped(model):
        return PretrainedConfig.read(_shipped() / model)
    if found := next((config for config in searched() if config.name == model), None):
        return found
    names = ", ".join(c.name for c in available()) or "none"
    if model in PRESETS:
        raise WeightsError(
            f"model '{model}' has no weights yet; train it with vitcodec train DATA... -m {model}; shipped: {names}"
        )
    folder = f", or ./{model} for the folder" if Path(model, CONFIG).is_file() else ""
    near = meant(model, [config.name for config in (*available(), *searched())])
    guess = f"did you mean {near}? " if near else ""
    raise WeightsError(
        f"unknown model '{model}'; {guess}shipped: {names}; give one of them{folder}, a folder or ORG/NAME, or list "
        "the folder of your models in VITCODEC_MODELS"
    )


def _is_path(model: str) -> bool:
    return "/" in model or os.sep in model


def is_preset(model: str | None) -> bool:
    """Whether a name is that of an untrained family or preset, and of no weights."""
    name = chosen(model)
    return name in PRESETS and not _is_shipped(name)


def resolve(name: str, identity: bytes) -> str:
    """The model, as `find` takes it, that decodes a file: shipped, in $VITCODEC_MODELS, or downloaded before.

    name, identity: as the file states them, the latter 8 bytes. Where there is no such model, the name itself. Nothing
    is downloaded: a file alone must not make that happen.
    """
    if _is_shipped(name) and find(name).identity == identity:
        return name
    own = [(f"{LOCAL}{config.folder}", config) for config in searched()]
    return next((source for source, config in own + downloaded() if config.identity == identity), name)


def source_of(config: PretrainedConfig) -> str:
    """How `find` is asked for a model again, in another process: its name, its commit on the hub, or its folder."""
    if _is_shipped(config.name) and config.folder.resolve() == (_shipped() / config.name).resolve():
        return config.name
    folder = config.folder.absolute()
    on_hub = (source for source, cached in hub.downloaded() if cached.absolute() == folder)
    return next(on_hub, f"{LOCAL}{folder}")


def copy(config: PretrainedConfig, folder: Path, overwrite: bool = False) -> None:
    """Write a model's files to another folder, config.json last. Raises OutputError."""
    if not overwrite:
        files.refuse_existing(folder / CONFIG)
    for name, path in _all_files(config).items():
        files.write_atomic(folder / name, files.read_bytes(path), overwrite=True)


def push(config: PretrainedConfig, repository: str, revision: str | None = None, private: bool = False) -> str:
    """Upload a model to ORG/NAME on the hub, and return the commit's address. Raises WeightsError, UsageError."""
    text = repository if repository.startswith(hub.HUB) else f"{hub.HUB}{repository}"
    target = hub.Repository.parse(f"{text}@{revision}" if revision else text)
    return hub.push(config.folder, target, private, sources(config))


def _all_files(config: PretrainedConfig) -> dict[str, Path]:
    """Those of a model that are there, by their names, config.json last."""
    names = [path.name for paths, _ in config.hashes for path in paths] + list(hub.OPTIONAL)
    found = {name: config.folder / name for name in names if (config.folder / name).is_file()}
    if shared := sources(config):
        found[hub.SOURCES] = shared
    return found | {CONFIG: config.folder / CONFIG}


def listed() -> list[tuple[str, str, PretrainedConfig]]:
    """Every model that is here, as `find` takes it, with how it came: shipped, of $VITCODEC_MODELS, downloaded."""
    shipped = [(config.name, "trained", config) for config in available()]
    names = {name for name, _, _ in shipped}
    own = [(f"{LOCAL}{c.folder}" if c.name in names else c.name, "local", c) for c in searched()]
    return [*shipped, *own, *((source, "downloaded", config) for source, config in downloaded())]


def chosen(model: str | None) -> str:
    """model, or where there is none $VITCODEC_MODEL, or else the default."""
    return model or os.environ.get("VITCODEC_MODEL") or DEFAULT_MODEL


def sources(config: PretrainedConfig) -> Path | None:
    """The list of the training images' sources and licences, or None where there is none.

    The folder's own SOURCES.md, or for shipped models the one that they share.
    """
    own, shared = config.folder / hub.SOURCES, _shipped() / hub.SOURCES
    if own.is_file():
        return own
    return shared if shared.is_file() and config.folder.resolve().parent == _shipped().resolve() else None


def _is_shipped(model: str) -> bool:
    return "/" not in model and (_shipped() / model / "config.json").is_file()


@cache
def _digest(parts: tuple[tuple[Path, int, int], ...]) -> str:
    """parts: path, size and time of modification of each."""
    digest = hashlib.sha256()
    for path, _, _ in parts:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def verify(config: PretrainedConfig) -> None:
    """Raise WeightsError unless the SHA-256 of the weights is the one that config.json states."""
    _verify(config.files, config.sha256)


def verify_all(config: PretrainedConfig) -> None:
    """The same for all files that config.json states a hash of: graphs too, which are checked when they are read."""
    for paths, sha256 in config.hashes:
        _verify(paths, sha256)


def _verify(files: list[Path], sha256: str) -> None:
    try:
        stats = [(file, file.stat()) for file in files]
        found = _digest(tuple((file, stat.st_size, stat.st_mtime_ns) for file, stat in stats))
    except OSError as error:
        raise WeightsError(
            f"{error.filename}: cannot be read ({error.strerror}); reinstall vitcodec or check the folder"
        ) from error
    if found != sha256:
        named = ", ".join(str(file) for file in files)
        raise WeightsError(
            f"{named}: SHA-256 is {found[:12]}..., config.json says {sha256[:12]}...; reinstall the weights"
        )
