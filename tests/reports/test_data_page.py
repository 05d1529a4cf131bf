"""The page of a checked data set: complete, alone, escaped, and with labels in the colors of the class list."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from focalnet_d2.data.annotations.faults import Fault
from focalnet_d2.data.checks.report import Findings, Reading
from focalnet_d2.data.checks.statistics import PartStatistics
from focalnet_d2.data.checks.tasks import LabelTask
from focalnet_d2.data.class_map import class_map
from focalnet_d2.data.folders.dataset import FolderDataset, Part
from focalnet_d2.data.label_decoding import LabelDecoding
from focalnet_d2.data.panoptic_png import write_panoptic_ids
from focalnet_d2.reports.charts import bar_chart, bubble_chart
from focalnet_d2.reports.data_page import data_page, write_data_page
from focalnet_d2.reports.label_pictures import draw_labels

MARKUP = "<script>alert('x')</script>&\"'"
GRAY, COLOR = 100, (200, 40, 10)
CLASSES = class_map([3, 9], [MARKUP, "sky"], things=[True, False], colors=[COLOR, (0, 0, 255)])


class Page(HTMLParser):
    """Counts elements and collects what stands outside of scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.sources = [], [], []
        self.feed(text)
        self.text = " ".join(self.texts)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.texts.append(data)


def gray_image(path, size=(40, 30)):
    Image.new("RGB", size, (GRAY,) * 3).save(path)
    return str(path)


def instances_task(folder, name="a.png"):
    label = {"category_id": 3, "bbox": [10, 10, 20, 10], "segmentation": [[10, 10, 30, 10, 30, 20, 10, 20]]}
    file = gray_image(folder / name)
    return LabelTask("instances", "train.json", 1, file, {"width": 40, "height": 30}, [label], size=(30, 40))


def panoptic_task(folder):
    ids = np.zeros((30, 40), np.int32)
    ids[10:20, 10:30] = 5
    write_panoptic_ids(ids, folder / "p.png")
    segments = [{"id": 5, "category_id": 3, "iscrowd": 0, "area": 200}]
    return LabelTask("panoptic", "train.json", 1, gray_image(folder / "a.png"), {}, segments, str(folder / "p.png"))


def semantic_task(folder):
    labels = np.full((30, 40), 255, np.uint8)
    labels[10:20, 10:30] = 70  # the first class
    Image.fromarray(labels).save(folder / "s.png")
    image, file = gray_image(folder / "a.png"), str(folder / "s.png")
    decoding = LabelDecoding(((70, 0), (71, 1), (255, 255)))
    return LabelTask("semantic", "labels", "a.png", image, label_file=file, classes=(3, 9), decoding=decoding)


def findings_of(tasks, faults=()):
    part = Part("images", f"{MARKUP}.json")
    dataset = FolderDataset("x", "coco", "instances", {"train": part}, CLASSES, reason=MARKUP)
    numbers = PartStatistics()
    for task in tasks:
        numbers.add_image(task, "color", {("class", 3): 1})
    reading = Reading(dataset, {"train": numbers}, [("train", task) for task in tasks], [(MARKUP, tasks[0])])
    return Findings(f"data/{MARKUP}", [reading], list(faults))


FAULT = Fault(MARKUP, "error", f"{MARKUP}.png", f"{MARKUP} is wrong.", (MARKUP,), 7)


def test_the_page_stands_alone(tmp_path):
    path = write_data_page(findings_of([instances_task(tmp_path)], [FAULT]), tmp_path / "new" / "check.html")
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert "default-src 'none'" in text
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert "http" not in text.replace("http-equiv", "")
    assert page.tags.count("img") == 2
    assert page.tags.count("svg") == 4


def test_names_are_escaped(tmp_path):
    text = data_page(findings_of([instances_task(tmp_path, "<b>&.png")], [FAULT]))
    page = Page(text)
    assert page.tags.count("script") == 1
    assert "alert('x')" not in text
    assert page.tags.count("b") == len(re.findall("<b>", text))
    assert page.text.count(MARKUP) >= 7
    assert "<b>&.png" in page.text


def test_the_table_has_every_fault(tmp_path):
    faults = [FAULT, Fault("x-kind", "note", "b.png", "Something is odd.", ("4", "5"), 2)]
    findings = findings_of([instances_task(tmp_path)], faults)
    findings.left_out["x-kind"] = 12
    page = Page(data_page(findings))
    rows = page.tags.count("tr")
    assert rows == 1 + len(faults) + len(CLASSES)
    assert "Something is odd." in page.text
    assert "4, 5" in page.text
    assert "12 of x-kind" in page.text


def test_a_sound_set_has_no_table(tmp_path):
    page = Page(data_page(findings_of([instances_task(tmp_path)])))
    assert "Nothing is wrong." in page.text
    assert "thead" not in page.tags


@pytest.mark.parametrize(
    ("severity", "verdict"),
    [
        ("error", "A training stops at the errors."),
        ("warning", "A training runs, but what it learns or scores suffers."),
        ("note", "The data can be used."),
    ],
)
def test_the_page_says_at_once_what_to_do(severity, verdict):
    findings = Findings("/data/set", faults=[Fault("a-kind", severity, "x.json", "Wrong.", ("1",))])
    page = data_page(findings)
    assert verdict in page
    assert ("check-data DIR --fix OUT" in page) == (severity != "note")


def test_an_image_that_cannot_be_read_does_not_end_the_page(tmp_path):
    task = instances_task(tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    page = Page(data_page(findings_of([task])))
    assert "cannot be drawn" in page.text
    assert "img" not in page.tags


@pytest.mark.parametrize("make", [instances_task, panoptic_task, semantic_task])
def test_labels_are_drawn_in_the_colors_of_the_class_list(tmp_path, make):
    picture = draw_labels(make(tmp_path), CLASSES)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.jpeg)))).astype(float)
    assert pixels.shape == (30, 40, 3)
    assert (
        np.abs(pixels[14:16, 18:22] - (np.array(COLOR) + GRAY) / 2).max() < 12
    )  # half of the class, half of the image
    assert np.abs(pixels[2:5, 2:5] - GRAY).max() < 12
    assert [(entry.name, count) for entry, count in picture.classes] == [(MARKUP, 1)]


def test_large_images_are_shrunk(tmp_path):
    file = gray_image(tmp_path / "large.png", (1000, 500))
    picture = draw_labels(LabelTask("instances", "x", 1, file, {"width": 1000, "height": 500}), CLASSES)
    assert Image.open(io.BytesIO(base64.b64decode(picture.jpeg))).size == (360, 180)


@pytest.mark.parametrize("values", [[], [0], [1, 2, 3], [10**6]])
def test_bars_are_as_high_as_their_numbers(values):
    chart = bar_chart([f"<{value}>" for value in values], {"train": values}, x_title="<x>", y_title="y")
    heights = [float(height) for height in re.findall(r'<rect [^>]*height="([\d.]+)"', chart)]
    assert len(heights) == len(values)
    highest = max(values, default=0) or 1
    assert np.allclose(heights, [166 * value / highest for value in values], atol=0.1)
    assert "<x>" not in chart


def test_bubbles_stand_where_their_lengths_are():
    chart = bubble_chart({(100, 100): 4, (400, 100): 1}, color="red", x_title="width", y_title="height")
    (x, y, radius), (other_x, other_y, other_radius) = (
        map(float, found) for found in re.findall(r'cx="([\d.]+)" cy="([\d.]+)" r="([\d.]+)"', chart)
    )
    assert other_x > x
    assert other_y == y
    assert radius == pytest.approx(2 * other_radius)
