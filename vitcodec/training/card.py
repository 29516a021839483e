"""A model card to begin with: README.md of a model folder, with the front matter that the Hugging Face Hub reads."""

from __future__ import annotations

from ..distortion import TUNINGS
from ..files import write_atomic
from ..pretrained.config import PretrainedConfig
from .validation import REFERENCE

CARD = "README.md"
TAGS = ["image-compression", "learned-image-compression", "vitcodec"]
TASK = "image-compression"


def write_card(config: PretrainedConfig) -> bool:
    """Write the card of a model folder, unless there is one: returns whether it was written. Raises OutputError."""
    path = config.folder / CARD
    if path.exists():
        return False
    write_atomic(path, card(config).encode())
    return True


def card(config: PretrainedConfig) -> str:
    """The text. What only people know is marked TODO."""
    training, decibels = config.training, TUNINGS[config.tune].title
    start = f", from {training['start']}" if training.get("start") else ""
    rough = " The tables were fitted to few crops (`vitcodec export --quick`)." if training.get("quick") else ""
    kmac = "unknown" if config.kmac_per_pixel is None else f"{config.kmac_per_pixel:.1f} thousand"
    parameters = "unknown" if config.parameters is None else f"{config.parameters / 1e6:.2f} million"
    return f"""---
{_front_matter(config)}---

# {config.name}

TODO: what this model is for, in a sentence or two.

A model of vitcodec, of the family `{config.family}`, trained for {decibels}. One set of weights for quality 1 to 100.

    vitcodec encode photo.jpg -m hf-hub:ORG/NAME
    vitcodec decode photo.vitc

TODO: replace ORG/NAME. Files of this model decode without `-m` where it has been downloaded (`vitcodec models download
hf-hub:ORG/NAME`), or where `VITCODEC_MODELS` lists its folder.

| | |
|---|---|
| parameters | {parameters} |
| multiplications per pixel | {kmac} to decode a picture of 768x512 |
| SHA-256 of the weights | `{config.sha256}` |
| licence | {config.licence or "TODO"} |

## Training

{training.get("steps", "unknown")} steps in {training.get("minutes", "unknown")} minutes, {training.get("megapixels")} \
megapixels of crops{start}.{rough}

TODO: which images, how many, and under which licences. A list goes into `SOURCES.md`, which `vitcodec models push`
uploads too. Say what was held out, and that the images below are not among those trained on.

## Measured

{_measured(config)}

TODO: results on images that others know, by `vitcodec eval`.

## Limits

TODO: on what kinds of images it is worse, and what it must not be used for. 8 bits a channel.
"""


def _front_matter(config: PretrainedConfig) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type=TASK,
            dataset_type="custom",
            dataset_name=f"{measured['images']} held-out images",
            metric_type="bd-rate",
            metric_name=f"BD-rate against {anchor} in {TUNINGS[config.tune].title}, %",
            metric_value=value,
        )
        for measured in [config.metrics.get("validation", {})]
        for anchor, value in measured.get("bd_rate_percent", {}).items()
    ]
    data = ModelCardData(
        license=(config.licence or "other").lower(),
        library_name="vitcodec",
        tags=[*TAGS, config.family],
        metrics=["bd-rate", config.tune],
        model_name=config.name if results else None,
        eval_results=results or None,
    )
    return data.to_yaml() + "\n"


def _measured(config: PretrainedConfig) -> str:
    measured = config.metrics.get("validation")
    if not measured:
        return "TODO: nothing was measured at export; `vitcodec export --val held-out/` does."
    change, distortion = measured["bd_rate_percent"][REFERENCE], TUNINGS[config.tune]
    column = f"{distortion.title} ({distortion.unit})" if distortion.unit else distortion.title
    lines = [
        f"{measured['images']} held-out images, by the sizes of whole files: {change:+.2f} % BD-rate against",
        f"{REFERENCE} in {distortion.title}.",
        "",
        f"| quality | bits per pixel | {column} |",
        "|---:|---:|---:|",
    ]
    for point in measured["curve"]:
        quality, bpp, db = point.values()
        lines.append(f"| {quality} | {bpp:.3f} | {db:.2f} |")
    return "\n".join(lines)
