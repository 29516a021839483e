"""Boxes in COCO's JSON: of which picture, of which categories, and what is no COCO."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from storing import call, install, lines, one_line

from vitcodec.cli import regions as cli_regions
from vitcodec.coco import CATEGORIES, Coco
from vitcodec.errors import InputError, UsageError

SIZE = 300, 140
BOX = {"bbox": [140.5, 10, 20, 30.2], "category_id": 1, "image_id": 7, "score": 0.9}
FOUND = (140.5, 10, 20, 30.2)
DOG = BOX | {"category_id": 18, "bbox": [1, 2, 3, 4]}
IMAGE = {"id": 7, "file_name": "photos/a.png", "width": 300, "height": 140}
OTHER = {"id": 8, "file_name": "b/a.png", "width": 1, "height": 1}
FRUIT = [{"id": 1, "name": "Apple"}, {"id": 18, "name": "pear"}]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with photos/a.png, and a codec that stores pictures as they are."""
    install(monkeypatch)
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    Image.fromarray(np.zeros((140, 300, 3), np.uint8)).save("photos/a.png")
    return tmp_path


def coco(data: Any, name: str = "boxes.json") -> Path:
    Path(name).write_text(data if isinstance(data, str) else json.dumps(data))
    return Path(name)


def read(data: Any, name: str = "boxes.json") -> Coco:
    return Coco.read(coco(data, name))


def boxes(data: Any, alone: bool = True) -> list[Any]:
    found = data if isinstance(data, Coco) else read(data)
    return found.boxes(Path("photos/a.png"), SIZE, alone, 0.5)


def run(*args: Any) -> Any:
    return call("encode", "photos/a.png", "-o", "a.vitc", "--overwrite", *args)


# ---- which picture


@pytest.mark.parametrize(
    "data",
    [
        [BOX],
        [BOX | {"image_id": "a"}, BOX | {"image_id": "b", "bbox": [0, 0, 1, 1]}],
        [{"bbox": BOX["bbox"]}],
        [BOX, BOX | {"score": 0.2, "bbox": [0, 0, 1, 1]}],
        {"images": [IMAGE, OTHER], "annotations": [BOX, BOX | {"image_id": 8}], "categories": []},
        {"images": [IMAGE | {"file_name": "a.png"}], "annotations": [BOX]},
    ],
)
def test_a_picture_is_found(data: Any) -> None:
    """A list that speaks of one picture, names, and a whole data set."""
    assert boxes(data) == [FOUND]


def test_a_picture_without_detections(folder: Path) -> None:
    for data in ([], [BOX | {"image_id": "b"}, BOX | {"image_id": "c"}], {"images": [IMAGE], "annotations": []}):
        assert boxes(data) == []
    assert "no region was found" in run("--roi", coco([])).output


@pytest.mark.parametrize(
    ("data", "part"),
    [
        ([BOX, BOX | {"image_id": 8}], "its images are numbers"),
        ({"images": [OTHER | {"file_name": "c.png"}], "annotations": [BOX]}, "name the picture as there: c.png"),
    ],
)
def test_no_such_image(data: Any, part: str) -> None:
    """It is a mistake where it is the only one; among others it becomes an ordinary file."""
    one_line(run("--roi", coco(data)), 1, "boxes.json: has no image 'a.png'", part)
    assert not Path("a.vitc").exists()
    assert boxes(data, alone=False) == []


def test_categories_leave_the_images_that_a_list_is_about() -> None:
    """Or a list of many would seem to be about one, and be taken for that of any picture."""
    coco([BOX, DOG | {"image_id": 8}])
    one_line(run("--roi", "boxes.json", "--roi-categories", "person"), 1, "has no image 'a.png'")


def test_pictures_named_by_number() -> None:
    found = read([BOX, BOX | {"image_id": 8}])
    for name in ("000000000007.jpg", "COCO_val2014_000000000007.jpg", "7.png"):
        assert found.boxes(Path(name), SIZE, False, 0.5) == [FOUND]
    assert found.boxes(Path("000000000009.jpg"), SIZE, True, 0.5) == [], "a list leaves out what has no detection"


def test_a_list_is_described_by_its_data_set() -> None:
    results = [BOX, DOG | {"image_id": 8}]
    data_set = {"images": [IMAGE, OTHER], "annotations": [BOX | {"bbox": [9, 9, 9, 9]}], "categories": FRUIT}
    described = read(results).described_by(read(data_set, "set.json"))
    assert boxes(described) == [FOUND], "the data set's own boxes do not count"
    assert boxes(described.only(["pear"])) == []
    own = read({"images": [IMAGE], "annotations": [BOX]}).described_by(read(data_set, "set.json"))
    assert list(own.images) == [7] and own.categories == {1: "Apple", 18: "pear"}
    with pytest.raises(InputError, match=r"set\.json: lists neither images nor categories"):
        read(results).described_by(read([BOX], "set.json"))


# ---- which categories


def test_categories_by_name_and_id() -> None:
    assert len(CATEGORIES) == 80 and (CATEGORIES[1], CATEGORIES[18], CATEGORIES[90]) == ("person", "dog", "toothbrush")
    plain, named = read([BOX, DOG]), read({"images": [], "annotations": [BOX, DOG], "categories": FRUIT})
    for found, words in (
        (plain, ["Person"]),
        (plain, ["1"]),
        (plain, ["person", "cat"]),
        (named, ["apple"]),
        (named, ["1"]),
    ):
        assert [entry["bbox"] for entry in found.only(words).detections] == [BOX["bbox"]], words
    assert len(plain.only(["person", "dog"]).detections) == 2 and not plain.only(["cat"]).detections


def test_categories_that_are_not_known() -> None:
    for data, word, part in (
        ([BOX], "persn", "did you mean person"),
        ([BOX], "helmet", "knows no category 'helmet'; it knows person, bicycle"),
        ([BOX], "12", "knows no category '12'"),
        ({"annotations": [BOX], "categories": FRUIT}, "helmet", "it knows apple, pear"),
        ([BOX | {"category_id": 0}], "person", "lists no categories, and its ids are not COCO's"),
    ):
        with pytest.raises(UsageError, match=r"boxes\.json: ") as caught:
            read(data).only([word])
        assert part in str(caught.value)
    assert len(read([BOX | {"category_id": 0}]).only(["0"]).detections) == 1


# ---- on the command line


def test_categories_and_annotations_on_the_command_line() -> None:
    results = coco([BOX, DOG | {"image_id": 8}])
    data_set = coco({"images": [IMAGE, OTHER], "annotations": [], "categories": FRUIT}, "set.json")
    (record, _) = lines(run("--roi", results, "--roi-annotations", data_set, "--roi-categories", "apple", "--json"))
    assert record["regions"] == [[140, 10, 21, 31]]
    (record, _) = lines(run("--roi", results, "--roi-annotations", data_set, "--roi-categories", "pear", "--json"))
    assert record["regions"] == [] and "no region was found" in record["notes"][0]


@pytest.mark.parametrize(
    ("args", "code", "part"),
    [
        (["--roi-categories", "person"], 2, "--roi-categories needs regions"),
        (["--roi", "0,0,5,5", "--roi-categories", "person"], 2, "about COCO's boxes"),
        (["--roi", "0,0,5,5", "--roi-annotations", "boxes.json"], 2, "about COCO's boxes"),
        (["--roi", "boxes.json", "--roi-categories", ","], 2, "names no category"),
        (["--roi", "boxes.json", "--roi-categories", "dgo"], 2, "did you mean dog?"),
        (["--roi", "boxes.json", "--roi-annotations", "boxes.json"], 1, "lists neither"),
        (["--roi", "boxes.json", "--roi-annotations", "none.json"], 1, "none.json"),
    ],
)
def test_mistakes_in_options(args: list[str], code: int, part: str) -> None:
    coco([BOX])
    one_line(run(*args), code, part)
    assert not Path("a.vitc").exists()


@pytest.mark.parametrize(
    ("data", "part"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("\x00", "is not JSON"),
        (5, "not COCO's"),
        ({"boxes": []}, "not COCO's"),
        ({"annotations": [], "categories": {"1": "person"}}, "not COCO's"),
        ({"annotations": [], "categories": [{"id": "1", "name": "person"}]}, "a category without id or name"),
        ([[1, 2, 3, 4]], "not COCO's"),
        ([{}], "without bbox"),
        ([{"bbox": [1, 2, 3]}], "without bbox"),
        ([{"bbox": [1, 2, 3, "4"]}], "without bbox"),
        ([{"bbox": [1, 2, 3, 4], "score": "high"}], "score is no number"),
        ([{"bbox": [1, 2, 3, 4], "image_id": [7]}], "image_id"),
        ([{"bbox": [1, 2, 0, 4]}], "no area"),
        ([{"bbox": [1, 2, float("nan"), 4]}], "no area"),
        ([{"bbox": [10**400, 2, 3, 4]}], "without bbox"),
        ([{"bbox": [301, 2, 3, 4]}], "outside the picture"),
        ({"images": [{"id": 7}], "annotations": []}, "without id or file_name"),
        ({"images": [IMAGE | {"width": 140, "height": 300}], "annotations": [BOX]}, "140x300 pixels, and this one has"),
    ],
)
def test_files_that_are_no_coco(data: Any, part: str) -> None:
    one_line(run("--roi", coco(data)), 1, part)
    assert not Path("a.vitc").exists()


def test_a_detection_without_a_category() -> None:
    one_line(run("--roi", coco([{"bbox": [1, 2, 3, 4]}]), "--roi-categories", "dog"), 1, "without category_id")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json"):
        Coco.read(tmp_path / "none.json")


def test_scores_and_a_folder_of_pictures() -> None:
    Path("photos/000000000007.png").write_bytes(Path("photos/a.png").read_bytes())
    weak = BOX | {"score": 0.3, "bbox": [0, 0, 9, 9]}
    many = ("encode", "photos", "-o", "out", "--overwrite", "--json", "--roi", coco([BOX, weak, BOX | {"image_id": 8}]))
    found = {record["file"]: record["regions"] for record in lines(call(*many))[:-1]}
    assert found == {"photos/000000000007.png": [[140, 10, 21, 31]], "photos/a.png": []}
    first = lines(call(*many, "--roi-score", "0.2"))[0]
    assert first["regions"] == [[140, 10, 21, 31], [0, 0, 9, 9]]
    assert cli_regions.SCORE == 0.5
