"""The report's page in a real browser: the divider, the views, the tables, the keyboard, a phone's width.

Skipped where there is no browser.
"""

from __future__ import annotations

import base64
import io
import math
import shutil

import numpy as np
import pytest
from conftest import Rounding, make_rgb, picture_of
from PIL import Image

from vitcodec.attention import AttentionMap
from vitcodec.cli.reporting import renderer
from vitcodec.evaluation.attention import AttentionView, ModelAttention
from vitcodec.evaluation.baselines import JPEG, WEBP
from vitcodec.evaluation.comparison import Comparison
from vitcodec.evaluation.engine import evaluate
from vitcodec.evaluation.measures import MEASURES
from vitcodec.evaluation.page import to_html
from vitcodec.evaluation.pictures import Scene, Shot, data_uri, scenes
from vitcodec.evaluation.results import Report, Row
from vitcodec.images import read_image
from vitcodec.tiles import Region

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed; pip install '.[dev]'")
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

FLAGS = (
    "--headless",
    "--no-sandbox",  # as root, in a container
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    chromium = next(
        (p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None
    )
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no Chromium with chromedriver is installed; apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield chrome
    chrome.quit()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A page of two images by three codecs."""
    folder = tmp_path_factory.mktemp("report")
    files = [folder / "first.png", folder / "second.png"]
    for i, file in enumerate(files):
        Image.fromarray(make_rgb(200, 180, seed=i)).save(file)
    codecs = ((Rounding(), (60, 70, 90)), (JPEG, (20, 60, 90)), (WEBP, (20, 60, 90)))
    comparison = Comparison(
        [evaluate(c, files, qualities) for c, qualities in codecs], {"command": "vitcodec eval", "date": "today"}
    )
    page = folder / "report.html"
    page.write_text(
        to_html(comparison, scenes(comparison, {c.name: renderer(c) for c, _ in codecs}, read_image, 2)), "utf-8"
    )
    return page.as_uri()


@pytest.fixture
def page(browser, report):
    """The page, freshly loaded at a desktop's size; afterwards the console must hold no error."""
    resize(browser, 1280, 900)
    prefer(browser, "light")
    browser.get(report)
    yield browser
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def resize(browser, width, height, mobile=False):
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def prefer(browser, scheme):
    """Light or dark, and no smooth scrolling, under which a click could miss."""
    features = [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def find(page, selector):
    return page.find_element(By.CSS_SELECTOR, selector)


def colour_at(page, selector, x, y):
    """What is on the screen there, (red, green, blue), x and y as parts of the element's size."""
    box = page.execute_script(
        "const b = document.querySelector(arguments[0]).getBoundingClientRect(); return [b.x, b.y, b.width, b.height]",
        selector,
    )
    shot = page.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(shot))).convert("RGB")).astype(int)
    return pixels[int(box[1] + y * box[3]), int(box[0] + x * box[2])]


def divider_at(page):
    return int(find(page, "#picture-1 .divider").get_attribute("aria-valuenow"))


def test_the_divider_follows_the_pointer(page):
    stage, divider = find(page, "#picture-1 .stage"), find(page, "#picture-1 .divider")
    page.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", stage)
    assert divider_at(page) == 50
    width = stage.size["width"]
    ActionChains(page, duration=20).move_to_element(divider).click_and_hold().move_by_offset(
        width // 4, 0
    ).release().perform()
    assert 73 <= divider_at(page) <= 77
    clip = page.execute_script("return getComputedStyle(document.querySelector('#picture-1 .pic.left')).clipPath")
    hidden = (
        1
        - float(
            page.execute_script(
                "return parseFloat(document.querySelector('#picture-1 .sheet').style.getPropertyValue('--cut'))"
            )
        )
        / width
    )
    assert clip.startswith("inset(") and 0.2 < hidden < 0.3
    ActionChains(page, duration=20).move_by_offset(-width // 2, 0).perform()  # released: it stays
    assert 73 <= divider_at(page) <= 77


def test_the_divider_shows_one_picture_on_each_side(browser, report, tmp_path):
    row = Row("a", 50, 300, 200, 9, dict.fromkeys(MEASURES, math.nan) | {"psnr": 9.0, "ssim": 0.5})
    comparison = Comparison([Report("blue", "cpu", (50,), 1, [row])], {"date": "today"})
    red, blue = (data_uri(np.full((200, 300, 3), colour, np.uint8)) for colour in ((255, 0, 0), (0, 0, 255)))
    scene = Scene("a", (300, 200), 0, 0, 300, 200, red, [Shot("blue", 0, row, blue)])
    (tmp_path / "page.html").write_text(to_html(comparison, [scene]), "utf-8")
    resize(browser, 1280, 900)
    browser.get((tmp_path / "page.html").as_uri())
    browser.execute_script("document.querySelector('.stage').scrollIntoView({block: 'center', behavior: 'instant'})")
    left, right = colour_at(browser, ".stage", 0.3, 0.8), colour_at(browser, ".stage", 0.7, 0.8)
    assert left[0] > 200 > 50 > left[2] and right[2] > 200 > 50 > right[0]
    find(browser, ".divider").send_keys(Keys.END)
    right = colour_at(browser, ".stage", 0.7, 0.8)
    assert right[0] > 200 > 50 > right[2]


def test_keyboard(page):
    divider = find(page, "#picture-1 .divider")
    page.execute_script("arguments[0].focus()", divider)
    divider.send_keys(Keys.ARROW_RIGHT * 3 + Keys.PAGE_UP)
    assert divider_at(page) == 63
    divider.send_keys(Keys.HOME)
    assert divider_at(page) == 0
    stage = find(page, "#picture-1 .stage")
    divider.send_keys("z")
    assert stage.get_attribute("data-zoom") == "1"
    divider.send_keys("]")
    assert find(page, "#picture-1 .tag.right").text.startswith("JPEG")
    divider.send_keys("x")
    assert (
        find(page, "#picture-1 .tag.left").text.startswith("JPEG")
        and find(page, "#picture-1 .tag.right").text == "Original"
    )
    divider.send_keys("n")
    assert page.execute_script("return document.activeElement.closest('.scene').id") == "picture-2"
    page.switch_to.active_element.send_keys("b")
    assert find(page, "#picture-2 .stage").get_attribute("data-mode") == "grid"
    assert all(p.is_displayed() for p in page.find_elements(By.CSS_SELECTOR, "#picture-2 .pic"))
    plot = find(page, ".plot")
    page.execute_script("arguments[0].focus()", plot)
    plot.send_keys(Keys.ARROW_DOWN, Keys.ARROW_RIGHT)
    assert "quality 70" in find(page, ".tip").text


def test_keys_work_without_focus(page):
    """On the picture in view, or the one that was used last; nothing is clicked or focused before."""
    first, second = find(page, "#picture-1 .stage"), find(page, "#picture-2 .stage")

    def mode(stage):
        return stage.get_attribute("data-mode")

    ActionChains(page).send_keys("d").perform()  # no picture is in view yet: the first is meant, and shown
    assert (mode(first), mode(second)) == ("heat", "slide")
    assert page.execute_script("return arguments[0].getBoundingClientRect().top < innerHeight", first)
    page.execute_script("arguments[0].scrollIntoView({behavior: 'instant'})", second)
    ActionChains(page).send_keys(Keys.ARROW_RIGHT * 3 + "Z").perform()
    assert int(find(page, "#picture-2 .divider").get_attribute("aria-valuenow")) == 53 and divider_at(page) == 50
    assert (first.get_attribute("data-zoom"), second.get_attribute("data-zoom")) == ("0", "1")
    ActionChains(page).send_keys("b").perform()
    assert (mode(first), mode(second)) == ("heat", "grid")
    ActionChains(page).send_keys("p").send_keys("s").perform()
    assert (mode(first), mode(second)) == ("slide", "grid")
    select = find(page, "#by-codec")
    page.execute_script("arguments[0].focus()", select)
    select.send_keys("b")  # chooses from the list
    assert mode(first) == "slide"
    page.execute_script("arguments[0].blur(); scrollTo({top: 0, behavior: 'instant'})", select)
    ActionChains(page).key_down(Keys.CONTROL).send_keys("d").key_up(Keys.CONTROL).perform()
    assert mode(first) == "slide"
    page.execute_script("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'x'}))")  # as scripts send them
    page.execute_script("addEventListener('keydown', (event) => { window.taken = event.defaultPrevented; })")
    for key, taken in ((Keys.ARROW_DOWN, False), (Keys.PAGE_DOWN, False), (Keys.SPACE, False), ("x", True)):
        ActionChains(page).send_keys(key).perform()
        assert page.execute_script("return window.taken") is taken, "what scrolls the page still does"


def test_keys_are_listed_where_there_is_a_keyboard(page):
    assert find(page, ".keys").is_displayed()
    page.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    try:
        resize(page, 390, 844, mobile=True)
        page.refresh()
        assert not find(page, ".keys").is_displayed()
        ActionChains(page).send_keys("z").perform()
        assert find(page, ".keys").is_displayed()
    finally:
        page.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


def rect(page, element):
    return page.execute_script(
        "const b = arguments[0].getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]", element
    )


@pytest.mark.parametrize("table", ["#means table", "#rows"])
def test_the_codec_column_stays_when_a_table_is_scrolled(page, table):
    resize(page, 390, 844, mobile=True)
    page.refresh()
    scroll = page.execute_script("return document.querySelector(arguments[0]).closest('.scroll')", table)
    page.execute_script("arguments[0].scrollLeft = 10000", scroll)
    assert page.execute_script("return arguments[0].scrollLeft", scroll) > 100
    codec = next(h for h in page.find_elements(By.CSS_SELECTOR, f"{table} thead th") if h.text.startswith("codec"))
    left, _, right, _ = rect(page, codec)
    assert 0 <= left < right <= 240, "leaves room for figures"
    column = page.execute_script("return arguments[0].cellIndex", codec)
    cell = find(page, f"{table} tbody tr:not([hidden]) > :nth-child({column + 1})")
    assert rect(page, cell)[0] == left and cell.text.startswith("rounding")
    page.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", cell)
    x, y = left + 20, (rect(page, cell)[1] + rect(page, cell)[3]) / 2
    assert page.execute_script(
        "return arguments[0].contains(document.elementFromPoint(arguments[1], arguments[2]))", cell, x, y
    ), "and nothing covers it"


def test_bd_rates_on_a_phone_need_no_scrolling(page):
    order = [h.text for h in page.find_elements(By.CSS_SELECTOR, ".matrix:first-of-type thead th")][:2]
    rates = {
        n: float(find(page, f".matrix tbody tr:first-child td:nth-child({i})").text.split()[0])
        for i, n in enumerate(order, 2)
    }
    assert list(rates.values()) == sorted(rates.values(), reverse=True), "the strongest first"
    resize(page, 390, 844, mobile=True)
    page.refresh()
    names = page.find_elements(By.CSS_SELECTOR, ".matrix tbody tr:first-child .anchor")
    assert [n.text for n in names[:2]] == order
    for name in names:
        assert name.is_displayed() and 0 <= rect(page, name)[0] < rect(page, name)[2] <= 390
    assert page.execute_script(
        "return [...document.querySelectorAll('#bd-rate .scroll')].every((s) => s.scrollWidth <= s.clientWidth)"
    )


def looked_at(rgb):
    """What two models attend to: one in two blocks of two heads, the second on padding too; one has no attention."""
    weights = np.zeros((2, 8, 8), np.float32)
    weights[0, 2, 3], weights[1, 7, 0] = 1, 1
    token = Region(304, 208, 16, 16)
    first = AttentionMap("a", "attention", token, Region(256, 192, 128, 128), weights, np.zeros(2), weights)
    second = AttentionMap("b", "attention", token, Region(256, 128, 128, 128), weights / 2, np.full(2, 0.5), weights)
    models = [ModelAttention("vitcodec", 0, 50, [first, second]), ModelAttention("AVIF", 1, 50, (), "It has none.")]
    return AttentionView(rgb, 310, 215, True, models)


@pytest.fixture
def compared(browser, tmp_path):
    """A page of `compare`: red everywhere, one codec blue in a place, the other equal to the original."""
    red = np.full((400, 600, 3), (200, 30, 30), np.uint8)
    spoiled = red.copy()
    spoiled[200:264, 320:384] = (30, 30, 200)
    values = dict.fromkeys(MEASURES, math.nan)
    mine, other = (Row("a.png", 50, 600, 400, 9, values | {"psnr": psnr}) for psnr in (30.0, math.inf))
    reports = [Report(n, "cpu", (50,), 1, [r]) for n, r in (("vitcodec", mine), ("AVIF", other))]
    comparison = Comparison(reports, {"date": "today"}, at_equal_size=True)
    shown = scenes(
        comparison,
        {"vitcodec": lambda row, picture: spoiled, "AVIF": lambda row, picture: red},
        lambda path: picture_of(red),
        1,
    )
    (tmp_path / "page.html").write_text(to_html(comparison, shown, attention=looked_at(red)), "utf-8")
    resize(browser, 1280, 900)
    prefer(browser, "light")
    browser.get((tmp_path / "page.html").as_uri())
    yield browser
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def is_blue(colour):
    return colour[2] > 150 > 80 > colour[0]


@pytest.mark.parametrize("phone", [False, True])
def test_compare_opens_where_codecs_differ(compared, phone):
    if phone:
        resize(compared, 390, 844, mobile=True)
        compared.refresh()
    sentence = find(compared, "header ~ .verdict")
    assert sentence.text.startswith("30.0 dB against lossless AVIF at equal size") and sentence.is_displayed()
    stage = find(compared, "#picture-1 .stage")
    assert stage.get_attribute("data-zoom") == "4"
    frame, place = "#picture-1 .pic:nth-child(2) .frame", "#picture-1 .spot"

    def middle(selector=frame):
        compared.execute_script(
            "document.querySelector(arguments[0]).scrollIntoView({block: 'center', behavior: 'instant'})", selector
        )
        return colour_at(compared, selector, 0.5, 0.5)

    assert is_blue(middle())
    find(compared, '[data-mode="slide"]').click()
    find(compared, "#picture-1 .divider").send_keys(Keys.HOME)
    assert is_blue(colour_at(compared, "#picture-1 .stage", 0.55, 0.5))
    find(compared, '[data-mode="grid"]').click()
    assert is_blue(middle())
    compared.execute_script("document.querySelector('[data-zoom=\"0\"]').click()")
    assert not is_blue(middle())  # the whole
    compared.execute_script("document.querySelector(arguments[0]).click()", place)
    assert is_blue(middle())


@pytest.mark.parametrize("width", [1280, 390, 320])
def test_attention_is_drawn_where_it_is_and_by_head(compared, width):
    resize(compared, width, 900, mobile=width < 1000)
    compared.refresh()
    assert compared.execute_script("return document.documentElement.scrollWidth") <= width
    first, second = compared.find_elements(By.CSS_SELECTOR, "#attention .maps svg")
    assert "It has none." in find(compared, "#attention").text
    # the map shows pixels from 240, 112 to 400, 336, and 8x8 tokens of the first block from 256, 192 on
    part, frame = [160, 224], [256 - 240, 192 - 112]

    def brightness(row, column):
        place = [(f + 16 * n + 8) / side for f, n, side in zip(frame, (column, row), part, strict=True)]
        return colour_at(compared, "#attention .maps svg", *place).sum()

    select = find(compared, "#attention select")
    compared.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", first)
    assert brightness(2, 3) > 500 and brightness(7, 0) > 500 > 200 > brightness(0, 0)
    text = find(compared, "#attention .figures")
    assert "largest share 50 %" in text.text
    select.send_keys(Keys.ARROW_DOWN)  # head 1, without a pointer; the pictures' keys do not take it
    assert brightness(2, 3) > 500 > 200 > brightness(7, 0) and "largest share 100 %" in text.text
    select.send_keys(Keys.ARROW_DOWN)
    assert brightness(7, 0) > 500 > 200 > brightness(2, 3)
    assert "50 % outside the picture" in compared.find_elements(By.CSS_SELECTOR, "#attention .figures")[1].text
    assert first.rect["width"] <= width / 2 and second.rect["width"] == pytest.approx(first.rect["width"], abs=1)


def test_enlarged_pictures_are_dragged(compared):
    frame = find(compared, "#picture-1 .pic:nth-child(2) .frame")
    compared.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", frame)
    ActionChains(compared, duration=20).move_to_element(frame).perform()  # hovering alone moves nothing
    assert is_blue(colour_at(compared, "#picture-1 .pic:nth-child(2) .frame", 0.5, 0.5))
    drag = ActionChains(compared, duration=20).move_to_element(frame).click_and_hold()
    drag.move_by_offset(170, 0).release().perform()
    assert not is_blue(colour_at(compared, "#picture-1 .pic:nth-child(2) .frame", 0.5, 0.5))
    ActionChains(compared).send_keys("m").perform()
    assert is_blue(colour_at(compared, "#picture-1 .pic:nth-child(2) .frame", 0.5, 0.5))


def test_the_difference_is_that_of_the_pictures(page):
    find(page, '#picture-1 [data-mode="heat"]').click()
    shares = page.execute_async_script("""
      const done = arguments[0], canvas = document.querySelector('#picture-1 .heat');
      const right = document.querySelector('#picture-1 [data-side="right"]');
      const light = () => {
        const data = canvas.getContext('2d').getImageData(0, 0, 200, 180).data;
        return data.filter((value, i) => i % 4 === 0 && value > 20).length / 36000;
      };
      setTimeout(() => {
        const some = light();
        right.value = '0';
        right.dispatchEvent(new Event('change'));
        setTimeout(() => done([some, light()]), 500);
      }, 500);
    """)
    assert shares[0] > 0.5 and shares[1] == 0  # against itself, the original differs nowhere


def test_one_to_one_is_a_pixel_for_a_pixel(page):
    find(page, '#picture-1 [data-zoom="1"]').click()
    box = page.execute_script(
        "const b = document.querySelector('#picture-1 .pic.right img').getBoundingClientRect();"
        "return [b.width, b.height]"
    )
    assert box == [200, 180]
    find(page, '#picture-1 [data-zoom="4"]').click()
    assert find(page, "#picture-1 .pic.right img").size == {"width": 800, "height": 720}


def test_tables_sort_and_filter(page):
    def column(n):
        return [
            cell.text for cell in page.find_elements(By.CSS_SELECTOR, f"#rows tbody tr:not([hidden]) > :nth-child({n})")
        ]

    assert column(2) == ["rounding"] * 2 and column(3) == ["70"] * 2
    psnrs = [float(v) for v in column(6)]
    assert psnrs == sorted(psnrs)  # the worst first
    page.execute_script(
        "for (const id of ['by-codec', 'by-quality']) {"
        "const s = document.getElementById(id); s.value = ''; s.dispatchEvent(new Event('change')); }"
    )
    assert len(column(1)) == 18
    heading = find(page, "#rows thead th:nth-child(6) button")
    page.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", heading)
    for order in (False, True):
        heading.click()
        psnrs = [float(v) for v in column(6)]
        assert psnrs == sorted(psnrs, reverse=order) and len(psnrs) == 18


def test_plots_say_values_on_hovering_and_hide_curves(page):
    circle = page.find_elements(By.CSS_SELECTOR, ".plot .curve[data-name='JPEG'] circle")[1]
    page.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", circle)
    ActionChains(page, duration=20).move_to_element(circle).perform()
    tip = find(page, ".tip").text
    assert tip.startswith("JPEG") and "quality 60" in tip and " bpp, " in tip and tip.endswith(" dB")
    find(page, '.legend [data-curve="1"]').click()
    assert not any(g.is_displayed() for g in page.find_elements(By.CSS_SELECTOR, ".curve[data-name='JPEG']"))


@pytest.mark.parametrize("width", [390, 320])
def test_a_phones_width(page, width):
    resize(page, width, 844, mobile=True)
    page.refresh()
    for mode in ("slide", "grid", "heat"):
        page.execute_script(f"document.querySelector('#picture-1 [data-mode=\"{mode}\"]').click()")
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
    assert find(page, "#picture-1 .stage").size["width"] <= width


def test_dark_and_light(page):
    def paper():
        return sum(
            map(
                int,
                page.execute_script(
                    "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3)"
                ),
            )
        )

    for scheme, dark in (("dark", True), ("light", False)):
        prefer(page, scheme)
        assert (paper() < 200) == dark
    find(page, "#theme").click()
    assert paper() < 200
