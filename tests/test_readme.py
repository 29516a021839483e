"""The README's Python example runs as written, and its figures are those of the results in the repository."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from vitcodec.evaluation.bdrate import bd_rate

ROOT = Path(__file__).parent.parent


def test_python_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "README.md", "exec"), {})
    assert (tmp_path / "chelsea-50.png").stat().st_size > 10_000
    assert "(1, 20, 30, 3)" in capsys.readouterr().out.replace("torch.Size([", "(").replace("])", ")")


def test_figures_are_those_of_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    sys.modules.pop("readme", None)
    import readme

    results = json.loads((ROOT / "docs" / "kodak.json").read_text("utf-8"))
    for path, text in readme.files(results).items():
        assert path.read_text("utf-8") == text, f"{path.name} is stale; run python benchmarks/readme.py"
    # and the results are those of their own points
    for entry in results["mean"]:
        points = [p for p in results["points"] if p["setting"] == entry["quality"]]
        assert len(points) == results["images"]
        assert entry["bpp"] == pytest.approx(sum(p["bpp"] for p in points) / len(points), abs=1e-5)
        assert entry["psnr"] == pytest.approx(sum(p["psnr"] for p in points) / len(points), abs=1e-4)
    curves = {name: [(p["bpp"], p["psnr"]) for p in points] for name, points in results["curves"].items()}
    for row in results["bd_rate"]:
        if row["anchor"] in curves:
            assert row["bd_rate"] == pytest.approx(
                bd_rate(curves[row["anchor"]], curves["vitcodec"], (0.1, 2.5)), abs=0.01
            )


def test_a_changed_figure_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import readme

    results = json.loads((ROOT / "docs" / "kodak.json").read_text("utf-8"))
    results["bd_rate"][0]["bd_rate"] += 3
    results["mean"][3]["psnr"] += 1
    results["curves"]["vitcodec"][3]["psnr"] += 1
    assert all(path.read_text("utf-8") != text for path, text in readme.files(results).items())
