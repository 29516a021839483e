"""`vitcodec doctor`: does this installation work, and on what?"""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Callable

from .. import __version__
from ..pretrained import registry
from ..pretrained.config import PretrainedConfig
from . import codecs, options
from .output import DONE, FAILED, Output, explain


def doctor_command(device: options.Device = "auto", json: options.Json = False) -> int:
    """Check that this installation works: libraries, devices, weights, and one picture there and back.

    \b
    vitcodec doctor
    vitcodec doctor --device cuda
    """
    out = Output(json)
    checks: list[tuple[str, Callable[[], str]]] = [
        (
            "vitcodec",
            lambda: f"{__version__} on Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        ),
        ("onnxruntime", _onnxruntime),
        ("torch", _torch),
        ("device", lambda: _device(device)),
        ("images", _images),
        ("entropy coder", _entropy_coder),
        ("settings", _settings),
        *((f"model {config.name}", lambda config=config: _weights(config)) for config in registry.available()),
        ("round trip", lambda: _round_trip(device)),
    ]
    failed = []
    for name, check in checks:
        try:
            text, status = check(), "ok"
        except Exception as error:
            text, status = explain(error).line, "failed"
            failed.append(f"{name}: {text}")
        out.result(f"{status:<6}  {name:<14} {text}")
        out.record({"check": name, "status": status, "detail": text})
    out.summary({"command": "doctor", "done": len(checks) - len(failed), "failed": len(failed)})
    out.failures(failed, len(checks))
    return FAILED if failed else DONE


def _onnxruntime() -> str:
    import onnxruntime

    return f"{onnxruntime.__version__}, runs models of integers on CPUs"


def _torch() -> str:
    try:
        import torch
    except ModuleNotFoundError:  # the light installation
        return "not installed; GPUs, training, high efforts and models in floating point need it"
    return f"{torch.__version__}, {torch.get_num_threads()} threads"


def _device(name: str) -> str:
    device, reason = codecs.describe_device(name)
    return f"{device}: {reason}"


def _images() -> str:
    import PIL
    from PIL import features

    wanted = {
        "jpg": "JPEG",
        "zlib": "PNG",
        "webp": "WebP",
        "avif": "AVIF",
        "libtiff": "TIFF",
        "jpg_2000": "JPEG 2000",
        "littlecms2": "ICC profiles",
    }
    present = [name for key, name in wanted.items() if features.check(key)]
    absent = [name for key, name in wanted.items() if not features.check(key)]
    return f"Pillow {PIL.__version__} with {', '.join(present)}{'; without ' + ', '.join(absent) if absent else ''}"


def _entropy_coder() -> str:
    from importlib.metadata import version

    import constriction  # noqa: F401 (that it can be imported is the check)

    return f"constriction {version('constriction')}"


def _settings() -> str:
    names = ("VITCODEC_MODEL", "VITCODEC_DEVICE", "VITCODEC_CACHE", "VITCODEC_DEBUG", "HF_HUB_OFFLINE")
    return ", ".join(f"{n}={os.environ[n]}" for n in names if n in os.environ) or "no environment variables set"


def _weights(config: PretrainedConfig) -> str:
    registry.verify_all(config)
    return f"{', '.join(str(file) for file in config.files)}, hash as stated"


def _round_trip(device: str) -> str:
    """Encode and decode a picture of a program's making with the default model."""
    import numpy as np

    from ..codec import Codec
    from ..errors import VitcodecError
    from ..picture import Picture

    y, x = np.mgrid[:192, :256]
    rgb = np.stack((x, y, 128 + 100 * np.sin(x / 9) * np.cos(y / 7)), -1).astype(np.uint8)
    codec = Codec.from_pretrained(device=device)
    codec.decode(codec.encode(Picture(rgb[:64, :64]), quality=80))
    began = time.perf_counter()
    data = codec.encode(Picture(rgb), quality=80)
    decoded = codec.decode(data).rgb
    seconds = time.perf_counter() - began
    error = float(np.mean((decoded.astype(float) - rgb) ** 2))
    psnr = 10 * math.log10(255**2 / max(error, 1e-9))
    if decoded.shape != rgb.shape or psnr < 30:
        raise VitcodecError(f"the picture came back at {psnr:.1f} dB; please report this")
    where = f"{codec.device} ({codec.engine})"
    return f"256x192 in {len(data):,} bytes at {psnr:.1f} dB, both ways in {seconds:.2f} s on {where}"
