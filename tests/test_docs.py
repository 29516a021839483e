"""The README's Python example runs, documents are what the results say, benchmarks store results as they should."""

from __future__ import annotations

import json
import re
from argparse import Namespace
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import harness, rendering
from benchmarks.language import SPANISH
from benchmarks.measure import NARROW, WIDE, curve_of, falls, mean_points
from benchmarks.rendering.library import Library, source
from benchmarks.store import RESULTS, SCHEMA_VERSION, Store, dumps
from vitcodec.evaluation.bdrate import bd_rate
from vitcodec.pretrained import registry

ROOT = Path(__file__).parent.parent


def test_python_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "README.md", "exec"), {})
    assert (tmp_path / "chelsea-50.png").stat().st_size > 10_000
    assert "(1, 768, 20, 30)" in capsys.readouterr().out


def test_documents_are_what_the_results_say() -> None:
    assert rendering.main(["--check"]) == 0, "run make docs"
    assert "<!-- generated: kodak-rates -->" in (ROOT / "README.md").read_text("utf-8")


def test_results_are_those_of_their_own_points() -> None:
    results = json.loads((RESULTS / "kodak.json").read_text("utf-8"))["results"]
    for entry in results["curves"]["vitcodec"]:
        points = [p for p in results["points"] if p["setting"] == entry["quality"]]
        assert len(points) == results["images"]
        assert entry["bpp"] == pytest.approx(sum(p["bpp"] for p in points) / len(points), abs=1e-5)
        assert entry["psnr"] == pytest.approx(sum(p["psnr"] for p in points) / len(points), abs=1e-4)
    curves = {name: curve_of(points) for name, points in results["curves"].items()}
    assert len(results["bd_rate"]) > 5
    for row in results["bd_rate"]:
        anchor, test = curves[row["anchor"]], curves["vitcodec"]
        assert row["bd_rate"] == pytest.approx(bd_rate(anchor, test, WIDE), abs=0.01)
        assert row["narrow"] == pytest.approx(bd_rate(anchor, test, qualities=NARROW), abs=0.01)


def measured(folder: Path) -> dict[str, Any]:
    """The results on Kodak as a folder's, of the weights that ship, whatever weights they were measured with."""
    document: dict[str, Any] = json.loads((RESULTS / "kodak.json").read_text("utf-8"))
    document["provenance"]["model"] = f"swin, SHA-256 {registry.find('swin').sha256}"
    folder.mkdir(exist_ok=True)
    (folder / "kodak.json").write_text(dumps(document), "utf-8")
    return document


def test_a_changed_figure_is_seen(tmp_path: Path) -> None:
    document = measured(tmp_path / "measured")
    document["results"]["bd_rate"][0]["bd_rate"] += 3
    document["results"]["curves"]["vitcodec"][3]["psnr"] += 1
    (tmp_path / "kodak.json").write_text(dumps(document), "utf-8")
    changed = Library(tmp_path)
    assert {ROOT / "docs" / "results.md", ROOT / "docs" / "kodak.svg"} <= set(rendering.stale(changed))
    page = "<!-- generated: kodak-rates -->\n<!-- end -->\n"
    assert rendering.filled(page, changed) != rendering.filled(page, Library(tmp_path / "measured"))


def test_what_was_not_measured_is_said(tmp_path: Path) -> None:
    for name, block in rendering.BLOCKS.items():
        if name != "effort-floats":  # has no figures
            assert "ot measured yet" in block(Library(tmp_path)), name
    with pytest.raises(KeyError):
        rendering.filled("<!-- generated: nothing -->\n<!-- end -->\n", Library())


def test_weights_that_do_not_ship_are_not_shown(tmp_path: Path) -> None:
    document = json.loads((RESULTS / "kodak.json").read_text("utf-8"))
    document["provenance"]["model"] = f"swin, SHA-256 {64 * '0'}"
    (tmp_path / "kodak.json").write_text(dumps(document), "utf-8")
    assert "Not measured yet" in rendering.BLOCKS["kodak-rates"](Library(tmp_path))


def test_falls_are_named() -> None:
    points = [
        {"image": "a.png", "setting": 10, "bpp": 0.1, "psnr": 30.0},
        {"image": "a.png", "setting": 20, "bpp": 0.2, "psnr": 29.9},
    ]
    assert mean_points(points)[1] == {"quality": 20, "bpp": 0.2, "psnr": 29.9}
    assert falls(points) == [
        "mean: PSNR does not rise from quality 10 to 20 (30.0000 to 29.9000)",
        "a.png: PSNR does not rise from quality 10 to 20 (30.0000 to 29.9000)",
    ]


def test_suites_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert harness.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(harness.SUITES)
    assert all(harness.description(name).endswith((".", "none.")) for name in harness.SUITES)
    assert harness.main(["no-such-suite"]) == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA card")
def test_what_needs_a_card_says_so_where_there_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert harness.main(["gpu", "--results", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "CUDA card" in error and not list(tmp_path.iterdir())


def test_results_are_stored_with_where_they_come_from(tmp_path: Path) -> None:
    command = harness.command("kodak", ["--data", "/somewhere/kodak", "--threads", "1"])
    assert command == "python -m benchmarks kodak --data kodak --threads 1"
    store = Store(tmp_path / "results", "kodak", command, [None])
    assert store.previous() == {}
    store.save({"points": [{"image": "a.png", "bpp": 0.5}]})
    document = json.loads(store.path.read_text("utf-8"))
    assert document["schema_version"] == SCHEMA_VERSION
    provenance = document["provenance"]
    assert provenance["command"] == command
    assert {"date", "machine", "versions", "model"} <= set(provenance)
    assert Library().is_current(provenance)
    assert store.previous() == {"points": [{"image": "a.png", "bpp": 0.5}]}


def test_a_suite_runs(tmp_path: Path) -> None:
    """The quickest to run; what the others measure takes minutes."""
    assert harness.main(["install", "--results", str(tmp_path)]) == 0
    assert "PyTorch" in rendering.BLOCKS["install-size"](Library(tmp_path))


def test_other_codecs_are_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.suites import perceptual

    monkeypatch.setattr(perceptual, "ANCHORS", (perceptual.WEBP,))
    command = ["perceptual", "--quick", "--anchors", "--results", str(tmp_path)]
    assert harness.main(command) == 0
    kept = Store(tmp_path, "perceptual", "", [None]).previous()
    (curve,) = kept["anchors"].values()
    assert len(curve) == 3 and all(a["ssimulacra2"] < b["ssimulacra2"] for a, b in pairwise(curve))
    gone = replace(perceptual.WEBP, format="NONE")  # neither there nor needed
    monkeypatch.setattr(perceptual, "ANCHORS", (gone,))
    assert harness.main(command) == 0
    assert Store(tmp_path, "perceptual", "", [None]).previous() == kept
    assert "Not measured yet" in rendering.BLOCKS["perceptual"](Library(tmp_path))


def test_tunings_are_compared_in_both_measures(tmp_path: Path) -> None:
    from benchmarks.suites.perceptual import _rates

    def curve(share: float) -> list[dict[str, float]]:
        points = ((0.1, 25.0, -10.0), (0.3, 30.0, 40.0), (1.0, 36.0, 75.0), (2.4, 42.0, 92.0))
        return [{"bpp": share * b, "psnr": p, "ssimulacra2": s} for b, p, s in points]

    store = Store(tmp_path, "perceptual", "python -m benchmarks perceptual", ["swin"])
    model = {"tune": "psnr", "bd_rate": _rates("A", curve(1), curve(0.8)), "provenance": store.provenance("swin")}
    assert [(r["measure"], r["range"], r["percent"]) for r in model["bd_rate"]] == [
        ("ssimulacra2", "wide", -20.0),
        ("ssimulacra2", "scores", -20.0),
        ("psnr", "wide", -20.0),
    ]
    interrupted = {"points": [], "provenance": store.provenance("swin")}
    store.save({"anchors": {"A": curve(1)}, "models": {"swin": model, "other": interrupted}})
    lines = rendering.BLOCKS["perceptual"](Library(tmp_path)).splitlines()
    assert lines[2].startswith("| `swin` | PSNR | A | -20.0 |") and "| -20.0 | -20.0 |" in lines[2]
    assert "Not measured yet with the weights that ship: `other`." in lines


def test_efforts_join_those_that_were_measured_before() -> None:
    from benchmarks.suites.effort import joined

    curve = [{"quality": q, "bpp": b, "psnr": p} for q, b, p in ((10, 0.1, 27), (50, 0.7, 36), (70, 1.6, 41))]
    smaller = [{**p, "bpp": 0.9 * p["bpp"]} for p in curve]
    results = joined({"images": ["a.png"]}, {"3": {"curve": smaller}, "1": {"curve": curve}})
    assert list(results["efforts"]) == ["1", "3"]
    assert results["efforts"]["3"]["bd_rate"] == pytest.approx(-10, abs=0.01)


def test_one_value_or_an_error() -> None:
    arguments = Namespace(effort=[3])
    assert harness.one(arguments.effort, 1, "effort") == 3
    assert harness.one(None, 1, "effort") == 1
    with pytest.raises(Exception, match="one effort"):
        harness.one([1, 2], 1, "effort")


def test_a_table_names_command_machine_and_dates() -> None:
    runs = [
        {"command": "python -m benchmarks memory", "machine": machine, "date": date}
        for machine, date in (("one", "2026-01-02"), ("other", "2026-01-02"), ("one", "2026-01-01"))
    ]
    assert source(*runs) == [
        "",
        "`python -m benchmarks memory`: one, 2026-01-01 to 2026-01-02.",
        "",
        "`python -m benchmarks memory`: other, 2026-01-02.",
    ]


def test_the_spanish_page_has_spanish_tables(tmp_path: Path) -> None:
    measured(tmp_path)
    page = "<!-- generated: kodak-rates -->\n<!-- end -->\n"
    text = rendering.filled(page, Library(tmp_path), SPANISH)
    assert "BD-rate frente a" in text and "0,1 a 2,5 bits por píxel" in text
    assert "tune=psnr" in text and text.startswith("<!-- generated: kodak-rates -->\n")
    assert "media de 24 imágenes" in str(rendering.PLOTS["kodak-es"](Library(tmp_path)))
