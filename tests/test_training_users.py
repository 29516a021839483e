"""Training as users meet it: the best weights kept, loggers, progress, model cards, models of one's own by name."""

from __future__ import annotations

import builtins
import json
import re
import shutil
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_rgb
from huggingface_hub import metadata_load
from PIL import Image
from safetensors.torch import load_file
from small_model import CONFIG, write_small_model
from test_training_step import crops, small_model
from typer.testing import CliRunner

import vitcodec
from vitcodec.cli import app, export
from vitcodec.cli import train as train_module
from vitcodec.errors import InputError, OutputError, UsageError, WeightsError
from vitcodec.pretrained import registry
from vitcodec.pretrained.config import PretrainedConfig
from vitcodec.pretrained.presets import PRESETS, Preset
from vitcodec.training import assemble, checkpoint, integers, loop, package, trackers, validation
from vitcodec.training.best import Best
from vitcodec.training.card import write_card
from vitcodec.training.config import CHECKPOINT, TrainingConfig
from vitcodec.training.curve import log_entries
from vitcodec.training.data import read_images
from vitcodec.training.integers import context_source
from vitcodec.training.loop import Run
from vitcodec.training.schedule import ScheduleOver
from vitcodec.training.start import starting_point

TINY = {"widths": (8, 12, 16), "blocks": (1, 1, 1), "convolutions": 1, "head": 8, "integers": True}
SIDE = 64


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A preset and an entropy model that train and export in a second or two."""
    monkeypatch.setitem(PRESETS, "tiny", Preset("swin", 0, 0, TINY))
    monkeypatch.setattr(package, "CURRENT", CONFIG)
    monkeypatch.setattr(integers, "kmac_per_pixel", lambda *_: 1.5)  # of a large picture, a third of the time
    monkeypatch.setattr(package, "QUICK", (1, 2, 1))
    monkeypatch.setattr(package, "BATCH", 1)
    monkeypatch.setattr(package, "CROP", SIDE)
    monkeypatch.setattr(package, "MEASURED", 1)
    monkeypatch.setattr(validation, "STEPS", (64.0, 8.0))
    monkeypatch.setattr(validation, "REFERENCE_PSNR", (27, 36, 45))
    monkeypatch.setattr(validation, "CODED_QUALITIES", (30, 60))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for k in range(2):
        Image.fromarray(make_rgb(260, 258, seed=k)).save(folder / f"{k}.png")
    return folder


def invoke(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == code, result.output
    return result.output


# ---- from pictures to files


def test_a_model_of_ones_own_is_trained_exported_and_found(tiny, pictures, tmp_path, monkeypatch):
    (pictures / "broken.jpg").write_bytes(b"no picture")
    run, folder = tmp_path / "run", tmp_path / "models" / "mine"
    small = ("-o", run, "-m", "tiny", "--batch", 1, "--crop", SIDE, "--steps", 2, "--device", "cpu")
    output = invoke("train", pictures, "--val", pictures, *small)
    assert "broken.jpg: cannot be read" in output and "validation after 2 steps" in output
    assert "exists; give --resume" in invoke("train", pictures, *small, code=2)

    monkeypatch.delenv("VITCODEC_MODELS", raising=False)
    output = invoke("export", run, pictures, "-o", folder, "--quick", "--val", pictures)
    assert all(phase in output for phase in ("calibrating", "coding crops", "fitting tables", "coding held-out"))
    assert "--quick" in output and f"export VITCODEC_MODELS={tmp_path / 'models'}" in output
    front = metadata_load(folder / "README.md")
    assert front["license"] == "apache-2.0" and front["library_name"] == "vitcodec" and "swin" in front["tags"]
    measured = json.loads((folder / "config.json").read_text())
    value = front["model-index"][0]["results"][0]["metrics"][0]["value"]
    assert value == measured["metrics"]["validation"]["bd_rate_percent"]["JPEG 2000"]
    card = (folder / "README.md").read_text()
    assert f"{value:+.2f} % BD-rate" in card and "TODO" in card and "2 steps" in card and "from wavelet" in card
    assert measured["training"]["quick"] and str(tmp_path) not in card

    assert "holds a model already" in invoke("export", run, pictures, "-o", folder, code=2)
    (folder / "README.md").write_text("mine, complete")
    assert not write_card(PretrainedConfig.read(folder)) and (folder / "README.md").read_text() == "mine, complete"

    # by name, and without -m where a file names it
    coded, decoded = tmp_path / "a.vitc", tmp_path / "a.png"
    monkeypatch.setenv("VITCODEC_MODELS", str(tmp_path / "models"))
    assert any(line.split()[:1] == ["mine"] and "local" in line for line in invoke("models", "list").splitlines())
    assert "ok      mine" in invoke("models", "verify")
    small_picture = tmp_path / "small.png"
    Image.fromarray(make_rgb(64, 48)).save(small_picture)
    invoke("encode", small_picture, "-o", coded, "-m", "mine", "--effort", 1, "--device", "cpu", "-q", 60)
    invoke("decode", coded, "-o", decoded, "--device", "cpu")
    vitcodec.decode(coded, tmp_path / "b.png", device="cpu")
    assert Image.open(decoded).size == (64, 48) and decoded.read_bytes() == (tmp_path / "b.png").read_bytes()
    monkeypatch.delenv("VITCODEC_MODELS")
    assert "VITCODEC_MODELS" in invoke("decode", coded, "-o", tmp_path / "c.png", code=1)


def test_prices_are_those_of_a_model_that_is_named(tiny, pictures, tmp_path):
    options = "--steps", 1, "--crop", 192, "--batch", 1, "--val-crops", 1, "--tune", "ms-ssim", "--device", "cpu"
    assert "--relative" in invoke("train", pictures, "-o", tmp_path, *options, "--prices", "swin", code=2)
    error = invoke("train", pictures, "-o", tmp_path, "-m", "tiny", *options, "--relative", "--prices", "swim", code=1)
    assert "swim" in error and not (tmp_path / CHECKPOINT).exists()


def test_models_in_the_search_path_do_not_hide_shipped_ones(tmp_path, monkeypatch):
    write_small_model(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    for folder, name in (("one", "swin"), ("two", "two")):
        config = replace(PretrainedConfig.read(tmp_path / folder), name=name)
        (tmp_path / folder / "config.json").write_text(config.to_json())
    (tmp_path / "no-model").mkdir()
    monkeypatch.setenv("VITCODEC_MODELS", f"{tmp_path / 'nothing'}:{tmp_path}:{tmp_path / 'two'}")
    names = [name for name, kind, _ in registry.listed() if kind == "local"]
    assert names[:2] == [f"local-dir:{tmp_path / 'one'}", "two"]
    assert registry.find("swin").folder != tmp_path / "one" and registry.find("two").folder == tmp_path / "two"
    own = PretrainedConfig.read(tmp_path / "one")
    assert registry.resolve("swin", own.identity) == f"local-dir:{tmp_path / 'one'}"


def test_finetune_trains_beside_the_model_and_exports_it(pictures, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(export, "train_command", lambda data, **options: calls.append(("train", options)))
    monkeypatch.setattr(
        export, "export_command", lambda run, data, output, **options: calls.append(("export", options | {"run": run}))
    )
    folder = tmp_path / "my-model"
    invoke("finetune", pictures, "-o", folder, "--time-limit", "60s", "--quick")
    (_, trained), (_, exported) = calls
    assert trained["init"] == "swin" and trained["lr"] is None and trained["time_limit"] == "60s"
    assert trained["output"] == exported["run"] == folder / "run" and exported["quick"]
    assert exported["name"] == "my-model"
    error = invoke("finetune", pictures, "-o", tmp_path / "my model", code=2)
    assert "--name" in error and len(calls) == 2

    def over(*_, **__):
        raise ScheduleOver("no time left")

    monkeypatch.setattr(export, "train_command", over)  # the export was stopped, and is what is left to do
    assert "is complete" in invoke("finetune", pictures, "-o", folder, "--resume") and len(calls) == 3
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    assert "--overwrite" in invoke("finetune", pictures, "-o", folder, code=2) and len(calls) == 3


# ---- the best weights


def validated(folder: Path, monkeypatch: pytest.MonkeyPatch, changes: list[float]) -> list[dict]:
    """The averaged weights at each of so many validations, a step between them, with given results."""
    results = iter(changes)
    monkeypatch.setattr(loop, "estimated_curves", lambda *_: [[(1.0, 30.0)]])
    monkeypatch.setattr(loop, "bd_rate_to_reference", lambda *_: next(results))
    run = Run(small_model(), TrainingConfig(crop=SIDE, batch=1), folder)
    images = torch.zeros(1, SIDE, SIDE, 3)
    seen = []
    for k in range(len(changes)):
        run.steps = k
        run.average.mean = {key: v + k for key, v in run.average.mean.items()}
        run.validate(validation.ValidationSet(images, []))
        seen.append(run.average.mean)
    run.save()
    return seen


@pytest.mark.parametrize(("changes", "best"), [((-10, -12, -11), 1), ((-10, -9, -9.5), 0), ((-10,), None)])
def test_the_best_weights_are_kept_and_exported(tmp_path, monkeypatch, changes, best):
    seen = validated(tmp_path, monkeypatch, list(changes))
    trained, last = package.load_run(tmp_path), package.load_run(tmp_path, last=True)
    assert torch.equal(last.model.state_dict()["autoencoder.gain"], seen[-1]["autoencoder.gain"])
    expected = seen[-1 if best is None else best]
    assert torch.equal(trained.model.state_dict()["autoencoder.gain"], expected["autoencoder.gain"])
    assert ("No training made it better" in trained.origin) == (best == 0)
    if best is not None:
        kept = Best.read(tmp_path)
        assert (kept.steps, kept.bd_rate, kept.validations) == (best, changes[best], len(changes))
        assert trained.training["steps"] == best


# ---- loggers


class Notes:
    """A logger that keeps what it gets."""

    def __init__(self):
        self.entries, self.finished = [], False

    def log(self, values, step=None):
        self.entries.append((step, values))

    def finish(self):
        self.finished = True


def test_loggers_get_the_numbers_of_the_log(tmp_path):
    notes = Notes()
    config = TrainingConfig(crop=SIDE, batch=1, minutes=1)
    run = Run(small_model(), config, tmp_path, trackers=[notes])
    run.train(crops(), None, print, lambda: run.steps == 2)
    assert notes.finished and notes.entries[-1][0] == 2
    logged = log_entries(tmp_path / "log.jsonl")[-1]
    assert {"loss", "bpp", "megapixels_per_second"} <= notes.entries[-1][1].keys()
    assert notes.entries[-1][1]["loss"] == logged["loss"] and run.state.startswith("loss ")
    assert all(isinstance(v, int | float) for _, values in notes.entries for v in values.values())


def test_tensorboard_goes_through_accelerate(tmp_path, monkeypatch):
    accelerate = pytest.importorskip("accelerate.tracking")
    made = []

    class Fake(Notes):
        def __init__(self, name, folder):
            super().__init__()
            made.append((name, folder))

    monkeypatch.setattr(accelerate, "TensorBoardTracker", Fake)
    assert isinstance(trackers.open_tracker("tensorboard", tmp_path, {}), Fake)
    assert made == [("tensorboard", tmp_path)]


def test_loggers_that_are_not_there_are_one_line(pictures, tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name.startswith("accelerate"):
            raise ModuleNotFoundError(f"No module named {name!r}", name="accelerate")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, "accelerate.tracking", raising=False)
    for name in trackers.TRACKERS:
        with pytest.raises(UsageError, match=rf"pip install 'vitcodec\[{name}\]'"):
            trackers.open_tracker(name, tmp_path, {})
    error = invoke("train", pictures, "--log", "paper", "-o", tmp_path / "run", code=2)
    assert "tensorboard or wandb" in error and error.count("\n") == 1
    extras = tomllib.loads(Path(__file__).parent.parent.joinpath("pyproject.toml").read_text())["project"]
    assert trackers.TRACKERS.keys() <= extras["optional-dependencies"].keys()


# ---- what goes wrong


def test_a_full_disk_or_a_kill_leaves_a_run_that_goes_on(tmp_path, monkeypatch):
    config = TrainingConfig(crop=SIDE, batch=1, minutes=60)
    run = Run(small_model(), config, tmp_path)
    run.train(crops(), None, print, lambda: run.steps == 1)
    before = (tmp_path / CHECKPOINT).read_bytes()

    def full(tensors, path, metadata):
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save_file", full)
        with pytest.raises(OutputError, match=r"No space left.*the one before is whole; free space"):
            run.save()
    assert (tmp_path / CHECKPOINT).read_bytes() == before and not list(tmp_path.glob("*.partial"))
    # a kill in the middle of a line, and of a checkpoint
    (tmp_path / "checkpoint.partial").write_bytes(b"half of it")
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"step": 2, "los')
    again = Run(small_model(1), config, tmp_path)
    again.resume()
    again.train(crops(), None, print, lambda: again.steps == 2)
    assert [e["step"] for e in log_entries(tmp_path / "log.jsonl")][-1] == 2
    assert not list(tmp_path.glob("*.partial"))


def test_a_damaged_or_absent_checkpoint_is_one_line_with_a_remedy(tmp_path):
    run = Run(small_model(), TrainingConfig(), tmp_path)
    with pytest.raises(UsageError, match="no checkpoint to go on from"):
        run.resume()
    (tmp_path / CHECKPOINT).write_bytes(b"no checkpoint")
    with pytest.raises(WeightsError, match="--init run:"):
        run.resume()
    with pytest.raises(WeightsError):
        package.load_run(tmp_path)


def test_a_time_limit_too_short_says_so(tmp_path):
    short = TrainingConfig(crop=SIDE, batch=1, minutes=1e-6)
    with pytest.raises(UsageError, match=r"too short for one step.*give --time-limit 1m"):
        Run(small_model(), short, tmp_path).train(crops(), None, print)
    assert not (tmp_path / CHECKPOINT).exists()  # the same command with a longer limit works
    run = Run(small_model(), replace(short, minutes=1), tmp_path)
    run.train(crops(), None, print, lambda: run.steps == 1)
    over = Run(small_model(), short, tmp_path)
    over.resume()
    with pytest.raises(UsageError, match=r"is over, after 1 steps; give a longer --time-limit"):
        over.train(crops(), None, print)


def test_a_validation_longer_than_its_share_is_not_repeated(tmp_path, monkeypatch):
    said = []
    run = Run(small_model(), TrainingConfig(crop=SIDE, batch=1, minutes=1), tmp_path)
    clock = iter(range(0, 10**6, 30))  # every look at it is half a minute later
    monkeypatch.setattr(loop, "estimated_curves", lambda *_: [[(1.0, 30.0)]])
    monkeypatch.setattr(loop, "bd_rate_to_reference", lambda *_: -5.0)
    validations = validation.ValidationSet(torch.zeros(1, SIDE, SIDE, 3), [])
    real = run.validate

    def slow(*arguments):
        monkeypatch.setattr(loop.time, "monotonic", lambda: run.started + next(clock) / 30)
        return real(*arguments)

    monkeypatch.setattr(run, "validate", slow)
    monkeypatch.setattr(loop, "VALIDATION_SHARE", 0.01)
    run.train(crops(), validations, said.append, lambda: run.steps == 1)
    assert any("none at the end" in line for line in said)
    assert Best.read(tmp_path).validations == 1 and "nothing was validated" in package.load_run(tmp_path).origin


def test_pictures_that_cannot_be_read_are_passed_over_or_an_error(pictures, tmp_path):
    (pictures / "x.png").write_bytes(b"nothing")
    warnings: list[str] = []
    assert len(list(read_images([pictures], warnings.append))) == 2 and "x.png" in warnings[0]
    with pytest.raises(InputError, match=r"x\.png"):
        list(read_images([pictures]))
    with pytest.raises(InputError, match="no such folder"):
        list(read_images([tmp_path / "absent"]))


# ---- what a wheel has


def test_training_needs_no_onnx_and_an_export_says_that_it_does(pictures, tmp_path, monkeypatch):
    """onnx is of the extra `train`, which an installed wheel need not have."""
    root = Path(vitcodec.__file__).parent
    users = [
        path
        for path in root.rglob("*.py")
        if re.search(r"^(import|from) onnx\b|^from .*onnx_ops", path.read_text(), re.M)
    ]
    assert [path.name for path in users] == ["onnx_ops.py"]
    monkeypatch.setattr(assemble, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'vitcodec\[train\]'"):
        package.write_model(small_model(), tmp_path / "model", "model", [make_rgb(256, 256)], 0.1, {})
    assert "vitcodec[train]" in invoke("finetune", pictures, "-o", tmp_path / "x", "--init", "swin", code=2)
    assert not (tmp_path / "x").exists()


def test_a_model_without_its_float_entropy_model_starts_from_the_default_one(tmp_path):
    """As in an installed wheel, which holds that of the default model alone."""
    shipped = registry.find("cnn")
    folder = tmp_path / "cnn"
    folder.mkdir()
    for file in (*shipped.files, shipped.folder / "config.json"):
        shutil.copy(file, folder)
    config = PretrainedConfig.read(folder)
    assert context_source(config) == registry.find("swin").folder and context_source(shipped) == shipped.folder
    start = starting_point(f"local-dir:{folder}", None, {}, [np.zeros((256, 256, 3), np.uint8)], 0)
    assert "starts from that of swin" in start.note
    names = load_file(registry.find("swin").folder / "context-float.safetensors")
    assert len(names) == len(start.model.context.state_dict())
    with pytest.raises(WeightsError, match="source repository"):  # to be averaged with, only its own will do
        package.load_training_model(config)


def test_the_wheel_holds_the_float_parts_of_the_default_model():
    root = Path(__file__).parent.parent
    wheel = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["exclude"] == [
        "/weights/*/*-float.safetensors",
        f"!/weights/{registry.DEFAULT_MODEL}/*-float.safetensors",
    ]


def test_what_a_run_starts_from_is_named_without_folders():
    names = {
        "swin": "swin",
        "local-dir:/home/me/models/mine/": "mine",
        "run:runs/joint": "joint",
        "run:joint": "joint",
        "hf-hub:me/model@v1": "hf-hub:me/model@v1",
    }
    assert {name: train_module.public_name(name) for name in names} == names
