"""The command line: files there and back, plans, what exists is safe; with a codec that stores PNG."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import storing
from PIL import Image
from storing import StoringCodec, call, lines, made, one_line

from vitcodec.bitstream import container
from vitcodec.images import read_image


@pytest.fixture(autouse=True)
def storing_codec(monkeypatch):
    storing.install(monkeypatch)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """photos/{a.png, b.jpg} and photos/sub/c.png; the working folder is above them."""
    monkeypatch.chdir(tmp_path)
    storing.make_photos(tmp_path)
    return tmp_path


# there and back


def test_a_slash_makes_a_folder_of_a_single_output(photos):
    assert call("encode", "photos/a.png", "-o", "new/").exit_code == 0
    assert call("decode", "new/a.vitc", "-o", "back/").exit_code == 0
    assert Path("new/a.vitc").is_file() and Path("back/a.png").is_file()


def test_folder_there_and_back(photos):
    assert call("encode", "photos", "-r", "-o", "small").exit_code == 0
    assert made() == ["small/a.vitc", "small/b.vitc", "small/sub/c.vitc"]
    assert call("decode", "small", "-r", "-o", "back").exit_code == 0
    assert np.array_equal(np.asarray(Image.open("back/a.png")), np.asarray(Image.open("photos/a.png")))
    assert made("back") == ["back/a.png", "back/b.png", "back/sub/c.png"]


def test_one_file_beside_its_input(photos):
    result = call("encode", "photos/a.png", "-q", "42")
    assert result.exit_code == 0 and result.stdout == "" and "photos/a.png -> photos/a.vitc" in result.stderr
    assert container.read_header(Path("photos/a.vitc").read_bytes()).quality == 42


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "bmp"])
def test_format_of_the_output(photos, suffix):
    call("encode", "photos/a.png", "-o", "a.vitc")
    assert call("decode", "a.vitc", "--format", suffix).exit_code == 0
    assert call("decode", "a.vitc", "-o", f"other.{suffix}").exit_code == 0
    with Image.open(f"a.{suffix}") as one, Image.open(f"other.{suffix}") as other:
        assert one.format == other.format and one.size == (30, 20)


def test_reduce(photos):
    call("encode", "photos/a.png", "-o", "a.vitc")
    for n, size in enumerate([(30, 20), (15, 10), (8, 5), (4, 3), (2, 2)]):
        assert call("decode", "a.vitc", "--reduce", n, "-o", "small.png", "--overwrite").exit_code == 0
        with Image.open("small.png") as image:
            assert image.size == size
    one_line(call("decode", "a.vitc", "--reduce", 5, "-o", "x.png"), 2, "--reduce")


def test_strip(photos):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    Image.open("photos/a.png").save("tagged.png", exif=exif)
    call("encode", "tagged.png")
    call("encode", "tagged.png", "--strip", "-o", "bare.vitc")
    tagged, bare = (container.unpack(Path(name).read_bytes()) for name in ("tagged.vitc", "bare.vitc"))
    assert b"Maker" in tagged.metadata["EXIF"] and not bare.metadata
    call("decode", "tagged.vitc", "-o", "kept.png")
    call("decode", "tagged.vitc", "--strip", "-o", "stripped.png")
    assert Image.open("kept.png").getexif()[0x010F] == "Maker" and not Image.open("stripped.png").getexif()


def test_fit_takes_the_smallest_reduction_that_fills_the_box(photos):
    call("encode", "photos/a.png", "-o", "a.vitc")  # 30x20
    for box, size, reduce in (
        ("15x99", (15, 10), 1),
        ("14x14", (14, 9), 1),
        ("16x16", (16, 11), 0),
        ("4000x1", (2, 1), 4),
        ("99x99", (30, 20), 0),
    ):
        (row, _) = lines(call("decode", "a.vitc", "--fit", box, "-o", "small.png", "--overwrite", "--json"))
        assert (row["width"], row["height"]) == size and row["reduce"] == reduce, box
    one_line(call("decode", "a.vitc", "--fit", "12", "-o", "x.png"), 2, "--fit '12'")
    one_line(call("decode", "a.vitc", "--fit", "12x12", "--reduce", 1, "-o", "x.png"), 2, "--reduce")


def test_region_is_parsed(photos):
    call("encode", "photos/a.png", "-o", "a.vitc")
    for text in ("1,2,3", "1,2,0,4", "-1,0,5,5", "a,b,c,d"):
        one_line(call("decode", "a.vitc", f"--region={text}", "-o", "x.png"), 2, "--region")
    one_line(
        call("decode", "a.vitc", "--region", "30,0,5,5", "-o", "x.png"), 1, "a.vitc", "outside the picture of 30x20"
    )


def test_salvage(photos):
    call("encode", "photos/a.png", "-o", "a.vitc")
    data = Path("a.vitc").read_bytes()
    Path("cut.vitc").write_bytes(data[:-20])
    one_line(call("decode", "cut.vitc"), 1, "--salvage")
    result = call("decode", "cut.vitc", "--salvage", "--json", "-o", "cut.png")
    assert (
        result.exit_code == 0
        and lines(result)[0]["damage"] == ["erased: the details of level 1"]
        and "erased: the details" in result.stderr
    )
    assert lines(call("decode", "a.vitc", "--salvage", "--json", "-o", "a.png"))[0]["damage"] == []
    Path("gone.vitc").write_bytes(data[:60])
    one_line(call("decode", "gone.vitc", "--salvage"), 1, "gone.vitc", "nothing can be salvaged")


def test_tiles_and_kept_tokens_are_checked_before_any_work(photos):
    one_line(call("encode", "photos/a.png", "--tile", 100), 2, "tiles of 100 pixels", "128, 256")
    for share in (0, 1.5):
        one_line(call("encode", "photos/a.png", "--keep-tokens", share), 2, f"share of {share} of the tokens")
    assert not list(Path("photos").rglob("*.vitc"))


def test_tuning_chooses_the_model(photos, monkeypatch):
    monkeypatch.setattr("vitcodec.pretrained.registry.TUNED", {"psnr": "stored", "ms-ssim": "stored-ms-ssim"})
    assert call("encode", "photos/a.png", "-o", "a.vitc", "--tune", "psnr").exit_code == 0
    one_line(call("encode", "photos/a.png", "-o", "b.vitc", "--tune", "ms-ssim"), 1, "unknown model 'stored-ms-ssim'")
    one_line(call("encode", "photos/a.png", "-o", "b.vitc", "--tune", "vmaf"), 2, "psnr or ms-ssim")
    # with a model of one's own it is what the search is after
    assert call("encode", "photos/a.png", "-o", "b.vitc", "--tune", "ms-ssim", "-m", "stored").exit_code == 0


def test_targets(photos, monkeypatch):
    one_line(call("encode", "photos/a.png", "-q", 5, "--target-bpp", 1), 2, "--quality and --target-bpp")
    one_line(call("encode", "photos/a.png", "--target-bpp", -1), 2, "more than 0")
    one_line(call("encode", "photos/a.png", "--target-size", "tiny"), 2, "tiny")
    Image.open("photos/a.png").save("a.png")
    size = len(StoringCodec().encode(read_image("a.png"), quality=50))
    (row, _) = lines(call("encode", "a.png", "--target-size", str(size), "--json"))
    assert row["quality"] == 50 and row["bytes_out"] == size
    (row, _) = lines(call("encode", "a.png", "--target-bpp", str(8 * size / 600), "--json", "--overwrite"))
    assert row["quality"] == 50
    for option in ("--target-size", "--target-bpp"):
        one_line(
            call("encode", "a.png", option, "0.01k" if "size" in option else 0.1, "-o", "x.vitc"),
            1,
            "a.png: ",
            "quality 1",
        )
    assert not Path("x.vitc").exists()


@pytest.mark.parametrize("jobs", [1, 3])
def test_jobs_keep_the_order_and_survive_bad_files(photos, jobs):
    rng = np.random.default_rng(1)
    for number in range(12):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(f"photos/n{number:02}.png")
    Path("photos/n05.png").write_bytes(b"no image")
    Path("out").mkdir()
    Path("out/n07.vitc").mkdir()
    *rows, summary = lines(call("encode", "photos", "-o", "out", "-j", jobs, "--json"))
    done = [row["file"] for row in rows if row["status"] == "done"]
    assert done == sorted(done) and len(done) == 12 and summary["failed"] == 2
    assert lines(call("decode", "out", "-o", "back", "-j", jobs, "--json"))[-1]["done"] == 12


def test_a_file_of_another_model_or_version_says_what_it_needs(photos):
    call("encode", "photos/a.png", "-o", "a.vitc")
    contents = container.unpack(Path("a.vitc").read_bytes())
    contents.header = replace(contents.header, model="elsewhere-2", weights=bytes.fromhex("0011223344556677"))
    Path("b.vitc").write_bytes(container.pack(contents))
    one_line(call("decode", "b.vitc"), 1, "b.vitc", "needs the model 'elsewhere-2' (weights 0011223344556677)")
    data = Path("a.vitc").read_bytes()
    Path("c.vitc").write_bytes(data[:8] + bytes([3]) + data[9:])
    one_line(call("decode", "c.vitc"), 1, "c.vitc: needs vitcodec >= 3.0")


def test_a_header_that_claims_much_is_refused_at_once(photos):
    call("encode", "photos/a.png", "-o", "a.vitc")
    contents = container.unpack(Path("a.vitc").read_bytes())
    contents.header = replace(contents.header, width=13_500, height=13_500, tile=1024)
    contents.payloads = dict.fromkeys(container.payload_order(contents.header), b"")
    Path("large.vitc").write_bytes(container.pack(contents))
    one_line(call("decode", "large.vitc"), 1, "large.vitc: 13500x13500", "--max-pixels")


def test_pipes(photos):
    source = Path("photos/a.png").read_bytes()
    encoded = call("encode", "-", "-o", "-", input=source)
    assert encoded.exit_code == 0 and container.read_header(encoded.stdout_bytes).width == 30
    decoded = call("decode", "-", input=encoded.stdout_bytes)  # without -o too
    assert np.array_equal(
        np.asarray(Image.open(io.BytesIO(decoded.stdout_bytes))), np.asarray(Image.open("photos/a.png"))
    )
    assert (
        call("encode", "-", "-o", "piped.vitc", input=source).exit_code == 0
        and Path("piped.vitc").read_bytes() == encoded.stdout_bytes
    )
    one_line(call("encode", "photos", "-o", "-"), 2, "one input")
    one_line(call("encode", "-", "photos"), 2, "stdin")
    one_line(call("encode", "photos/a.png", "-o", "-", "--json"), 2, "--json")


# what exists is safe


def test_existing_outputs_are_refused(photos):
    Path("photos/a.vitc").write_bytes(b"precious")
    one_line(call("encode", "photos/a.png"), 1, "photos/a.vitc", "--overwrite")
    result = call("encode", "photos")
    assert result.exit_code == 1 and "1 of 2 failed" in result.stderr and Path("photos/b.vitc").exists()
    assert Path("photos/a.vitc").read_bytes() == b"precious"
    assert call("encode", "photos/a.png", "--overwrite").exit_code == 0
    assert Path("photos/a.vitc").read_bytes() != b"precious"


def test_a_second_run_loads_no_model(photos):
    assert call("encode", "photos", "--skip-existing").exit_code == 0 and StoringCodec.loads == 1
    stamps = [p.stat().st_mtime_ns for p in Path("photos").glob("*.vitc")]
    again = call("encode", "photos", "--skip-existing")
    assert again.exit_code == 0 and "2 skipped" in again.stderr and StoringCodec.loads == 1
    assert [p.stat().st_mtime_ns for p in Path("photos").glob("*.vitc")] == stamps


def test_collisions_and_own_inputs_are_refused_before_any_work(photos):
    Image.open("photos/a.png").save("photos/a.webp")
    one_line(call("encode", "photos"), 2, "photos/a.png and photos/a.webp would both become photos/a.vitc")
    one_line(call("encode", "photos/a.png", "-o", "photos/a.png", "--overwrite"), 2, "photos/a.png", "photos/a.vitc")
    call("encode", "photos/a.png", "-o", "a.vitc")
    Path("link.png").symlink_to("a.vitc")
    one_line(call("decode", "a.vitc", "-o", "link.png", "--overwrite"), 2, "would replace the input")
    Path("a.vitc").unlink()
    StoringCodec.loads = 0
    assert StoringCodec.loads == 0 and not list(Path("photos").glob("*.vitc"))


def test_interrupted(photos, monkeypatch):
    encode, calls = StoringCodec.encode, []

    def encode_once(self, picture, *options, **changes):
        if calls:
            raise KeyboardInterrupt
        calls.append(picture)
        return encode(self, picture, *options, **changes)

    monkeypatch.setattr(StoringCodec, "encode", encode_once)
    result = call("encode", "photos", "-o", "out")
    assert result.exit_code == 130 and "interrupted, 1 of 2 done" in result.stderr and made("out") == ["out/a.vitc"]
