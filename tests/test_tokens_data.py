"""`vitcodec tokens` and the data sets that read what it writes: also cut off, damaged, killed and resumed."""

from __future__ import annotations

import errno
import importlib.util
import io
import json
import os
import pickle
import signal
import subprocess
import sys
import tarfile
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_rgb
from PIL import Image
from small_model import write_small_model
from storing import call, lines, one_line
from torch.utils.data import DataLoader, get_worker_info

from vitcodec.codec import Codec
from vitcodec.data import IterableTokenDataset, TokenDataset
from vitcodec.errors import FormatError, InputError, UsageError
from vitcodec.filesystem import atomic
from vitcodec.images import read_image

ROOT = Path(__file__).parent.parent
HOW = {"effort": 1, "quality": 50}


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "small"
    write_small_model(folder)
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, model):
    """A folder with photos/cat/{a,b,c}.png and photos/dog/{a,b}.png, where commands take the small model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VITCODEC_MODEL", f"local-dir:{model}")
    monkeypatch.setenv("VITCODEC_DEVICE", "cpu")
    monkeypatch.setenv("VITCODEC_MODELS", str(model.parent))
    for seed, name in enumerate(("cat/a", "cat/b", "cat/c", "dog/a", "dog/b")):
        make_photo(f"photos/{name}.png", seed)


def make_photo(name, seed=0, size=(64, 48)):
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(make_rgb(*size, seed)).save(name)


def write(*arguments, code=0):
    result = call("tokens", "photos", "-r", *arguments)
    assert result.exit_code == code, result.stderr
    return result


def small_shards():
    write("-o", "s-%02d.tar", "--samples-per-shard", "2", "--labels", "folder")
    return ["s-00.tar", "s-01.tar", "s-02.tar"]


def keys_of(folder="."):
    return sorted(TokenDataset(folder, strict=True).keys)


# ---- written and read


def test_shards_hold_the_tokens_that_the_codec_makes(model):
    write("-o", "out/s-%02d.tar", "--samples-per-shard", "2", "--labels", "folder")
    write("-o", "t.safetensors", "--labels", "folder")
    tars, tensors = TokenDataset("out"), TokenDataset("t.safetensors")
    assert tars.keys == tensors.keys == ["cat/a", "cat/b", "cat/c", "dog/a", "dog/b"]
    assert tars.classes == tensors.classes == ["cat", "dog"]
    codec = Codec.from_pretrained(model, "cpu")
    for number, item in enumerate(tars):
        grid = codec.encode_tokens(read_image(f"photos/{item['key']}.png"), **HOW).to_grid()[0]
        assert item["tokens"].dtype == np.int16 and np.array_equal(item["tokens"], grid)
        assert np.array_equal(tensors[number]["tokens"], grid)
        assert (item["label"], item["width"], item["height"]) == (int(number > 2), 64, 48)
        assert item["source"] == f"{item['key']}.png" and {**item, "tokens": 0} == {**tensors[number], "tokens": 0}
    assert np.array_equal(tars[-1]["tokens"], tars[4]["tokens"])
    with pytest.raises(IndexError):
        tars[5]


def test_tars_are_webdataset_shards():
    small_shards()
    with tarfile.open("s-00.tar") as tar:
        manifest, *members = tar.getnames()
        tokens = np.load(io.BytesIO(tar.extractfile("cat/a.npz").read()))["tokens"]
        info, label = (tar.extractfile(f"cat/a.{suffix}").read() for suffix in ("json", "cls"))
    assert manifest == "__vitcodec__"
    assert members == [f"cat/{n}.{suffix}" for n in "ab" for suffix in ("cls", "json", "npz")]
    assert tokens.shape == (768, 4, 4) and json.loads(info)["quality"] == 50 and label == b"0"
    if importlib.util.find_spec("webdataset"):  # none of the project's dependencies
        import webdataset

        data = list(webdataset.WebDataset("s-{00..02}.tar", shardshuffle=False).decode())
        assert [s["__key__"] for s in data] == TokenDataset(".").keys
        assert np.array_equal(data[0]["npz"]["tokens"], tokens) and data[4]["cls"] == 1


def test_vitc_files_give_the_same_tokens_without_their_pixels():
    assert call("encode", "photos", "-r", "-o", "small", "--tokens", "--effort", "1").exit_code == 0
    assert call("encode", "photos/cat/a.png", "-o", "small/z.vitc", "--lossless").exit_code == 0
    result = call("tokens", "small", "-r", "-o", "v.tar")
    assert result.exit_code == 1 and "small/z.vitc: is lossless and has no tokens" in result.stderr
    write("-o", "s.tar")
    for coded, image in zip(TokenDataset("v.tar"), TokenDataset("s.tar"), strict=True):
        assert coded["key"] == image["key"] and np.array_equal(coded["tokens"], image["tokens"])
    direct = TokenDataset(["small/cat", "small/z.vitc"])  # decoded as they are asked for
    assert np.array_equal(direct[0]["tokens"], TokenDataset("s.tar")[0]["tokens"]) and direct[0]["model"] == "small"
    with pytest.raises(FormatError, match="lossless"):
        direct[3]


def test_loaders_with_workers():
    small_shards()
    data = pickle.loads(pickle.dumps(TokenDataset("s-{00..02}.tar")))
    batches = list(DataLoader(data, 2, num_workers=2))
    assert [b["tokens"].shape for b in batches] == [(2, 768, 4, 4), (2, 768, 4, 4), (1, 768, 4, 4)]
    assert batches[0]["tokens"].dtype == torch.int16 and batches[0]["key"] == ["cat/a", "cat/b"]
    assert torch.cat([b["label"] for b in batches]).tolist() == [0, 0, 0, 1, 1]
    for shuffle, source in ((0, "."), (100, "."), (0, "s-00.tar")):  # of one shard, samples are dealt out
        found = IterableTokenDataset(source, shuffle=shuffle)
        keys = [key for batch in DataLoader(found, 1, num_workers=2) for key in batch["key"]]
        assert sorted(keys) == TokenDataset(source).keys


def test_order_and_ranks_of_the_iterable():
    small_shards()
    data = IterableTokenDataset("s-*.tar", shuffle=3, seed=1)
    first = [item["key"] for item in data]
    assert first == [item["key"] for item in data] and sorted(first) == keys_of()
    data.set_epoch(1)
    assert [item["key"] for item in data] != first
    parts = [[item["key"] for item in IterableTokenDataset(".", rank=rank, ranks=2)] for rank in (0, 1)]
    assert [len(part) for part in parts] == [3, 2] and sorted(parts[0] + parts[1]) == sorted(first)
    with pytest.raises(UsageError, match="rank 2 of 2"):
        IterableTokenDataset(".", rank=2, ranks=2)


# ---- sizes


def test_mixed_sizes_name_the_remedy():
    make_photo("photos/cat/wide.png", 9, (96, 48))
    write("-o", "s.tar")
    with pytest.raises(InputError, match=r"'cat/a' has 4x4 sites, 'cat/wide' has 4x6; give .*crop=.*collate_padded"):
        list(DataLoader(TokenDataset("s.tar"), 4))
    batch = next(iter(DataLoader(TokenDataset("s.tar"), 4, collate_fn=TokenDataset.collate_padded)))
    assert batch["tokens"].shape == (4, 768, 4, 6) and batch["mask"].sum((1, 2)).tolist() == [16, 16, 16, 24]
    assert not batch["tokens"][0, :, :, 4:].any() and batch["tokens"][3, :, :, 4:].any()
    whole = TokenDataset("s.tar")[3]["tokens"]
    (cut,) = [item["tokens"] for item in TokenDataset("s.tar", crop=(2, 4)) if item["key"] == "cat/wide"]
    assert np.array_equal(cut, whole[:, 1:3, 1:5])
    cuts = {TokenDataset("s.tar", crop=(1, 1), random_crop=True)[3]["tokens"].tobytes() for _ in range(40)}
    assert 1 < len(cuts) <= 24
    with pytest.raises(InputError, match="'cat/a' has 4x4 sites, fewer than crop 4x6"):
        list(DataLoader(TokenDataset("s.tar", crop=(4, 6)), 2))
    with pytest.raises(UsageError, match="crop"):
        TokenDataset("s.tar", crop=(0, 1))


def test_transform_takes_the_place_of_the_tokens():
    write("-o", "s.tar")
    data = TokenDataset("s.tar", transform=lambda tokens: torch.from_numpy(tokens[:3]).float())
    assert next(iter(DataLoader(data, 5)))["tokens"].shape == (5, 3, 4, 4)


# ---- damage


def test_cut_and_unreadable_shards_are_said_once_and_the_rest_is_read():
    first, second, third = small_shards()
    whole = Path(first).read_bytes()
    Path(first).write_bytes(whole[: whole.index(b"cat/b.npz") + 600])  # within the second sample
    Path(second).write_bytes(b"no tar")
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        data = TokenDataset(".")
        assert [item["key"] for item in data] == ["cat/a", "dog/b"]
    texts = [str(w.message) for w in found]
    assert len(texts) == 2 and "s-00.tar: is cut off; 1 of 2 samples can be read" in texts[0]
    assert "s-01.tar: is no tar" in texts[1]
    with pytest.warns(UserWarning, match="cut off"):
        assert len(list(IterableTokenDataset([first, third]))) == 2
    for kind in (TokenDataset, lambda *a, **k: list(IterableTokenDataset(*a, **k))):
        with pytest.raises(InputError, match="cut off"):
            kind(".", strict=True)
    Path(third).unlink()
    with pytest.raises(InputError, match=r"s-02.tar: no such file"):
        data[1]
    with pytest.raises(InputError, match="holds no"), warnings.catch_warnings():
        TokenDataset("photos")


@pytest.mark.parametrize("cut", [1024, 10240 - 512])
def test_a_tar_without_its_end_is_cut_off(cut):
    write("-o", "s.tar")
    with tarfile.open("s.tar") as tar:
        *_, last = tar
        end = last.offset_data + -(-last.size // 512) * 512
    Path("s.tar").write_bytes(Path("s.tar").read_bytes()[: end if cut == 1024 else end + 100])
    with pytest.warns(UserWarning, match="s.tar: is cut off; 5 of 5 samples can be read"):
        assert len(TokenDataset("s.tar")) == 5


def test_what_is_behind_a_damaged_header_is_found():
    write("-o", "s.tar")
    data = bytearray(Path("s.tar").read_bytes())
    data[data.index(b"cat/b.npz", 4096)] ^= 1
    Path("s.tar").write_bytes(data)
    with pytest.warns(UserWarning, match=r"is damaged at byte [\d,]+; 4 of 5 samples can be read"):
        assert TokenDataset("s.tar").keys == ["cat/a", "cat/c", "dog/a", "dog/b"]


@pytest.mark.parametrize("name", ["s.tar", "s.safetensors"])
def test_a_damaged_sample_is_named_or_left_out(name):
    write("-o", name)
    data = bytearray(Path(name).read_bytes())
    if name.endswith(".tar"):
        with tarfile.open(name) as tar:
            member = tar.getmember("cat/c.npz")
        data[member.offset_data + member.size // 2] ^= 8
    else:
        data[-3 * 768 * 32 + 100] ^= 8  # in the third of five tensors of equal size
    Path(name).write_bytes(data)
    with pytest.raises(FormatError, match=rf"{name}: sample 'cat/c' is damaged"):
        TokenDataset(name)[2]
    with pytest.warns(UserWarning, match="'cat/c' is damaged.*left out"):
        assert [i["key"] for i in IterableTokenDataset(name)] == ["cat/a", "cat/b", "dog/a", "dog/b"]
    with pytest.raises(FormatError, match="'cat/c'"):
        list(IterableTokenDataset(name, strict=True))


def test_a_cut_safetensors_file():
    write("-o", "s.safetensors")
    Path("s.safetensors").write_bytes(Path("s.safetensors").read_bytes()[:-5])
    with pytest.raises(InputError, match=r"no samples could be read"), pytest.warns(UserWarning, match="is cut off"):
        TokenDataset("s.safetensors")


class Dying:
    """Ends the worker that it is called in, once."""

    def __call__(self, tokens):
        if get_worker_info() and not os.path.exists("died"):
            Path("died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return tokens


def test_a_lost_worker_is_said_and_the_data_set_stays_of_use():
    write("-o", "s.tar")
    data = TokenDataset("s.tar", transform=Dying())
    with pytest.raises(RuntimeError, match="worker"):
        list(DataLoader(data, 1, num_workers=1))
    assert len(list(DataLoader(data, 1, num_workers=1))) == 5


# ---- stopped and resumed


def test_failures_are_listed_and_tried_again():
    Path("photos/cat/b.png").rename("b.png")
    Path("photos/cat/b.png").write_text("no image")
    arguments = ("-o", "s-%02d.tar", "--samples-per-shard", "2", "--labels", "folder")
    result = write(*arguments, "--json", code=1)
    *records, summary = lines(result)
    assert (summary["done"], summary["failed"], summary["shards"]) == (4, 1, ["s-00.tar", "s-01.tar"])
    assert "photos/cat/b.png" in result.stderr and {r["status"] for r in records} == {"done", "failed"}
    assert all(r["output"] in summary["shards"] for r in records if r["status"] == "done")
    one_line(call("tokens", "photos", "-r", *arguments), 1, "s-00.tar: exists already", "--resume")
    before = {p: p.read_bytes() for p in Path().glob("s-*.tar")}
    Path("b.png").replace("photos/cat/b.png")
    make_photo("photos/ape/new.png", 8)
    *_, summary = lines(write(*arguments, "--resume", "--json"))
    assert (summary["done"], summary["skipped"], summary["shards"]) == (2, 4, ["s-02.tar"])
    assert summary["classes"] == ["cat", "dog", "ape"]  # known ones keep their numbers
    assert keys_of() == ["ape/new", "cat/a", "cat/b", "cat/c", "dog/a", "dog/b"]
    assert all(path.read_bytes() == data for path, data in before.items())
    assert TokenDataset(".").classes == ["cat", "dog", "ape"] and TokenDataset("s-02.tar")[0]["label"] == 2


def test_nothing_left_to_do_loads_no_model(monkeypatch):
    write("-o", "s.tar")
    monkeypatch.setattr("vitcodec.cli.codecs.load_codec", None)
    assert "5 skipped" in write("-o", "s.tar", "--resume").stderr


def test_a_full_disk_ends_the_run_and_loses_nothing(monkeypatch):
    arguments, calls, through = ("-o", "s-%02d.tar", "--samples-per-shard", "2"), [], atomic._write_through

    def full(file, data):
        calls.append(1)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        through(file, data)

    monkeypatch.setattr(atomic, "_write_through", full)
    result = write(*arguments, code=1)
    assert result.stderr.count("No space left on device") == 1 and "2 done, 3 not done" in result.stderr
    assert "free space; then --resume goes on from there" in result.stderr
    assert sorted(p.name for p in Path().iterdir() if p.is_file()) == ["s-00.tar"]
    monkeypatch.setattr(atomic, "_write_through", through)
    write(*arguments, "--resume")
    assert keys_of() == ["cat/a", "cat/b", "cat/c", "dog/a", "dog/b"]


def test_killed_and_resumed(tmp_path):
    for seed in range(12):
        make_photo(f"photos/more/{seed:02}.png", seed)
    arguments = ["tokens", "photos", "-r", "-o", "out/s-%02d.tar", "--samples-per-shard", "1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-m", "vitcodec", *arguments, "--quiet"], env=environment)
    limit = time.monotonic() + 60
    while not Path("out/s-02.tar").exists() and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    Path("out/.vitcodec-0123456789abcdef.tmp").write_bytes(b"as systems without nameless files leave it")
    left = keys_of("out")
    assert len(left) >= 3 and left == sorted(left)
    assert call(*arguments, "--resume").exit_code == 0
    assert keys_of("out") == sorted(p.relative_to("photos").with_suffix("").as_posix() for p in Path().rglob("*.png"))


def test_a_shard_that_others_cut_is_made_again():
    first, *_ = small_shards()
    arguments = ("-o", "s-%02d.tar", "--samples-per-shard", "2", "--labels", "folder", "--resume")
    Path(first).write_bytes(Path(first).read_bytes()[:2000])
    one_line(call("tokens", "photos", "-r", *arguments), 1, "s-00.tar: is cut off; delete it")
    Path(first).unlink()
    assert lines(write(*arguments, "--json"))[-1]["shards"] == [first]
    assert len(keys_of()) == 5


def test_sizes_of_shards():
    write("-o", "a.tar", "--max-size", "1k")
    assert sorted(str(p) for p in Path().glob("a*")) == [*(f"a-00000{n}.tar" for n in range(1, 5)), "a.tar"]
    result = write("-o", "a.tar", "--overwrite")
    assert "a-000001.tar and 3 more: of an earlier run" in result.stderr and len(TokenDataset("a.tar")) == 5


def test_shuffled_is_always_the_same_order():
    write("-o", "a.tar", "--shuffle")
    write("-o", "b.tar", "--shuffle")
    assert Path("a.tar").read_bytes() == Path("b.tar").read_bytes()
    assert TokenDataset("a.tar").keys != keys_of("a.tar")


def test_usage():
    make_photo("photos/cat/a.jpg")
    make_photo("photos/cat/b.c.png")
    one_line(call("tokens", "photos", "-r", "-o", "s.tar"), 2, "a.jpg", "a.png", "sample 'cat/a'", "--append-suffix")
    write("-o", "s.tar", "--append-suffix")
    assert {"cat/a_jpg", "cat/a_png", "cat/b_c_png"} <= set(keys_of("s.tar"))
    Path("photos/cat/a.jpg").unlink()
    for arguments, *parts in (
        (("-o", "s.zip"), "s.zip", "shard-%06d.tar"),
        (("-o", "s-%s.tar"), "%06d"),
        (("-o", "photos"), "photos"),
        (("-o", "s-%d.tar", "--labels", "names"), "--labels folder"),
        (("-o", "s.tar", "--resume", "--overwrite"), "contradict"),
        (("-o", "s.tar", "--resume", "-q", "20", "--append-suffix"), "quality 50, not 20"),
    ):
        one_line(call("tokens", "photos", "-r", *arguments), 2, *parts)
    one_line(call("tokens", "-", "-o", "s.tar"), 2, "<stdin>", "has no name")
    assert "photos/cat/b.c.png -> cat/b_c" in write("-o", "n.tar", "-n").stdout and not Path("n.tar").exists()


def test_other_peoples_shards():
    with tarfile.open("other.tar", "w") as tar:
        for name, array in (("x.npy", np.ones((768, 1, 2), np.int16)), ("y.npy", np.ones((3, 3))), ("z.txt", None)):
            buffer = io.BytesIO()
            if array is not None:
                np.save(buffer, array)
            member = tarfile.TarInfo(name)
            member.size = buffer.tell()
            tar.addfile(member, io.BytesIO(buffer.getvalue()))
    data = TokenDataset("other.tar")
    assert data.keys == ["x", "y"] and data[0]["tokens"].shape == (768, 1, 2)
    with pytest.raises(FormatError, match="'y' is no tokens"):
        data[1]
    one_line(call("tokens", "photos", "-r", "-o", "other.tar", "--resume"), 1, "not written by vitcodec")


# ---- the example


def test_the_example(capsys, monkeypatch):
    for name in ("VITCODEC_MODEL", "VITCODEC_MODELS"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    spec = importlib.util.spec_from_file_location("tokens_classifier", ROOT / "examples" / "tokens_classifier.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    threads = torch.get_num_threads()
    try:
        results = example.main(quick=True)
    finally:
        torch.set_num_threads(threads)
    assert results["read tokens"] > results["decode .vitc"]
    assert results["pixels: accuracy"] > 0.2 and "chance 50%" in capsys.readouterr().out
