"""Finding inputs, planning outputs, atomic writes."""

from __future__ import annotations

import os
import pty
import socket
import stat
from pathlib import Path

import pytest

from vitcodec.errors import InputError, OutputError, UsageError
from vitcodec.files import IMAGE_SUFFIXES, find_inputs, plan_outputs, write_atomic
from vitcodec.filesystem import streams, suffixes


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """in/{a.jpg, B.PNG, notes.txt, .hidden.png}, in/sub/{a.jpg}, in/sub/.git/c.png; the working folder is above it."""
    for name in ("a.jpg", "B.PNG", "notes.txt", ".hidden.png", "sub/a.jpg", "sub/.git/c.png"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(found):
    return [s.name for s in found.sources]


def targets(plan):
    return [str(j.target) for j in plan.jobs]


def find(*inputs, recursive=False):
    return find_inputs(inputs, IMAGE_SUFFIXES, recursive)


def test_folder_gives_its_images_only(tree):
    found = find("in")
    assert names(found) == ["in/B.PNG", "in/a.jpg"] and found.many and not found.problems


def test_recursive_folder_is_mirrored(tree):
    plan = plan_outputs(find("in", recursive=True), "out", ".vitc")
    assert targets(plan) == ["out/B.vitc", "out/a.vitc", "out/sub/a.vitc"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("in/*.jpg", ["out/a.vitc"]),
        ("in/*", ["out/B.vitc", "out/a.vitc", "out/sub/a.vitc"]),
        ("in/**/*.jpg", ["out/a.vitc", "out/sub/a.vitc"]),
    ],
)
def test_glob(tree, pattern, expected):
    assert targets(plan_outputs(find(pattern), "out", ".vitc")) == expected


def test_a_file_whose_name_looks_like_a_glob(tree):
    Path("in/[1].png").write_bytes(b"x")
    assert names(find("in/[1].png")) == ["in/[1].png"]


def test_named_file_may_have_any_suffix(tree):
    assert names(find("in/notes.txt")) == ["in/notes.txt"]


def test_what_is_named_twice_counts_once(tree):
    assert names(find("in/a.jpg", "in", "./in/a.jpg")) == ["in/a.jpg", "in/B.PNG"]


def test_missing_inputs_are_problems_and_stop_nothing(tree):
    found = find("in/a.jpg", "absent.png", "in/*.tif")
    assert names(found) == ["in/a.jpg"] and found.many
    assert [p.name for p in found.problems] == ["absent.png", "in/*.tif"]
    assert all(isinstance(p.error, InputError) and p.name in str(p.error) for p in found.problems)


def test_links_are_files_of_their_own(tree):
    os.symlink("a.jpg", "in/alias.jpg")
    os.symlink("in", "other")
    assert names(find("in", "in/alias.jpg")) == ["in/B.PNG", "in/a.jpg", "in/alias.jpg"]
    assert names(find("in", "other")) == ["in/B.PNG", "in/a.jpg", "in/alias.jpg"]  # the same folder
    os.symlink("absent.jpg", "in/broken.jpg")
    found = find("in/broken.jpg")
    assert "link to a file that does not exist" in str(found.problems[0].error) and not found.many


def test_what_is_left_out_is_counted(tree):
    for name in ("x.heic", "y.HEIC", "z.cr2", ".DS_Store", "Makefile", "._a.jpg"):
        Path("in", name).write_bytes(b"x")
    os.mkfifo("in/pipe.png")
    left = find("in").left_out
    files = {".heic": 2, ".DS_Store": 1, ".cr2": 1, ".txt": 1, "hidden .jpg": 1, "hidden .png": 1, "without suffix": 1}
    assert left.counts() == files | {"subfolders": 1, "pipes or devices": 1} and left.matters
    assert left.text.startswith(
        "left out: 2 .heic, 1 .DS_Store, 1 .cr2, 1 .txt, 1 hidden .jpg, 1 hidden .png, 1 without"
    )
    assert "; 1 subfolder, -r takes it; 1 pipe or device" in left.text
    os.symlink("sub", "in/linked")
    left = find("in", recursive=True).left_out.counts()
    assert (left["hidden folders"], left["linked folders"]) == (1, 1) and "subfolders" not in left
    assert find("in/*.*").left_out.counts() == {".heic": 2, ".cr2": 1, ".txt": 1, "pipes or devices": 1}
    # what is named itself is taken, what the command writes is its own
    assert ".txt" not in find("in", "in/notes.txt", "in/sub").left_out.counts()
    assert "subfolders" not in find("in", "in/sub").left_out.counts()
    Path("in/a.vitc").write_bytes(b"x")
    Path("in/other.vitc").write_bytes(b"x")
    plan = plan_outputs(find("in"), None, ".vitc", overwrite=True)
    assert plan.left_out.counts()[".vitc"] == 1
    assert "subfolders" not in plan_outputs(find("in"), "in/sub", ".vitc").left_out.counts()


def test_hidden_files_and_those_of_systems_do_not_matter(tree):
    for name in ("only/a.png", "only/.DS_Store", "only/Thumbs.db", "only/.git/x"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"x")
    left = find("only").left_out
    assert left.counts() == {".DS_Store": 1, ".db": 1, "hidden folders": 1} and not left.matters
    assert not find("in/sub").left_out.matters


def test_more_kinds_than_a_line_holds(tree):
    for number in range(12):
        Path(f"in/x.kind{number:02}").write_bytes(b"x")
    assert "of 6 other kinds; 1 subfolder" in find("in").left_out.text


def test_suffixes_of_plugins(tree, monkeypatch):
    Path("in/x.heic").write_bytes(b"x")
    Path("in/y.jxl").write_bytes(b"x")
    monkeypatch.setattr(suffixes, "_installed", lambda module: False)
    assert (
        "to read .heic, pip install pillow-heif; to read .jxl, pip install pillow-jxl-plugin"
        in find("in").left_out.text
    )
    assert "pip" not in find_inputs(["in"], {".vitc"}).left_out.text
    monkeypatch.setattr(suffixes, "_installed", lambda module: module == "pillow_heif")
    found = find_inputs(["in"], suffixes.image_suffixes())
    assert names(found) == ["in/B.PNG", "in/a.jpg", "in/x.heic"] and found.left_out.counts()[".jxl"] == 1


def test_suffixes_that_are_written():
    assert all(suffixes.promises_image(Path(f"a{s.upper()}")) for s in suffixes.WRITE_FORMATS)
    assert suffixes.same_format(".jpeg", ".jpg") and not suffixes.same_format(".png", ".jpg")


def test_folders_called_like_globs(tree):
    for name in ("sub [x]/a.png", "sub [x]/b [1].png", "sub x/c.png", "deep/sub [x]/d.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"x")
    plan = plan_outputs(find("sub [x]/*.png"), "out", ".vitc")
    assert targets(plan) == ["out/sub x/c.vitc", "out/a.vitc", "out/b [1].vitc"]  # both readings
    assert names(find("sub [x]/* [[]1].png")) == ["sub [x]/b [1].png"]
    assert names(find("*/sub [x]/*.png")) == ["deep/sub [x]/d.png"]
    assert names(find(str(tree / "sub [x]" / "a*"))) == [str(tree / "sub [x]" / "a.png")]


def test_appended_suffixes_tell_files_apart(tree):
    Path("in/a.png").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"--append-suffix makes a\.png\.vitc of it"):
        plan_outputs(find("in"), None, ".vitc")
    plan = plan_outputs(find("in"), "out", ".vitc", append=True)
    assert targets(plan) == ["out/B.PNG.vitc", "out/a.jpg.vitc", "out/a.png.vitc"]
    with pytest.raises(UsageError, match="in different folders") as caught:  # of no help here
        plan_outputs(find("in/a.jpg", "in/sub/a.jpg"), "out", ".vitc")
    assert "--append-suffix" not in str(caught.value)


def test_streams_need_a_name_for_their_output(tree):
    os.mkfifo("pipe.png")
    for stream in ("pipe.png", "/dev/stdin", "/dev/fd/63"):
        one = find(stream)
        assert one.sources[0].stream and not one.many
        assert targets(plan_outputs(one, "x.vitc", ".vitc")) == ["x.vitc"]
        for output in (None, "in", "new/"):
            with pytest.raises(UsageError, match="has no name to call an output by; use -o FILE"):
                plan_outputs(one, output, ".vitc")


def test_streams_as_outputs_exist_and_are_not_replaced(tree):
    os.mkfifo("pipe")
    for options in ({}, {"overwrite": True}, {"skip_existing": True}):
        assert targets(plan_outputs(find("in/a.jpg"), "pipe", ".vitc", **options)) == ["pipe"]
    assert plan_outputs(find("in/a.jpg"), "/dev/stdout", ".vitc").jobs[0].target is None
    with pytest.raises(UsageError, match="is no folder"):
        plan_outputs(find("in"), "pipe", ".vitc")


def test_stdin_must_be_alone(tree):
    assert find("-").sources[0].path is None
    with pytest.raises(UsageError):
        find("-", "in/a.jpg")


def test_default_output_is_beside_the_input(tree):
    assert targets(plan_outputs(find("in"), None, ".vitc")) == ["in/B.vitc", "in/a.vitc"]


def test_one_file_to_a_file_or_into_a_folder(tree):
    one = find("in/a.jpg")
    assert targets(plan_outputs(one, "x.vitc", ".vitc")) == ["x.vitc"]
    assert targets(plan_outputs(one, "new/", ".vitc")) == ["new/a.vitc"]
    Path("there").mkdir()
    assert targets(plan_outputs(one, "there", ".vitc")) == ["there/a.vitc"]


def test_a_folder_of_one_image_goes_into_a_folder(tree):
    assert targets(plan_outputs(find("in/sub"), "out", ".vitc")) == ["out/a.vitc"]


def test_several_inputs_need_a_folder(tree):
    with pytest.raises(UsageError, match=r"notes\.txt"):
        plan_outputs(find("in"), "in/notes.txt", ".vitc")
    with pytest.raises(UsageError, match="one input"):
        plan_outputs(find("in"), "-", ".vitc")


def test_collisions_are_reported_before_any_work(tree):
    Path("in/a.png").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"in/a\.jpg and in/a\.png would both become in/a\.vitc"):
        plan_outputs(find("in"), None, ".vitc")


@pytest.mark.parametrize("overwrite", [False, True])
def test_never_read_and_write_one_path(tree, overwrite):
    with pytest.raises(UsageError, match="would replace the input"):
        plan_outputs(find("in/a.jpg"), "in/../in/a.jpg", ".vitc", overwrite)
    os.symlink("a.jpg", "in/link.vitc")
    with pytest.raises(UsageError, match="would replace the input"):
        plan_outputs(find("in/a.jpg"), "in/link.vitc", ".vitc", overwrite)


def test_existing_outputs(tree):
    Path("in/a.vitc").write_bytes(b"precious")
    refused = plan_outputs(find("in"), None, ".vitc")
    assert targets(refused) == ["in/B.vitc"] and isinstance(refused.problems[0].error, OutputError)
    skipped = plan_outputs(find("in"), None, ".vitc", skip_existing=True)
    assert (
        targets(skipped) == ["in/B.vitc"]
        and [j.source.name for j in skipped.skipped] == ["in/a.jpg"]
        and not skipped.problems
    )
    assert targets(plan_outputs(find("in"), None, ".vitc", overwrite=True)) == ["in/B.vitc", "in/a.vitc"]
    with pytest.raises(UsageError, match="contradict"):
        plan_outputs(find("in"), None, ".vitc", overwrite=True, skip_existing=True)


def test_a_folder_is_never_overwritten(tree):
    Path("in/a.vitc").mkdir()
    plan = plan_outputs(find("in/a.jpg"), None, ".vitc", overwrite=True)
    assert not plan.jobs and "is a folder" in str(plan.problems[0].error)


def left(folder):
    return sorted(p.name for p in folder.iterdir())


def test_write_makes_folders_and_leaves_nothing_else(tmp_path):
    write_atomic(tmp_path / "a" / "b" / "c.bin", b"data")
    assert (tmp_path / "a/b/c.bin").read_bytes() == b"data" and left(tmp_path / "a/b") == ["c.bin"]


def test_write_refuses_what_appeared_meanwhile(tmp_path):
    target = tmp_path / "x"
    target.write_bytes(b"old")
    with pytest.raises(OutputError, match="exists already"):
        write_atomic(target, b"new")
    assert target.read_bytes() == b"old" and left(tmp_path) == ["x"]
    target.chmod(0o600)
    write_atomic(target, b"new", overwrite=True)
    assert target.read_bytes() == b"new" and target.stat().st_mode & 0o777 == 0o600 and left(tmp_path) == ["x"]


def test_write_without_hard_links(tmp_path, monkeypatch):
    def no_links(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    write_atomic(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"new" and left(tmp_path) == ["x"]
    with pytest.raises(OutputError, match="exists already"):
        write_atomic(tmp_path / "x", b"newer")
    assert (tmp_path / "x").read_bytes() == b"new" and left(tmp_path) == ["x"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
@pytest.mark.parametrize("overwrite", [False, True])
def test_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch, error, overwrite):
    target = tmp_path / "x"
    if overwrite:
        target.write_bytes(b"old")

    def fail(_):
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else OutputError):
        write_atomic(target, b"new", overwrite)
    assert left(tmp_path) == (["x"] if overwrite else [])
    assert not overwrite or target.read_bytes() == b"old"


def test_write_where_a_folder_is_a_file(tmp_path):
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(OutputError, match=r"not a folder|Not a directory"):
        write_atomic(tmp_path / "x" / "y", b"new")


def test_the_target_of_a_link_is_replaced(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/file").write_bytes(b"old")
    link, new, lost = (tmp_path / name for name in ("link", "new", "lost"))
    link.symlink_to("sub/file")
    new.symlink_to("sub/made")
    lost.symlink_to("absent/made")
    for path in (link, new):
        with pytest.raises(OutputError, match="exists already"):
            write_atomic(path, b"new")
        write_atomic(path, b"new", overwrite=True)
        assert path.is_symlink() and path.read_bytes() == b"new" and not path.resolve().is_symlink()
    with pytest.raises(OutputError, match="a link into"):
        write_atomic(lost, b"new", overwrite=True)
    circle = tmp_path / "circle"
    circle.symlink_to("circle")
    with pytest.raises(OutputError, match="links"):
        write_atomic(circle, b"new", overwrite=True)
    assert lost.is_symlink() and circle.is_symlink() and left(tmp_path / "sub") == ["file", "made"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_pipe_is_written_into(tmp_path, overwrite):
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to("pipe")
    for path in (pipe, link):
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        write_atomic(path, b"through", overwrite)
        assert os.read(reader, 99) == b"through" and stat.S_ISFIFO(pipe.stat().st_mode) and link.is_symlink()
        os.close(reader)
    assert left(tmp_path) == ["link", "pipe"]


def test_a_socket_is_neither_written_into_nor_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind("socket")
        with pytest.raises(OutputError, match="never replaced"):
            write_atomic(Path("socket"), b"data", overwrite=True)
        assert stat.S_ISSOCK(os.stat("socket").st_mode)
        assert "disk or a socket" in str(find("socket").problems[0].error)


def test_an_open_file_is_written_where_it_stands(tmp_path):
    with open(tmp_path / "file", "wb") as file:
        file.write(b"before ")
        file.flush()
        write_atomic(Path(f"/dev/fd/{file.fileno()}"), b"after")
    assert (tmp_path / "file").read_bytes() == b"before after"


def test_a_stream_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "MOST_BYTES", 1000)
    reading, writing = os.pipe()
    os.write(writing, bytes(1001))
    os.close(writing)
    with pytest.raises(InputError, match="does not end"):
        streams.read_bytes(Path(f"/dev/fd/{reading}"))
    os.close(reading)


def test_a_terminal_is_neither_read_nor_written(tmp_path):
    master, terminal = pty.openpty()
    for action in (lambda path: streams.read_bytes(path), lambda path: write_atomic(path, b"x", overwrite=True)):
        with pytest.raises(UsageError, match="terminal"):
            action(Path(os.ttyname(terminal)))
    os.close(master)
    os.close(terminal)


def test_the_time_of_modification(tmp_path):
    write_atomic(tmp_path / "x", b"data", modified=10**18 + 1)
    assert (tmp_path / "x").stat().st_mtime_ns == 10**18 + 1
