"""The pages in Spanish: they follow the English ones, their links and figures are right, and so are their numbers."""

from __future__ import annotations

import math
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from benchmarks import drawing
from benchmarks.language import ENGLISH, SPACE, SPANISH, Language
from benchmarks.rendering import anatomy, diagram, inside
from benchmarks.rendering.library import Library
from benchmarks.rendering.spanish import translated
from vitcodec.pretrained import registry
from vitcodec.pretrained.config import FLOAT_TRANSFORM
from vitcodec.subbands import Subbands

ROOT = Path(__file__).parent.parent
ARCHITECTURE = ROOT / "docs" / "arquitectura.md"
PAGES = ROOT / "README.es.md", ARCHITECTURE
LINK = re.compile(r"\]\(([^)\s]+)\)")
# of README.md, and what README.es.md has in its place
INSTEAD = {"README.es.md": "README.md", "docs/kodak.svg": "docs/kodak-es.svg"}


def text(page: Path) -> str:
    return page.read_text("utf-8")


def code_blocks(page: Path) -> list[str]:
    """Lines of code, without comments and empty lines."""
    outside = re.sub(r"```.*?```", "", text(page), flags=re.DOTALL)
    lines = [line[4:] for line in outside.splitlines() if line.startswith("    ")]
    for block in re.findall(r"```python\n(.*?)```", text(page), re.DOTALL):
        lines += block.splitlines()
    return [code for line in lines if (code := re.sub(r"\s+# .*", "", line).rstrip())]


def code_in_prose(page: Path) -> set[str]:
    """What stands between backticks, generated blocks and blocks of code left out."""
    own = re.sub(r"<!-- generated: .*?<!-- end -->|```.*?```", "", text(page), flags=re.DOTALL)
    own = "\n".join(line for line in own.splitlines() if not line.startswith("    "))
    return {" ".join(found.split()) for found in re.findall(r"`([^`]+)`", own)}


def test_the_readme_has_the_commands_of_the_english_one() -> None:
    english, spanish = (code_blocks(ROOT / name) for name in ("README.md", "README.es.md"))
    assert len(english) > 15
    assert spanish == english


def test_the_readme_names_all_that_the_english_one_names() -> None:
    english, spanish = (code_in_prose(ROOT / name) for name in ("README.md", "README.es.md"))
    assert {"encode", "--salvage", "--effort 6"} <= english
    assert spanish == english, "README.es.md says what README.md says: change both"


def test_the_readme_leads_to_what_the_english_one_leads_to() -> None:
    english, spanish = (set(LINK.findall(text(ROOT / name))) for name in ("README.md", "README.es.md"))
    assert {INSTEAD.get(link, link) for link in english} <= spanish
    blocks = [re.findall(r"<!-- generated: ([\w-]+)", text(ROOT / name)) for name in ("README.md", "README.es.md")]
    assert blocks[0] == blocks[1]


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub makes them, and those that are written out."""
    outside = re.sub(r"```.*?```", "", text(page), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", outside, re.MULTILINE)
    own = {re.sub(r"[^\w\- ]", "", re.sub(r"[`*\\]", "", h).lower()).replace(" ", "-") for h in headings}
    return own | set(re.findall(r'<a id="([^"]+)"', outside))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(text(page)) if "://" not in link]
    assert len(links) > 20
    for link in links:
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_named_code_is_where_the_link_leads() -> None:
    found = re.findall(r"\[`(\w+)`\]\(\.\./(vitcodec/[\w/.]+)\)", text(ARCHITECTURE))
    assert len(found) > 20
    for name, path in found:
        assert re.search(rf"^\s*(class|def) {name}\b", text(ROOT / path), re.MULTILINE), f"{name} is not in {path}"


def test_layers_that_are_named_exist() -> None:
    names = [n for n in re.findall(r"`(analysis\.[\w.]+|\w+\.py)`", text(ARCHITECTURE)) if not n.endswith(".py")]
    assert len(names) >= 2
    for name in names:
        assert anatomy.anatomy().of(name)


def test_the_page_has_figures_of_the_weights_that_ship() -> None:
    """Parameters are counted in the weights' own file, the neurons of one layer by hand."""
    model, config = anatomy.anatomy(), registry.find(registry.DEFAULT_MODEL)
    with safe_open(config.folder / FLOAT_TRANSFORM, "np") as weights:
        sizes = {key: math.prod(weights.get_slice(key).get_shape()) for key in weights.keys()}  # noqa: SIM118
    count = sum(size for key, size in sizes.items() if key.startswith("analysis."))
    assert model("parameters analysis") == count
    assert SPANISH.number(count) in text(ARCHITECTURE)
    assert model("parameters") == config.parameters
    assert (
        model("width analysis.inputs.2") * model("weights analysis.inputs.2")
        == sizes["analysis.inputs.2.weight"] + (sizes["analysis.inputs.2.bias"])
    )
    assert "{{" not in text(ARCHITECTURE)


@pytest.mark.parametrize(
    "expression", ["nothing", "parameters analysis.inputs.77", "rows", "setting transform.nothing"]
)
def test_figures_that_do_not_exist_are_errors(expression: str) -> None:
    with pytest.raises(KeyError):
        anatomy.with_figures(f"There are {{{{{expression}}}}}.", ENGLISH)


def test_figures_are_written_as_the_page_asks() -> None:
    page = "{{cost decode | 1}} {{step 1}} {{output\nanalysis.inputs.2}} {{values}}"
    assert anatomy.with_figures(page, SPANISH).endswith(f" 200 32x32x256 786{SPACE}432")
    assert re.match(r"\d+\.\d 200 ", anatomy.with_figures(page, ENGLISH))


def test_stages_and_networks_add_up() -> None:
    """No layer is left out of a table."""
    model = anatomy.anatomy()
    rows = [line.split("|") for line in anatomy.stages(Library(), ENGLISH)[2:]]
    neurons, parameters = (sum(int(row[k].replace(",", "")) for row in rows) for k in (6, 7))
    assert (neurons, parameters) == (model.neurons("analysis"), model.parameters("analysis"))
    rows = [line.split("|") for line in anatomy.networks(Library(), ENGLISH)[2:]]
    assert sum(int(row[5].replace(",", "")) for row in rows) + model.gains() == model.parameters()


def test_blocks_in_two_languages_say_what_was_not_measured(tmp_path: Path) -> None:
    for block in inside.BLOCKS.values():
        english, spanish = ("\n".join(block(Library(tmp_path), language)) for language in (ENGLISH, SPANISH))
        assert "Not measured yet" in english and "Sin medir todavía" in spanish


def test_numbers_in_spanish() -> None:
    numbers = [SPANISH.number(n) for n in (7, 9999, 10000, 1234567, -12345)]
    assert numbers == ["7", "9999", f"10{SPACE}000", f"1{SPACE}234{SPACE}567", f"-12{SPACE}345"]
    assert (SPANISH.number(1285.44), SPANISH.number(0.5, 1)) == ("1285,44", "0,5")
    assert (ENGLISH.number(10000), ENGLISH.number(1285.44)) == ("10,000", "1,285.44")


def test_translated_blocks() -> None:
    block = "| 3 (default) | 12,345 | 0.43 | -60 % | VTM 9.1 | PyTorch 2.13.0 for CPUs |"
    assert translated(block) == f"| 3 (por defecto) | 12{SPACE}345 | 0,43 | -60 % | VTM 9.1 | PyTorch 2.13.0 para CPU |"
    origin = "`speed --effort 0.5`: AMD, 2 cores, 2026-01-05 06:07 UTC to 2026-01-06 16:01 UTC."
    assert translated(origin) == origin.replace("cores", "núcleos").replace(" to ", " a ")


def test_figures_are_there_and_small() -> None:
    found = [ROOT / "docs" / name for name in re.findall(r"\]\((inside-[\w-]+\.webp)\)", text(ARCHITECTURE))]
    assert len(found) == 5
    sizes = [path.stat().st_size for path in found]
    assert max(sizes) < 150_000 and sum(sizes) < 500_000
    assert {path.name for path in found} <= set(LINK.findall(text(ROOT / "docs" / "architecture.md")))
    for path in found:
        with Image.open(path) as image:
            assert image.width <= 1040


@pytest.mark.parametrize("language", [ENGLISH, SPANISH], ids=["en", "es"])
def test_the_diagram(language: Language) -> None:
    drawn = ElementTree.fromstring(diagram.svg(language))
    words = {element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert language.say("analysis", "análisis") in words and language.say("fixed arithmetic", "cálculo fijo") in words
    for box in diagram.boxes(language):
        assert box.x + diagram.BOX <= diagram.WIDTH and box.y + box.height <= diagram.HEIGHT
        assert max(map(len, (*box.lines, box.note))) <= 18  # letters that fit


def test_smooth_maps_are_chosen_and_unlike_each_other() -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32] / 5.0
    maps = np.stack([rng.standard_normal((32, 32)), np.sin(x), 3 - 2 * np.sin(x), np.cos(y)], -1)
    chosen = drawing.coherent(maps, 3)
    assert set(chosen[:2]) in ({1, 3}, {2, 3}) and chosen[2] == 0


def test_subbands_as_a_square() -> None:
    bands = Subbands(
        np.full((1, 4, 4, 3), 1.0), tuple(np.ones((1, 64 >> level, 64 >> level, 9)) for level in range(1, 5))
    )
    square = drawing.subband_square(bands)
    assert square.shape == (64, 64, 3) and square.dtype == np.uint8
    assert (square[32, :] == 255).all() and (square[:, 32] == 255).all()  # where level 1 begins


def test_figures_of_a_row_have_gaps_that_show_the_page() -> None:
    gray, colour = np.zeros((8, 8), np.uint8), np.full((8, 8, 3), 200, np.uint8)
    image = drawing.figure([[gray, colour], [gray]])
    assert image.size == (16 + drawing.GAP, 16 + drawing.GAP) and image.mode == "RGBA"
    assert image.getpixel((9, 2)) == (0, 0, 0, 0) and image.getpixel((13, 2)) == (200, 200, 200, 255)
    heat = drawing.heat(np.array([[0.0, 4.0]]))
    assert heat[0, 0].max() < 10 and heat[0, 1].min() > 150
