"""Pictures out of the learned prior: they follow the tables, are the same from the same seed, and keep what is kept."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_model import write_small_model
from storing import call, lines, made, one_line

from vitcodec.bitstream.tables import SCALES
from vitcodec.codec import Codec
from vitcodec.coding.sampling import Random, SamplingTables, _reweighted
from vitcodec.coding.tables import BYPASS, LARGEST, CodingTables
from vitcodec.errors import LimitError, UsageError
from vitcodec.generation import mixed
from vitcodec.sheets import animation, contact_sheet
from vitcodec.tokens import Tokens


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "small"
    write_small_model(folder)
    return folder


@pytest.fixture(scope="module")
def small(folder: Path) -> Codec:
    return Codec.from_pretrained(folder, device="cpu", threads=1)


@pytest.fixture(scope="module")
def tables(small: Codec) -> CodingTables:
    return small._coder.decoder.entropy.tables


def rgb(seed: int, width: int = 64, height: int = 48) -> np.ndarray:
    y, x = np.mgrid[:height, :width] / 32
    waves = [np.sin(seed + k + x * (1 + k)) + np.cos(y * (2 + seed)) for k in range(3)]
    return np.clip(128 + 50 * np.stack(waves, -1), 0, 255).astype(np.uint8)


# ---- the coder that draws


@pytest.mark.parametrize("key", [SCALES * 5 + 3, SCALES * 30 + 25])
def test_values_are_as_frequent_as_the_table_says(tables: CodingTables, key: int) -> None:
    assert not BYPASS[key]
    drawn = SamplingTables(tables).values(np.full(20000, key), Random(3))
    frequencies = tables.frequencies[key, : 2 * LARGEST[key] + 1].astype(float)  # without the escape
    found = np.bincount(drawn + LARGEST[key], minlength=len(frequencies)) / len(drawn)
    assert np.abs(found - frequencies / frequencies.sum()).max() < 0.015


def test_temperature_sharpens_and_flattens(tables: CodingTables) -> None:
    key = SCALES * 5 + 10
    p = tables.frequencies[key, : 2 * LARGEST[key] + 1].astype(float)
    for temperature in (0.5, 2.0):
        drawn = SamplingTables(tables, temperature).values(np.full(20000, key), Random(4))
        wanted = p ** (1 / temperature) / (p ** (1 / temperature)).sum()
        assert np.abs(np.bincount(drawn + LARGEST[key], minlength=len(p)) / len(drawn) - wanted).max() < 0.015
    coldest = SamplingTables(tables, 0.01).values(np.full(50, key), Random(5))
    assert (coldest == p.argmax() - LARGEST[key]).all()


def test_values_of_large_scale_have_random_low_bits(tables: CodingTables) -> None:
    key = np.flatnonzero(BYPASS == 3)[0]
    drawn = SamplingTables(tables).values(np.full(4000, key), Random(6))
    assert set(drawn % 8) == set(range(8)) and np.abs(drawn).max() <= (int(LARGEST[key]) << 3) + 4


def test_the_generator_is_what_it_was() -> None:
    """Numbers that every version of NumPy gives: samples are promised to be reproducible."""
    assert Random(7).below(np.full(6, 1000)).tolist() == [625, 897, 775, 225, 300, 873]
    powers = _reweighted(np.array([[0, 1, 100, 30000, 35435]]), 0.7)
    assert powers.tolist() == [[0, 0, 8, 28887, 36640]]
    assert Random(7, 1).below(np.full(3, 1000)).tolist() != Random(7).below(np.full(3, 1000)).tolist()


# ---- pictures


def test_a_seed_gives_the_same_tokens(small: Codec) -> None:
    first, second = small.sample(2, size=(70, 40), seed=5)
    assert small.sample(1, size=(70, 40), seed=6)[0] == second != first
    assert small.decode(first).size == (70, 40)
    assert small.decompress(small.compress(first)) == first
    other = small.sample(size=(70, 40), seed=5, temperature=0.5)[0]
    assert sum(np.abs(band).sum() for band in other.bands) < sum(np.abs(band).sum() for band in first.bands)


@pytest.mark.parametrize("keep", range(4))
def test_kept_levels_are_the_pictures(small: Codec, keep: int) -> None:
    source = small.encode_tokens(rgb(1, 200, 48), quality=60, effort=1, tile=128)
    drawn = small.sample(source=source, keep_levels=keep, seed=2)[0]
    for level in (0, 4, 3, 2, 1):
        kept = level == 0 or level > 4 - keep
        assert np.array_equal(drawn.bands[level], source.bands[level]) == kept
    read = small.decompress(small.compress(source), reduce=4 - keep)
    assert small.sample(source=read, keep_levels=keep, seed=2)[0].bands[1].tolist() == drawn.bands[1].tolist()


def test_between_two_pictures(small: Codec) -> None:
    ends = [small.encode_tokens(rgb(seed), quality=50, effort=1) for seed in (1, 2)]
    way = small.interpolate(*ends, 3)
    assert way[0] == ends[0] and all(np.array_equal(*two) for two in way[2].bands.zip(ends[1].bands))
    a, middle, b = (tokens.to_grid() for tokens in way)
    assert (np.abs(2 * middle - a - b) <= 1).all()
    back = mixed(ends[1], ends[0], 3)[1]
    assert np.array_equal(back.to_grid(), middle)
    pictures = small.decode(way)
    image = Image.open(io.BytesIO(animation(pictures, "WEBP", 50)))
    assert (image.n_frames, image.size) == (3, (64, 48))
    assert contact_sheet(pictures).size == (2 * 64 + 4, 2 * 48 + 4)


def test_what_cannot_be(small: Codec) -> None:
    tokens = small.encode_tokens(rgb(1), effort=1)
    for options in ({"temperature": 0}, {"temperature": float("nan")}, {"n": 0}, {"seed": -1}, {"size": (0, 5)}):
        with pytest.raises(UsageError):
            small.sample(**options)
    for options in ({"size": (64, 48)}, {"keep_levels": 4}):
        with pytest.raises(UsageError):
            small.sample(source=tokens, **options)
    with pytest.raises(LimitError):
        small.sample(size=(4096, 2048))
    with pytest.raises(UsageError, match="64x48 and 48x64"):
        small.interpolate(tokens, small.encode_tokens(rgb(1, 48, 64), effort=1))
    with pytest.raises(UsageError, match="50 and 60"):
        small.interpolate(tokens, small.encode_tokens(rgb(1), effort=1, quality=60))
    with pytest.raises(UsageError):
        small.interpolate(tokens, tokens, 1)
    with pytest.raises(UsageError, match="lack level 3"):
        small.sample(source=Tokens(small.decompress(small.compress(tokens), reduce=3).bands, tokens.header))


# ---- commands


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path, small: Codec) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VITCODEC_MODEL", str(folder))
    monkeypatch.setattr("vitcodec.cli.codecs.load_codec", lambda *_: small)
    monkeypatch.setattr("vitcodec.cli.codecs.registry.resolve", lambda *_: "small")
    for k in (1, 2):
        Image.fromarray(rgb(k)).save(f"{k}.png")
    Path("photo.vitc").write_bytes(small.encode("1.png", coding="tokens", effort=1))
    Path("exact.vitc").write_bytes(small.encode("1.png", coding="lossless"))
    return tmp_path


def test_sample(here: Path, small: Codec) -> None:
    before = set(made())
    result = call("sample", "-n", "3", "--seed", "4", "--size", "64x32", "-o", "sheet.png", "--json")
    record, summary = (json.loads(line) for line in result.stdout.splitlines())
    assert record["seeds"] == [4, 5, 6] and summary["done"] == 1 and Image.open("sheet.png").size == (132, 68)
    assert call("sample", "-n", "2", "--seed", "4", "--size", "64x32", "-o", "many/").exit_code == 0
    one = np.asarray(Image.open("many/sample-5.png"))
    assert np.array_equal(np.asarray(Image.open("sheet.png"))[:32, 68:132], one)
    assert call("sample", "--from", "photo.vitc", "--keep-levels", "3").exit_code == 0
    imagined = small.sample(source=small.decompress("photo.vitc"), keep_levels=3)[0]
    assert np.array_equal(np.asarray(Image.open("photo-sample-0.png")), small.decode(imagined).rgb)
    assert call("sample", "--from", "photo.vitc", "-o", "new.vitc").exit_code == 0
    assert small.decompress("new.vitc").size == (64, 48)
    assert call("sample", "--dry-run", "-o", "planned.png").stdout == "seed 0 -> planned.png\n"
    wanted = {"sheet.png", "many/sample-4.png", "many/sample-5.png", "photo-sample-0.png", "new.vitc"}
    assert {name for name in set(made()) - before if Path(name).is_file()} == wanted


def test_interpolate(here: Path) -> None:
    assert call("interpolate", "1.png", "2.png", "-n", "3", "--back").exit_code == 0
    assert Image.open("1-2.webp").n_frames == 4
    assert call("interpolate", "photo.vitc", "2.png", "-n", "3", "-o", "fade.gif").exit_code == 0
    assert Image.open("fade.gif").n_frames == 3
    result = call("interpolate", "exact.vitc", "2.png", "-n", "2", "-o", "steps/", "--json")
    assert [json.loads(line).get("output") for line in result.stdout.splitlines()[:2]] == [
        "steps/exact-2-1.png",
        "steps/exact-2-2.png",
    ]


def test_mistakes_are_one_line_and_nothing_is_written(here: Path) -> None:
    Image.fromarray(rgb(1, 32, 32)).save("other.png")
    Path("taken.png").write_bytes(b"mine")
    before = set(made())
    out = ("-o", "new.png")
    for arguments, code, part in (
        (("sample", "--temperature", "0", *out), 2, "temperature"),
        (("sample", "--temperature", "nan", *out), 2, "temperature"),
        (("sample", "--size", "0x9", *out), 2, "0x9"),
        (("sample", "--size", "9000x9000", *out), 1, "limit"),
        (("sample", "--size", "big", *out), 2, "512x384"),
        (("sample", "--from", "exact.vitc", *out), 2, "lossless"),
        (("sample", "--from", "1.png", *out), 2, "no .vitc"),
        (("sample", "--from", "none.vitc", *out), 1, "none.vitc"),
        (("sample", "--from", "photo.vitc", "-q", "9", *out), 2, "--quality"),
        (("sample", "--from", "photo.vitc", "--keep-levels", "4", *out), 2, "0 to 3"),
        (("sample", "-o", "taken.png"), 1, "taken.png: exists already"),
        (("sample", "-n", "2", "-o", "new.vitc"), 2, "one picture"),
        (("interpolate", "1.png", "other.png"), 2, "32x32"),
        (("interpolate", "photo.vitc", "2.png", "-q", "9"), 2, "quality 50"),
        (("interpolate", "1.png", "2.png", "-o", "taken.png"), 1, "exists already"),
        (("interpolate", "1.png", "2.png", "-o", "new.jpg"), 2, ".webp"),
        (("interpolate", "1.png", "2.png", "-n", "1"), 2, "2 to 999"),
        (("interpolate", "1.png", "2.png", "-o", "1.png", "--overwrite"), 2, "replace an input"),
    ):
        result = call(*arguments)
        assert result.exit_code == code and part in result.stderr, (arguments, lines(result))
        assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
        assert not result.stdout and set(made()) == before
    assert Path("taken.png").read_bytes() == b"mine"
    one_line(call("sample", "-o", "-", "--json"), 2, "stdout")
