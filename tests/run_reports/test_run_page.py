"""The report of a run: all sections and pictures, the numbers of its files, and whatever is missing or damaged."""

import base64
import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from focalnet_d2.commands.main import main
from focalnet_d2.engine.environment import note_end, note_start
from focalnet_d2.run_reports.run_files import read_run
from focalnet_d2.run_reports.run_page import report_finished_run, run_page, write_run_page
from tests.own_data_folders import write_boxes
from tests.registered_sets import forgotten_afterwards
from tests.run_reports.made_runs import ITERATIONS, found_boxes, made_run
from tests.run_reports.pages import Page

pytest.importorskip("hotcoco", reason="hotcoco counts kinds of errors")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("boxes")
    with forgotten_afterwards():
        yield made_run(folder / "mine", "dino_focalnet_mini_quickstart", write_boxes(folder / "data"), found_boxes)


def page_of(folder):
    return Page(run_page(read_run(folder)))


def test_the_page_has_every_section_and_asks_for_nothing_else(run):
    text = run_page(read_run(run))
    page = Page(text)
    names = ["curves", "results", "classes", "boxes", "images", "settings", "data", "environment"]
    assert list(page.sections) == ["", *names]
    assert page.links == [f"#{name}" for name in page.sections if name]
    assert len(page.sources) == 2 * 4  # truth and prediction of the four images
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert "cannot be" not in text
    assert re.findall(r"(?:src|href)=(?!['\"](?:data:|#))", text) == []
    assert not re.search(r"https?:", text)
    assert len(text) < 2**20


def test_the_first_batch_and_the_last_samples_are_shown(run, tmp_path):
    shutil.copytree(run, tmp_path / "mine")
    (tmp_path / "mine" / "samples").mkdir()
    files = ["first_batch.jpg", "samples/0000020.jpg", "samples/0000040.jpg"]
    for number, name in enumerate(files):
        Image.new("L", (20, 10), 100 * number).save(tmp_path / "mine" / name)
    page = page_of(tmp_path / "mine")
    assert "beside their truth" in page.sections["pictures"]
    shown = [base64.b64decode(source.partition(",")[2]) for source in page.sources[:2]]
    assert shown == [(tmp_path / "mine" / name).read_bytes() for name in (files[0], files[2])]


def test_numbers_are_those_of_the_results(run):
    page, results = page_of(run), json.loads((run / "results.json").read_text())
    for name, value in results["bbox"].items():
        if "-" not in name:
            shown = "–" if value is None else f"{value:.2f}"
            assert page.row("results", name)[1:] == [shown, shown], name
    for name in ("cat", "traffic light"):
        assert page.row("classes", name)[1] == f"{results['bbox'][f'AP-{name}']:.2f}"
    assert f"{results['bbox']['AP']:.2f}best bbox/AP" in page.sections[""]


def test_errors_are_those_that_were_planted(run):
    page = page_of(run)
    assert page.row("boxes", "cat")[1:] == ["4", "", ""]
    assert page.row("boxes", "traffic light")[1:] == ["4", "", ""]  # taken for cats
    assert page.row("boxes", "Cls: right place, wrong class")[1] == "4"
    assert page.row("boxes", "Miss: an object that nothing comes near")[1] == "0"
    assert "1 right, 1 wrong, 1 missed" in page.sections["images"]


def test_typed_settings_stand_first_and_the_recipe_follows(run):
    page = page_of(run)
    rows = {row[0]: row[1:] for row in page.tables["settings"][0]}
    assert rows["optimizer.lr"] == ["0.0004", "0.0003", "typed"]
    assert rows["model.num_classes"][-1] == "from the data"
    assert "train.output_dir" not in rows
    assert not [key for key in rows if key.startswith("data.found")]


def test_curves_have_every_logged_number_and_mark_the_best(run):
    text = run_page(read_run(run))
    totals = re.findall(r'data-name="total_loss" data-values="([^"]*)"', text)
    assert [pair.split(":") for pair in totals[0].split()][:2] == [["2", "3"], ["4", "1.8"]]
    assert len(totals[0].split()) == ITERATIONS // 2
    assert 'data-name="validation/total_loss" data-values="20:2.5"' in text
    assert 'data-name="loss_class_0"' not in text  # of another layer
    assert text.count('class="mark"') == text.count('<svg class="chart lines"') - 2  # not in those over scores


def test_the_environment_of_every_start_is_shown(run, tmp_path):
    folder = copied(run, tmp_path)
    data = {"train": {"images": 4, "objects": 8, "classes": {"cat": 4, "traffic light": 4}}, "test": {"images": 4}}
    for iteration in (0, 20):
        note_start(folder, iteration=iteration, device=torch.device("cpu"), data=data)
    note_end(folder, iteration=ITERATIONS)
    page = page_of(folder)
    assert page.row("data", "to learn from") == ["to learn from", "4", "8", "2"]
    assert page.row("data", "to score") == ["to score", "4", "–", "–"]
    assert page.row("environment", "after iterations") == ["after iterations", "0", "20"]
    assert page.row("environment", "torch")[1] == torch.__version__.split("+")[0]
    assert page.row("classes", "cat")[1] == "4"
    note_start(folder, iteration=0, device=torch.device("cpu"), data=data)  # a new run
    assert len(json.loads((folder / "environment.json").read_text())["starts"]) == 1


def copied(run, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in run.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.mark.parametrize("name", ["run.json", "recipe.yaml", "metrics.json", "results.json", "best.json"])
@pytest.mark.parametrize("content", [None, b"", b"\xff\x00", b'{"bbox": 3, "iteration": {}}'])
def test_a_missing_or_damaged_file_leaves_the_rest(run, tmp_path, name, content):
    folder = copied(run, tmp_path)
    (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
    page = page_of(folder)
    assert {"curves", "results", "settings", "environment"} <= set(page.sections)
    if name == "run.json" and content == b"":
        assert "run.json cannot be used" in page.sections[""]
    if name != "metrics.json":
        assert f"{ITERATIONS}" in page.sections[""]


def test_the_page_of_a_folder_below_home_lies_in_it(run, tmp_path, monkeypatch):
    folder = copied(run, tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert write_run_page(f"~/{folder.name}") == folder / "report.html"
    assert (folder / "report.html").is_file()


def test_data_that_are_gone_leave_a_sentence(run, tmp_path):
    folder = copied(run, tmp_path)
    recipe = (folder / "recipe.yaml").read_text()
    root = re.search(r"root: (\S+/data)\b", recipe).group(1)
    (folder / "recipe.yaml").write_text(recipe.replace(root, f"{tmp_path}/gone"))
    page = page_of(folder)
    assert "cannot be made" in page.sections["errors"]
    assert f"{tmp_path}/gone" in page.sections["errors"]
    assert page.row("classes", "cat")


def test_a_run_that_goes_on_says_how_far_it_is(run, tmp_path):
    folder = copied(run, tmp_path)
    lines = (folder / "metrics.json").read_text().splitlines()[:5]
    (folder / "metrics.json").write_text("\n".join(lines))
    for name in ("results.json", "best.json"):
        (folder / name).unlink()
    page = page_of(folder)
    assert "The training is not complete: 10 of 40 iterations" in page.sections[""]
    assert "There is no evaluation yet" in page.sections["results"]


def test_a_run_that_ended_early_is_complete(run, tmp_path):
    folder = copied(run, tmp_path)
    lines = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()[:10]]
    (folder / "metrics.json").write_text(
        "\n".join(map(json.dumps, [*lines[:9], {**lines[9], "stopped_early_after": 20}]))
    )
    assert "The training ended early, after 20 iterations" in page_of(folder).sections[""]


def test_the_command_writes_the_page_and_refuses_other_folders(run, tmp_path, capsys):
    folder = copied(run, tmp_path)
    assert main(["report", str(folder)]) == 0
    assert "report.html" in capsys.readouterr().out
    assert (folder / "report.html").read_text() == run_page(read_run(folder))
    (tmp_path / "empty").mkdir()
    assert main(["report", str(tmp_path / "empty")]) == 2
    assert "is no folder of a run" in capsys.readouterr().err


def test_names_from_files_are_escaped(run, tmp_path):
    folder = copied(run, tmp_path)
    markup = "<script>alert('x')</script>"
    content = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**content, "recipe": markup, "overrides": [f"{markup}={markup}"]}))
    (folder / "results.json").write_text(json.dumps({markup: {f"AP-{markup}": 1.0, markup: 2.0}}))
    (folder / "metrics.json").write_text(json.dumps({"iteration": 1, f"loss_{markup}": 1.0, f"bbox/{markup}": 2.0}))
    text = run_page(read_run(folder))
    assert "<script>alert" not in text
    assert Page(text).row("classes", markup)


def test_a_report_that_fails_at_the_end_of_a_run_is_one_warning(tmp_path, caplog):
    report_finished_run(tmp_path)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"try `focalnet-d2 report {tmp_path}`" in caplog.text


def test_the_page_of_a_run_is_written_whole(run, tmp_path):
    path = write_run_page(run, tmp_path / "deeper" / "page.html")
    assert path.read_text().endswith("</html>\n")
    assert np.array_equal(list(path.parent.iterdir()), [path])
