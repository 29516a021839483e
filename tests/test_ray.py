"""The commands over Ray: two workers on this machine, of which one is killed in the middle."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from conftest import smooth
from PIL import Image
from storing import call, lines, one_line
from test_light import ARCHIVE

from vitcodec.cluster import planning, pool
from vitcodec.errors import InputError, OutputError, UsageError
from vitcodec.filesystem import urls

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")  # its own, of its own settings
LOCAL = pool.Cluster("local", workers=2, cpus=1, gpus=0)
PICTURES = 40


@pytest.fixture(scope="module")
def ray():
    """Ray with two CPUs, for all tests of this module."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'vitcodec[ray]'")
    with pool.connected(LOCAL) as ray:
        yield ray
    assert not workers(), "processes of Ray are left"


@pytest.fixture(autouse=True)
def model(tmp_path_factory, monkeypatch):
    """The small model, as the one to encode with and the one that is found for files."""
    folder = tmp_path_factory.getbasetemp() / "ray-model"
    if not folder.exists():
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(folder, filter="data")
    for name in ("VITCODEC_DEVICE", "VITCODEC_DEBUG", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VITCODEC_MODEL", f"local-dir:{folder / 'small'}")
    monkeypatch.setenv("VITCODEC_MODELS", str(folder))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_photos(count):
    for number in range(count):
        path = Path("photos", str(number % 3), f"{number:03}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 9, (32, 40, 3), np.uint8)
        Image.fromarray(smooth(32, 40) + noise).save(path)


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def workers():
    found = psutil.Process().children(recursive=True)
    return [
        p for p in found if p.status() != psutil.STATUS_ZOMBIE and p.cmdline()[:1] and "::MapWorker" in p.cmdline()[0]
    ]


def on_ray(command, *arguments):
    return call("ray", command, *arguments, "--workers", 2)


def test_a_worker_killed_in_the_middle_loses_nothing(ray, here):
    make_photos(PICTURES)
    assert call("encode", "photos", "-r", "-o", "alone", "--effort", 1).exit_code == 0
    killed = []

    def kill():
        while len(found := workers()) < 2:
            time.sleep(0.01)
        while not Path("out").exists() or not files("out"):  # then at once: the victim has to have work left
            time.sleep(0.002)
        found[0].send_signal(signal.SIGKILL)
        killed.append(len(files("out")))

    threading.Thread(target=kill, daemon=True).start()
    result = on_ray("encode", "photos", "-r", "-o", "out", "--effort", 1)
    assert killed and killed[0] < PICTURES
    assert result.exit_code == 0 and result.stderr.count("a worker was lost") == 1, result.stderr
    assert f"{PICTURES} encoded" in result.stderr
    assert files("out") == files("alone")

    # the same again: what is there is left alone, and what is wrong fails by itself, in the words of the one machine
    for name in ("0/000.vitc", "1/001.vitc"):
        Path("out", name).unlink()
        Path("alone", name).unlink()
    Path("out/1/.vitcodec-0123456789abcdef.tmp").write_bytes(b"half of a file")
    Path("photos/0/empty.png").touch()
    Path("photos/0/cut.png").write_bytes(Path("photos/0/000.png").read_bytes()[:900])
    Path("photos/0/text.png").write_text("no image")
    command = ("encode", "photos", "-r", "--effort", 1, "--skip-existing", "-o")
    alone, result = call(*command, "alone"), on_ray(*command, "out")
    assert alone.exit_code == result.exit_code == 1
    assert f"2 encoded, {PICTURES - 2} skipped, 3 failed" in result.stderr
    assert sorted(result.stderr.splitlines()[-3:]) == sorted(alone.stderr.splitlines()[-3:])
    Path("out/1/.vitcodec-0123456789abcdef.tmp").unlink()
    assert files("out") == files("alone")


def test_decode_from_and_to_urls(ray, here):
    make_photos(3)
    assert call("encode", "photos", "-r", "-o", "small", "--effort", 1, "--quiet").exit_code == 0
    assert call("decode", "small", "-r", "-o", "alone", "--quiet").exit_code == 0
    source, target = f"file://{here}/small/", f"file://{here}/out"
    result = on_ray("decode", source, "-r", "-o", target, "--json")
    assert result.exit_code == 0, result.stderr
    *records, summary = lines(result)
    assert {r["output"] for r in records} == {f"{target}/{n}/00{n}.png" for n in range(3)}
    assert summary["done"] == 3 and summary["failed"] == 0
    assert files("out") == files("alone")
    again = on_ray("decode", source, "-r", "-o", target)
    assert again.exit_code == 1 and again.stderr.count("exists already") == 3
    assert "3 skipped" in on_ray("decode", source, "-r", "-o", target, "--skip-existing").stderr


def test_eval_gives_the_figures_of_one_machine_and_resumes(ray, here, monkeypatch):
    make_photos(3)
    Path("photos/0/bad.png").write_text("no image")
    command = ("photos", "-r", "-q", "30,80", "--effort", 1, "--baselines", "jpeg", "--csv")
    assert call("eval", *command, "alone.csv").exit_code == 1
    result = on_ray("eval", *command, "all.csv", "--resume", "kept.jsonl")
    assert result.exit_code == 1 and "1 of 4 images failed" in result.stderr, result.stderr

    def figures(path):
        with open(path) as stream:
            return [
                [row[k] for k in ("codec", "file", "quality", "bytes", "psnr", "ssim")]
                for row in csv.DictReader(stream)
            ]

    assert figures("all.csv") == figures("alone.csv")
    kept = Path("kept.jsonl").read_bytes()
    Path("kept.jsonl").write_bytes(kept + b'{"name": "photos/0/00')  # killed while it was written
    monkeypatch.setattr(pool, "spread", None)  # nothing is left for a worker to do
    assert on_ray("eval", *command, "again.csv", "--resume", "kept.jsonl").exit_code == 1
    assert figures("again.csv") == figures("alone.csv") and Path("kept.jsonl").read_bytes() == kept
    other = on_ray("eval", "photos", "-r", "-q", "31", "--resume", "kept.jsonl")
    one_line(other, 2, "kept.jsonl", "these options", "--resume")


def test_an_item_that_ends_every_worker_fails_alone(ray):
    def begin():
        def do(item):
            if item["number"] == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return {"square": item["number"] ** 2}

        return do

    done = list(pool.spread(LOCAL, begin, [{"number": n} for n in range(5)]))
    results = {d.index: d.result and d.result["square"] for d in done}
    assert results == {0: 0, 1: 1, 2: None, 3: 9, 4: 16} and len(done) == 5


def test_what_no_worker_can_start_with_ends_the_command(ray, here):
    make_photos(2)
    one_line(on_ray("encode", "photos", "-r", "-o", "out", "-m", "nope"), 1, "unknown model 'nope'", "give one of them")
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("photos", "--address", "ray://head:10001"), ("ray job submit",)),
        (("-",), ("a cluster works on files",)),
        (("photos/0/000.png", "-o", "-"), ("a cluster writes files",)),
        (("nope://bucket/photos/",), ("no file system is called nope://",)),
        (("s3://bucket/photos/",), ("pip install s3fs",)),
    ],
)
def test_mistakes_are_one_line(here, monkeypatch, arguments, parts):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    make_photos(1)
    result = call("ray", "encode", *arguments, "-r")
    assert result.exit_code in (1, 2) and result.stderr.count("\n") == 1, result.stderr
    assert all(part in result.stderr for part in parts), result.stderr


def test_a_cluster_that_does_not_answer_is_named(ray, here, monkeypatch):
    make_photos(1)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    result = call("ray", "encode", "photos", "-r", "-o", "out", "--address", "127.0.0.1:1")
    one_line(result, 1, "no Ray cluster at '127.0.0.1:1'", "ray start --head")


def test_without_ray_it_says_what_to_install(here, monkeypatch):
    make_photos(1)
    monkeypatch.setitem(sys.modules, "ray", None)
    one_line(call("ray", "encode", "photos", "-r", "-o", "out"), 1, "pip install 'vitcodec[ray]'")


def test_ray_is_imported_when_it_works():
    program = "import sys, vitcodec.cli.cluster; print({'ray', 'fsspec', 'torch', 'PIL'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert result.stdout == "set()\n", result.stderr


# ---- files at URLs


@pytest.fixture
def memory():
    """A folder of an object store, in this process."""
    import fsspec

    store = fsspec.filesystem("memory")
    store.makedirs("/bucket", exist_ok=True)
    yield "memory://bucket"
    store.rm("/bucket", recursive=True)


def test_urls_and_the_paths_that_stand_for_them():
    for url in ("s3://bucket/a/b.png", "file:///tmp/a.png", "hf://datasets/org/name/a.png", "hdfs:///user/a.png"):
        assert urls.is_url(url) and urls.url_of(urls.path_of(url)) == url
    for text in ("photos/a.png", "C://a.png", "a:b.png", "/tmp/s3/a.png"):
        assert not urls.is_url(text) and urls.url_of(Path(text)) is None


@pytest.mark.parametrize("scheme", ["memory", "file"])
def test_written_whole_and_never_over(scheme, memory, here):
    folder = memory if scheme == "memory" else f"file://{here}"
    url = f"{folder}/new/folder/a.bin"
    urls.write_url(url, b"one")
    with pytest.raises(OutputError, match="exists already") as raised:
        urls.write_url(url, b"two")
    assert isinstance(raised.value.__cause__, FileExistsError) and urls.read_url(url) == b"one"
    urls.write_url(url, b"three", overwrite=True)
    assert urls.read_url(url) == b"three" and urls.names_in(f"{folder}/new/folder") == {"a.bin"}
    with pytest.raises(InputError, match=r"none\.bin: cannot be read \(no such file\)"):
        urls.read_url(f"{folder}/none.bin")


def test_a_plan_with_urls(memory, here):
    for name in ("a.png", "sub/b.jpg", "sub/.hidden.png", "notes.txt", ".vitcodec-0123.tmp"):
        urls.write_url(f"{memory}/photos/{name}", b"x")
    found = planning.find_inputs([f"{memory}/photos", f"{memory}/none"], {".png", ".jpg"}, recursive=True)
    assert [s.name for s in found.sources] == [f"{memory}/photos/a.png", f"{memory}/photos/sub/b.jpg"]
    assert [p.name for p in found.problems] == [f"{memory}/none"]
    assert found.left_out.counts() == {".txt": 1, "hidden .png": 1, "hidden .tmp": 1}
    flat = planning.find_inputs([f"{memory}/photos/*.png"], {".png"})
    assert [str(s.relative) for s in flat.sources] == ["a.png"]
    urls.write_url(f"{memory}/out/sub/b.vitc", b"x")
    plan = planning.plan_outputs(found, f"{memory}/out", ".vitc", skip_existing=True)
    assert [j.url for j in plan.jobs] == [f"{memory}/out/a.vitc"]
    assert [j.url for j in plan.skipped] == [f"{memory}/out/sub/b.vitc"]
    plan = planning.plan_outputs(found, f"{memory}/out", ".vitc")
    assert [str(p.error) for p in plan.problems][1:] == [
        f"{memory}/out/sub/b.vitc: exists already; use --overwrite or --skip-existing"
    ]
    assert [j.target_name for j in planning.plan_outputs(found, "out", ".vitc").jobs] == [
        "out/a.vitc",
        "out/sub/b.vitc",
    ]
    beside = planning.plan_outputs(found, None, ".vitc")
    assert [j.url for j in beside.jobs] == [f"{memory}/photos/a.vitc", f"{memory}/photos/sub/b.vitc"]
    urls.write_url(f"{memory}/photos/a.jpg", b"x")
    both = planning.find_inputs([f"{memory}/photos"], {".png", ".jpg"})
    with pytest.raises(UsageError, match=rf"would both become {memory}/out/a\.vitc"):
        planning.plan_outputs(both, f"{memory}/out/", ".vitc")


def test_what_a_lost_worker_wrote_before_it_could_tell_is_done(memory, here):
    found = planning.find_inputs([f"{memory}/a.png"], {".png"})
    assert not found.sources
    urls.write_url(f"{memory}/a.png", b"x")
    found = planning.find_inputs([f"{memory}/a.png"], {".png"})
    for output in ("out/", f"{memory}/out/"):
        (job,) = planning.plan_outputs(found, output, ".vitc").jobs
        planning.write(job, b"data", overwrite=False)
        planning.write(job, b"data", overwrite=False)
        with pytest.raises(OutputError, match="exists already"):
            planning.write(job, b"other", overwrite=False)
    assert Path("out/a.vitc").read_bytes() == b"data"


def test_kept_results_are_those_of_the_options(here):
    Path("notes.txt").write_text("mine")
    one_line(call("ray", "eval", "x.png", "--resume", "notes.txt"), 2, "notes.txt", "no results of vitcodec")
    assert Path("notes.txt").read_text() == "mine"
