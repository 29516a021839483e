"""Integers end to end on a small random model: files, regions, tiles, tiles of their own quality, damage, no torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import make_rgb
from small_model import write_small_model

from vitcodec.bitstream import container
from vitcodec.codec import Codec
from vitcodec.errors import FormatError, WeightsError
from vitcodec.options import EncodeOptions
from vitcodec.picture import Picture
from vitcodec.pretrained import registry
from vitcodec.regions import Plan
from vitcodec.tiles import Region, TileGrid

TOKENS = {"coding": "tokens", "effort": 1}


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "small"
    write_small_model(folder)
    return folder


@pytest.fixture(scope="session")
def small(folder):
    return Codec.from_pretrained(f"local-dir:{folder}", "cpu", threads=1)


@pytest.fixture(scope="session")
def drawn():
    return Picture(make_rgb(200, 136))


def test_tokens_come_back(small, drawn):
    data = small.encode(drawn, quality=60, **TOKENS)
    header = Codec.info(data).header
    assert not header.lossless
    written, read = small.encode_tokens(drawn, quality=60, **TOKENS).bands, small.decompress(data).bands
    for a, b in written.zip(read):
        np.testing.assert_array_equal(a, b)
    rgb = small.decode(data).rgb
    assert rgb.shape == drawn.rgb.shape and np.corrcoef(rgb.ravel(), drawn.rgb.ravel())[0, 1] > 0.9


def test_every_effort_comes_back(small):
    picture = Picture(make_rgb(64, 96))
    sizes = {}
    for effort in (1, 2, 3, 4):
        options = {"quality": 50, "effort": effort, "coding": "tokens"}
        data = small.encode(picture, **options)
        sizes[effort] = len(data)
        for a, b in small.encode_tokens(picture, **options).bands.zip(small.decompress(data).bands):
            np.testing.assert_array_equal(a, b)
    assert sizes[3] < sizes[1]


@pytest.mark.parametrize("colours", [((255, 0, 0), (0, 0, 255)), ((255, 255, 255), (0, 0, 0))])
def test_dense_patterns_come_back(small, colours):
    y, x = np.mgrid[:64, :64]
    rgb = np.where(((y + x) % 2 == 0)[..., None], *(np.array(c, np.uint8) for c in colours))
    decoded = small.decode(small.encode(Picture(rgb), quality=90, **TOKENS)).rgb
    assert np.square(decoded.astype(float) - rgb).mean() < 255**2 / 10**3.6  # 36 dB


def test_tiles_threads_and_regions_do_not_change_pixels(folder, small, drawn):
    data = small.encode(drawn, quality=70, tile=128, **TOKENS)
    whole = small.decode(data).rgb
    np.testing.assert_array_equal(
        Codec.from_pretrained(f"local-dir:{folder}", "cpu", threads=3).decode(data).rgb, whole
    )
    for region in (Region(0, 0, 40, 30), Region(100, 90, 70, 46), Region(199, 135, 1, 1)):
        part = small.decode(data, region=region).rgb
        np.testing.assert_array_equal(
            part, whole[region.y : region.y + region.height, region.x : region.x + region.width]
        )


def test_torch_and_onnxruntime_make_the_same_files_and_pixels(folder, small, drawn, monkeypatch):
    data = small.encode(drawn, quality=40, **TOKENS)
    from vitcodec.engines.torch import TorchEngine
    from vitcodec.pipeline import loading

    monkeypatch.setattr(loading, "engine_for", lambda model, *_: (TorchEngine(model.networks()), "torch", ""))
    other = Codec.from_pretrained(f"local-dir:{folder}", "cpu")
    np.testing.assert_array_equal(other.decode(data).rgb, small.decode(data).rgb)


def test_tiles_may_have_qualities_of_their_own(small):
    picture = Picture(make_rgb(256, 128))
    plan = Plan(TileGrid(256, 128, 128), np.array([30, 70]))
    contents = small._coder.encoder._encode_tokens(picture, EncodeOptions(50, tile=128, **TOKENS), plan)
    data = container.pack(contents)
    rgb = small.decode(data).rgb.astype(int)
    error = np.abs(rgb - picture.rgb)
    one, other = (small.decode(small.encode(picture, quality=q, tile=128, **TOKENS)).rgb.astype(int) for q in (30, 70))
    assert error[:, :64].mean() > error[:, 192:].mean()
    # away from the seam each half is as in a file of its quality, but for what the network sees from afar
    assert np.abs(rgb[:, 192:] - other[:, 192:]).mean() < 0.5 > np.abs(rgb[:, :64] - one[:, :64]).mean()
    # no column at the seam is worse than the coarser half is anyway
    columns = error.mean((0, 2))
    assert columns[126:130].max() < 2 * columns[:112].max()
    contents.metadata["QUAL"] = bytes([30])
    with pytest.raises(FormatError, match="qualities"):
        small.decode(container.pack(contents))
    contents.metadata["QUAL"] = bytes([30, 101])
    with pytest.raises(FormatError, match="qualities"):
        small.decode(container.pack(contents))


def test_reduced_sizes(small, drawn):
    data = small.encode(drawn, quality=80, **TOKENS)
    for reduce in range(1, 5):
        rgb = small.decode(data, reduce=reduce).rgb
        assert rgb.shape == (-(-136 // 2**reduce), -(-200 // 2**reduce), 3)


def test_damaged_tiles_are_filled_in(small):
    from dataclasses import replace

    picture = Picture(make_rgb(384, 128))
    contents = small.read(small.encode(picture, quality=50, tile=128, **TOKENS))
    lost = frozenset((level, 1) for level in range(5))
    kept = {key: data for key, data in contents.payloads.items() if key not in lost}
    rgb = small.decode(replace(contents, payloads=kept, erased=lost)).rgb
    whole = small.decode(contents).rgb
    assert np.abs(rgb[:, :64].astype(int) - whole[:, :64]).max() <= 4
    middle = rgb[:, 160:224].astype(int)
    assert middle.std() < whole[:, 160:224].astype(int).std() and abs(middle.mean() - whole.mean()) < 60


def test_other_weights_and_damaged_ones_are_refused(folder, small, drawn, tmp_path):
    shutil.copytree(folder, tmp_path / "broken")
    file = tmp_path / "broken" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x00")
    with pytest.raises(WeightsError, match="SHA-256"):
        Codec.from_pretrained(f"local-dir:{tmp_path / 'broken'}", "cpu")
    shutil.copytree(folder, tmp_path / "nographs")
    (tmp_path / "nographs" / "graphs.safetensors").unlink()
    data = small.encode(drawn, quality=40, **TOKENS)
    other = Codec.from_pretrained(f"local-dir:{tmp_path / 'nographs'}", "cpu")  # torch takes over
    np.testing.assert_array_equal(other.decode(data).rgb, small.decode(data).rgb)


def test_torch_is_not_imported(folder):
    program = (
        "import sys, numpy as np\n"
        "from vitcodec.codec import Codec\n"
        "from vitcodec.images import Picture\n"
        f"codec = Codec.from_pretrained('local-dir:{folder}')\n"
        "data = codec.encode(Picture(np.zeros((40, 40, 3), np.uint8)), coding='tokens', effort=1)\n"
        "codec.decode(data); codec.decompress(data).bands; codec.info(data)\n"
        "assert 'torch' not in sys.modules and 'scipy' not in sys.modules, 'imported'\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    "spoil, said",
    [
        (lambda graphs: graphs.pop("check"), "cannot be run"),
        (lambda graphs: graphs.update(check=b"no graph"), "cannot be run"),
        (lambda graphs: graphs.update(check=graphs["low.luma.0.0"]), "cannot be run"),
    ],
)
def test_unusable_graphs_give_way_to_torch(folder, small, drawn, tmp_path, caplog, spoil, said):
    import logging

    from vitcodec.engines.onnx import read_graphs
    from vitcodec.training.assemble import write_graphs

    shutil.copytree(folder, tmp_path / "copy")
    graphs = read_graphs(folder / "graphs.safetensors")
    spoil(graphs)
    write_graphs(tmp_path / "copy", graphs)
    with caplog.at_level(logging.INFO, "vitcodec"):
        codec = Codec.from_pretrained(f"local-dir:{tmp_path / 'copy'}", "cpu")
    assert codec._coder.engine == "torch" and said in caplog.text
    data = small.encode(drawn, quality=30, **TOKENS)
    np.testing.assert_array_equal(codec.decode(data).rgb, small.decode(data).rgb)


def test_wrong_numbers_are_noticed(folder, monkeypatch, caplog):
    import logging

    from vitcodec.engines.onnx import OnnxEngine

    run = OnnxEngine.run
    monkeypatch.setattr(OnnxEngine, "run", lambda self, name, *maps: [y + 1 for y in run(self, name, *maps)])
    with caplog.at_level(logging.INFO, "vitcodec"):
        codec = Codec.from_pretrained(f"local-dir:{folder}", "cpu")
    assert codec.engine == "torch" and "wrong numbers" in codec.reason and codec.reason in caplog.text


def one_bit_changed(folder):
    path = folder / "graphs.safetensors"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def no_hash_stated(folder):
    config = json.loads((folder / "config.json").read_text())
    del config["graphs"]
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    "spoil, said",
    [
        (lambda folder: (folder / "graphs.safetensors").unlink(), "No such file"),
        (lambda folder: (folder / "graphs.safetensors").write_bytes(b"garbage"), "SHA-256 is"),
        (one_bit_changed, "not the graphs of these weights"),
        (no_hash_stated, "config.json states none"),
    ],
)
def test_damaged_and_foreign_graphs_are_not_run(folder, small, drawn, tmp_path, spoil, said):
    """A graph with other weights would make a wrong picture, and the check of the engine cannot see it."""
    shutil.copytree(folder, tmp_path / "copy")
    spoil(tmp_path / "copy")
    codec = Codec.from_pretrained(f"local-dir:{tmp_path / 'copy'}", "cpu")
    assert codec.engine == "torch" and said in codec.reason and "reinstall the weights" in codec.reason
    with pytest.raises(WeightsError, match=r"graphs\.safetensors"):
        registry.verify_all(codec.config)
    data = small.encode(drawn, quality=30, **TOKENS)
    np.testing.assert_array_equal(codec.decode(data).rgb, small.decode(data).rgb)


@pytest.mark.parametrize("version, fine", [("1.19.2", False), ("1.20.0", True), ("1.9.0", False), ("2.0.0rc1", True)])
def test_an_old_onnxruntime_is_not_asked(folder, monkeypatch, version, fine):
    monkeypatch.setattr("onnxruntime.__version__", version)
    codec = Codec.from_pretrained(f"local-dir:{folder}", "cpu")
    said = f"onnxruntime cannot be used (version {version} is too old); pip install 'onnxruntime>=1.20'"
    assert (codec.engine, codec.reason) == (("onnxruntime", "") if fine else ("torch", said))


def test_the_oldest_onnxruntime_is_the_one_that_is_required():
    from vitcodec.pipeline.loading import OLDEST

    root, wanted = Path(__file__).parent.parent, f"onnxruntime>={'.'.join(map(str, OLDEST))}"
    assert f'"{wanted}"' in (root / "pyproject.toml").read_text()
    assert wanted in (root / "requirements-light.txt").read_text().splitlines()


def test_without_any_engine_one_line_says_what_helps(folder, tmp_path):
    """Neither torch nor ONNX Runtime; no torch and no graphs."""
    program = (
        "import sys; sys.modules.update(dict.fromkeys(sys.argv[2:]))\n"
        "from vitcodec.codec import Codec\n"
        "from vitcodec.errors import WeightsError\n"
        "try: Codec.from_pretrained('local-dir:' + sys.argv[1], 'cpu')\n"
        "except WeightsError as error: print(error)\n"
    )

    def said(*arguments):
        return subprocess.run(
            [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, check=True
        ).stdout

    assert "pip install 'onnxruntime>=1.20'; or pip install torch" in said(folder, "onnxruntime", "torch")
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "graphs.safetensors").unlink()
    assert "reinstall the weights; or pip install torch" in said(tmp_path / "copy", "torch")
