"""Pages in a real browser: nothing to complain about, nothing asked for, pictures drawn, no scrolling sidewards."""

import pytest
from PIL import Image

from focalnet_d2.run_reports.comparison_page import write_comparison_page
from focalnet_d2.run_reports.run_page import write_run_page
from tests.own_data_folders import write_boxes
from tests.registered_sets import forgotten_afterwards
from tests.run_reports.browser import PROGRAM, running_browser
from tests.run_reports.made_runs import found_boxes, made_run

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The page of a run and that of a comparison."""
    folder = tmp_path_factory.mktemp("pages")
    with forgotten_afterwards():
        recipe, data = "dino_focalnet_mini_quickstart", write_boxes(folder / "data")
        runs = [made_run(folder / name, recipe, data, found_boxes) for name in ("first", "second")]
        (runs[0] / "samples").mkdir()
        for name in ("first_batch.jpg", "samples/0000020.jpg", "samples/0000040.jpg"):
            Image.linear_gradient("L").resize((1990, 1000)).save(runs[0] / name)
        yield write_run_page(runs[0]), write_comparison_page(runs, folder / "comparison.html")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with running_browser(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.mark.parametrize("place", [0, 1], ids=["run", "comparison"])
@pytest.mark.parametrize(("width", "dark"), [(400, False), (1600, True)])
def test_a_page_is_whole_at_any_width(browser, pages, place, width, dark):
    browser.open(pages[place], width, dark=dark)
    assert browser.complaints() == []
    assert [address for address in browser.requested() if not address.startswith(("data:", "file:"))] == []
    assert browser.value("innerWidth") == width
    assert browser.value("document.documentElement.scrollWidth") <= width
    sizes = browser.value("[...document.images].map(image => [image.naturalWidth, image.clientWidth])")
    assert len(sizes) == (8 + 2 if place == 0 else 0)
    assert all(min(size) > 20 for size in sizes)
    charts = browser.value("[...document.querySelectorAll('svg')].map(svg => svg.getBoundingClientRect().height)")
    assert len(charts) > 4
    assert min(charts) > 100
    ground, ink = browser.value(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    assert (brightness(ground) < brightness(ink)) is dark


def brightness(color):
    return sum(map(int, color.removeprefix("rgb(").removesuffix(")").split(",")))


def test_the_pointer_shows_numbers_and_a_head_sorts(browser, pages):
    browser.open(pages[0], 1200)
    move = "new PointerEvent('pointermove', {clientX: %s, clientY: 0, bubbles: true})"
    browser.value(
        "(() => { const svg = document.querySelector('svg.lines'), box = svg.getBoundingClientRect();"
        f"svg.dispatchEvent({move % 'box.right - 12'}); }})()"
    )
    assert "total_loss" in browser.value("document.querySelector('#tip').innerText")
    assert browser.value("getComputedStyle(document.querySelector('#tip')).display") == "block"
    first = "document.querySelector('table.sorted').tBodies[0].rows[0].cells[0].textContent"
    assert browser.value(first) == "cat"
    browser.value("document.querySelectorAll('table.sorted th button')[0].click()")
    assert browser.value(first) == "traffic light"
    assert browser.complaints() == []
