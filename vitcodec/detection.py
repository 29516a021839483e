"""Objects found by a network, as regions of interest: any object detector of transformers, by default DETR.

Source: N. Carion et al., "End-to-End Object Detection with Transformers", 2020. Imported only where it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .errors import UsageError, WeightsError
from .suggestions import meant

DETR = "facebook/detr-resnet-50"


class Detector:
    """A network that finds objects of some classes."""

    def __init__(self, classes: Sequence[str], name: str = DETR, device: str = "cpu"):
        """name: ORG/NAME on the Hugging Face Hub, or a folder. Raises UsageError, WeightsError."""
        try:
            import torch
            from transformers import AutoImageProcessor, AutoModelForObjectDetection
            from transformers.utils import logging
        except ImportError as error:
            raise UsageError(f"--roi-detect needs transformers ({error}); pip install 'vitcodec[detect]'") from error
        self.name, self.device, self._torch = name, torch.device(device), torch
        logging.disable_progress_bar()  # of reading a file
        try:
            self._processor: Any = AutoImageProcessor.from_pretrained(name)
            self._model: Any = AutoModelForObjectDetection.from_pretrained(name, use_safetensors=True)
        except Exception as error:  # of the network, of files, of missing libraries: transformers raises many kinds
            raise WeightsError(
                f"detector '{name}' cannot be loaded ({_first_sentence(error)}); "
                "give --roi-detector a folder or ORG/NAME, and download it while online"
            ) from error
        self._model.to(self.device).eval()
        known = {str(label).lower(): int(number) for number, label in self._model.config.id2label.items()}
        for word in classes:
            if word.lower() not in known:
                near = meant(word, known)
                advice = f"did you mean {near}?" if near else f"it knows {', '.join(list(known)[:8])}, ..."
                raise UsageError(f"detector '{name}' knows no class '{word}'; {advice}")
        self._wanted = {known[word.lower()] for word in classes}

    def boxes(self, rgb: np.ndarray, score: float) -> list[tuple[float, float, float, float]]:
        """(H, W, 3) uint8 -> boxes (left, top, width, height) of at least that score, within the picture."""
        height, width = rgb.shape[:2]
        with self._torch.inference_mode():
            # without a word on the order of axes, a picture of 3 rows is taken for one of 3 channels
            inputs = self._processor(images=rgb, input_data_format="channels_last", return_tensors="pt")
            made = self._model(**inputs.to(self.device))
            (found,) = self._processor.post_process_object_detection(
                made, threshold=score, target_sizes=[(height, width)]
            )
        boxes = []
        for label, corners in zip(found["labels"].tolist(), found["boxes"].tolist(), strict=True):
            left, right = (min(max(n, 0), width) for n in corners[::2])
            top, bottom = (min(max(n, 0), height) for n in corners[1::2])
            if label in self._wanted and right > left and bottom > top:
                boxes.append((left, top, right - left, bottom - top))
        return boxes


def _first_sentence(error: Exception) -> str:
    return " ".join(str(error).split()).partition(". ")[0].rstrip(".:")
