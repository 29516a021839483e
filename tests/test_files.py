"""Finding inputs, planning outputs, atomic writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vitcodec.errors import InputError, OutputError, UsageError
from vitcodec.files import IMAGE_SUFFIXES, find_inputs, plan_outputs, write_atomic


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
