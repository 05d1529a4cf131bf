"""Pascal VOC and CVAT are read alike with hotcoco and without, whatever is in the files."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.data.folders import cvat, hotcoco_reading, voc
from focalnet_d2.data.folders.layout import Layout
from tests.data.folders.labelled_folders import HEIGHT, WIDTH, cvat_xml, faults, read, voc_xml, write

pytest.importorskip("hotcoco", reason="reads with hotcoco, of the extra 'fast-eval'")

EXAMPLES = settings(max_examples=40, deadline=None, derandomize=True)
LINE_ENDS = st.sampled_from(["", "\n", "\r\n\t", "\n\n"])


def side(most: int) -> st.SearchStrategy[str]:
    """Two corners of one axis as texts, from 1 on."""
    whole = st.lists(st.integers(1, most), min_size=2, max_size=2, unique=True).map(sorted)
    form = st.sampled_from(["{}", "{}.0", "{}.25", "0{}", "{}e0", "+{}", " {} "])
    return st.tuples(whole, form).map(lambda drawn: tuple(drawn[1].format(one) for one in drawn[0]))


# What hotcoco changes or refuses, in the place of a part of a file that it takes.
VOC_ODDITIES = (
    ("<name>cat", "<name> cat "),
    ("cat", "caf\u00e9"),
    ("cat", "a&amp;b"),
    ("<object>", "<!-- <object> --><object>"),
    ("<object>", "<object id='1'>"),
    ("</object>", "<part><name>dog</name></part></object>"),
    ("<object>", "<object><name>dog</name>"),
    ("<xmin>", "<xmin>x"),
    ("<xmax>", "<xmax>-"),
    ("<xmin>", "<xmin>1_"),
    ("<width>40", "<width>0"),
    ("<width>40", "<width>+40"),
    ("<width>40</width>", ""),
    ("<filename>", "<filename>other_"),
    ("<filename>a.png", "<filename>b.png"),
    ("</annotation>", "</annotation>."),
    ("</annotation>", ""),
    ("<difficult>1", "<difficult>2"),
    ("<difficult>1", "<difficult> 1"),
)
_GROUPED_BOX = '<box label="dog" group_id="1" xtl="1" ytl="2" xbr="3" ybr="4"/>'
CVAT_ODDITIES = (
    ('label="cat"', 'label="cat" group_id="1"'),
    ('label="cat"', 'label="cat" rotation="30"'),
    ('label="cat"', 'label=" cat"'),
    ('label="cat"', 'label="emu"'),
    ('label="cat"', 'label=""'),
    ("cat", "a&amp;b"),
    ("cat", "caf\u00e9"),
    ("<box", "<!-- <box --><box"),
    ("<box", _GROUPED_BOX + _GROUPED_BOX + "<box"),
    ("<box", '<polyline label="cat" points="1,2;3,4"/><box'),
    ("<box", '<ellipse label="cat" cx="9" cy="9" rx="3" ry="2"/><box'),
    ("<box", '<mask label="dog" left="1" top="1" width="2" height="1" rle="1,1"/><box'),
    ("<box", '<polygon label="dog" points="1,2;3,4"/><box'),
    ('xtl="', 'xtl="9'),
    ('xtl="', 'xtl="1_'),
    ('xtl="', 'xtl="x'),
    ('width="40"', 'width="0"'),
    ('width="40"', 'width="+40"'),
    ('name="a.png"', 'name="b.png"'),
    ('name="a.png"', ""),
    ('name="a.png"', 'name="s/../a.png"'),
    ("</annotations>", "</annotations>."),
    ("</annotations>", ""),
)


@st.composite
def voc_folder(draw) -> dict[str, str]:
    """Files of two images, each with some boxes, and an oddity in one of them or in none."""
    files = {}
    for name in ("a", "b"):
        axes = draw(st.lists(st.tuples(side(WIDTH), side(HEIGHT)), max_size=3))
        boxes = []
        for (x0, x1), (y0, y1) in axes:
            label, flag = draw(st.sampled_from(["cat", "dog"])), draw(st.sampled_from(["", " 0", " 1"]))
            boxes.append(" ".join(map(str.strip, (label, x0, y0, x1, y1))) + flag)
        files[f"{name}.xml"] = voc_xml(*boxes, filename=f"{name}.png").replace("><", f">{draw(LINE_ENDS)}<")
    files["c.xml"] = voc_xml("cat 2 2 9 9 1", "dog 3 4 5.5 6", filename="c.png")
    if old_and_new := draw(st.none() | st.sampled_from(VOC_ODDITIES)):
        name = draw(st.sampled_from(sorted(files)))
        files[name] = files[name].replace(*old_and_new, 1)
    return files


@st.composite
def cvat_file(draw) -> dict[str, str]:
    """A file of three images with boxes and polygons, and an oddity or none."""
    shapes = {}
    for name in ("a.png", "s/b.png"):
        rows = []
        for (x0, x1), (y0, y1) in draw(st.lists(st.tuples(side(WIDTH), side(HEIGHT)), max_size=3)):
            label = draw(st.sampled_from(["cat", "dog"]))
            box = f'<box label="{label}" source="manual" xtl="{x0}" ytl="{y0}" xbr="{x1}" ybr="{y1}" z_order="0"></box>'
            polygon = f'<polygon label="{label}" points="{x0},{y0};{x1},{y0};{x1},{y1}"/>'
            rows.append(draw(st.sampled_from([box, polygon])))
        shapes[name] = "".join(rows)
    shapes["c.png"] = '<box label="cat" xtl="1.25" ytl="2" xbr="10.5" ybr="12"/>'
    text = cvat_xml(shapes).replace("><", f">{draw(LINE_ENDS)}<")
    if old_and_new := draw(st.none() | st.sampled_from(CVAT_ODDITIES)):
        text = text.replace(*old_and_new, 1)
    return {"annotations.xml": text}


def contents(layout: Layout, root: Path) -> tuple[object, object]:
    """What is read and reported with hotcoco and without, or the sentence that finding or reading ends with."""

    def tried():
        try:
            content, heard = faults(layout, root)
        except ValueError as error:
            return str(error)
        return content.images, content.class_names, content.annotations, heard

    with pytest.MonkeyPatch.context() as patch:
        theirs = tried()
        patch.setattr(hotcoco_reading, "is_installed", lambda: False)
        return theirs, tried()


def assert_alike(theirs, ours):
    if isinstance(ours, str) or isinstance(theirs, str):
        assert theirs == ours
        return
    assert theirs[:2] == ours[:2]
    assert theirs[3] == ours[3]
    assert len(theirs[2]) == len(ours[2])
    for one, other in zip(theirs[2], ours[2], strict=True):
        assert {**one, "bbox": 0, "area": 0} == {**other, "bbox": 0, "area": 0}
        assert one["bbox"] == pytest.approx(other["bbox"], rel=1e-13, abs=1e-13)
        assert one["area"] == pytest.approx(other["area"], rel=1e-12)


@EXAMPLES
@given(voc_folder())
def test_voc_is_read_alike(files):
    with tempfile.TemporaryDirectory() as folder:
        root = write(Path(folder), {**files, **dict.fromkeys(("a.png", "b.png", "c.png", "d.png"))})
        assert_alike(*contents(voc.LAYOUT, root))


@EXAMPLES
@given(cvat_file())
def test_cvat_is_read_alike(files):
    with tempfile.TemporaryDirectory() as folder:
        root = write(Path(folder), {**files, **dict.fromkeys(("a.png", "s/b.png", "c.png"))})
        assert_alike(*contents(cvat.LAYOUT, root))


@pytest.mark.parametrize(
    ("layout", "files", "oddities"),
    [
        (voc, {"a.xml": voc_xml("cat 2 2 9 9 1", "dog 3 4 5.5 6", filename="a.png")}, VOC_ODDITIES),
        (cvat, {"a.xml": cvat_xml({"a.png": '<box label="cat" xtl="1.25" ytl="2" xbr="10.5" ybr="12"/>'})},
         CVAT_ODDITIES),
    ],
    ids=["voc", "cvat"],
)  # fmt: skip
def test_each_oddity_is_read_alike(tmp_path, layout, files, oddities):
    for number, old_and_new in enumerate(oddities):
        assert old_and_new[0] in files["a.xml"]
        root = write(tmp_path / str(number), {"a.xml": files["a.xml"].replace(*old_and_new, 1), "a.png": None})
        assert_alike(*contents(layout.LAYOUT, root))


@pytest.mark.parametrize(
    ("layout", "text", "reader"),
    [
        (voc, voc_xml("cat 2 2 9 9 1", "dog 3 4 5 6", filename="a.png"), "read_voc"),
        (cvat, cvat_xml({"a.png": '<polygon label="cat" points="1,2;3,4;5,9"/>'}), "read_cvat"),
    ],
    ids=["voc", "cvat"],
)
def test_what_hotcoco_can_read_it_reads(tmp_path, monkeypatch, layout, text, reader):
    answers = []
    asked = getattr(layout, reader)
    monkeypatch.setattr(layout, reader, lambda *files: answers.append(asked(*files)) or answers[-1])
    assert read(layout.LAYOUT, write(tmp_path, {"a.xml": text, "a.png": None})).annotations
    assert len(answers) == 1
    assert answers[0]
