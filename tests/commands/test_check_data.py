"""`focalnet-d2 check-data`: what it prints, its JSON document, its page and its exit statuses."""

import json

import pytest
from PIL import Image

from focalnet_d2.commands import check_data
from focalnet_d2.commands.main import main
from focalnet_d2.data.annotations.faults import SEVERITIES
from focalnet_d2.data.checks import run as run_of_checks
from focalnet_d2.data.generated.writer import generate_dataset
from tests.data.checks.planted_images import PLANTED, write_folder


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "data")


def run(capsys, folder, *arguments):
    """Exit status, standard output and error of the command in this process."""
    out = folder.parent / "out"
    status = main(["check-data", str(folder), "--workers", "1", "--out", str(out), *arguments])
    return status, *capsys.readouterr()


def test_a_sound_folder(capsys, folder):
    status, out, err = run(capsys, folder)
    assert status == 0
    assert f"{folder} as coco (instances): train: 4 images, val: 2 images" in out
    assert "0 errors, 0 warnings, 0 notes" in out
    assert err == "coco, train: 4 images\ncoco, val: 2 images\n"
    assert (folder.parent / "out" / "check.html").is_file()


def test_a_generated_set_is_sound_in_all_readings(capsys, tmp_path):
    folder = generate_dataset(tmp_path / "data", num_train=6, num_val=3, image_size=(48, 64))
    status, out, _ = run(capsys, folder, "--json")
    document = json.loads(out)
    assert [dataset["kind"] for dataset in document["datasets"]] == ["instances", "panoptic", "semantic"]
    assert {fault["severity"] for fault in document["faults"]} <= {"note"}
    assert status == 0


@pytest.mark.parametrize(
    ("planted", "status", "line"),
    [
        ("missing", 1, "error missing-image (1)"),
        ("leak", 1, "warning leaked-image (1)"),
        ("alpha", 0, "note transparent-image (1)"),
    ],
)
def test_a_fault_and_the_exit_status(capsys, folder, planted, status, line):
    PLANTED[planted].plant(folder)
    found, out, _ = run(capsys, folder)
    assert found == status
    assert line in out.splitlines()


def test_of_many_notes_of_a_kind_one_is_printed(capsys, folder):
    for path in sorted((folder / "train").iterdir()):
        with Image.open(path) as image:
            image.putalpha(99)
            image.save(path, "PNG")
    status, out, _ = run(capsys, folder)
    lines = out.splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("note transparent-image ("))
    assert status == 0
    assert lines[start] == "note transparent-image (4)"
    assert lines[start + 2 : start + 4] == ["  and 3 more files, which the page and --json list", ""]


def test_oddities_are_printed_with_their_ids(capsys, folder):
    path = next((folder / "annotations").glob("*train*.json"))
    content = json.loads(path.read_text())
    content["annotations"][1]["id"] = content["annotations"][0]["id"] = 77
    path.write_text(json.dumps(content))
    _, out, _ = run(capsys, folder)
    assert "1 repeat the id of another; they count all the same (ids 77)." in out


def test_fix_writes_a_copy_that_passes_the_check(capsys, folder):
    PLANTED["missing"].plant(folder)
    status, out, err = run(capsys, folder, "--json", "--fix", str(folder.parent / "mended"))
    assert (status, json.loads(out)["clean"]) == (1, False)
    assert f"The mended copy: {folder.parent / 'mended'} (" in err
    assert run(capsys, folder.parent / "mended")[0] == 0
    assert (folder.parent / "mended" / "changes.md").is_file()


def test_fix_into_a_folder_that_exists_is_refused_before_the_check(capsys, folder):
    status, out, err = run(capsys, folder, "--fix", str(folder.parent))
    assert (status != 0, out) == (True, "")
    assert "exists: name a folder for the mended copy that does not" in err


def test_a_page_that_cannot_be_written_is_refused_before_the_check(capsys, folder):
    (folder.parent / "out").write_text("a file")
    status, out, err = run(capsys, folder)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert "images" not in err


def test_json_is_one_document_and_nothing_else(capsys, folder):
    PLANTED["missing"].plant(folder)
    PLANTED["missing size"].plant(folder)
    status, out, _ = run(capsys, folder, "--json")
    document = json.loads(out)
    assert status == 1
    assert list(document) == ["schema_version", "root", "clean", "counts", "left_out", "datasets", "faults"]
    assert (document["schema_version"], document["root"], document["clean"]) == (1, str(folder), False)
    assert list(document["counts"]) == list(SEVERITIES)
    assert document["counts"]["error"] == sum(one["count"] for one in document["faults"] if one["severity"] == "error")
    for fault in document["faults"]:
        assert list(fault) == ["kind", "severity", "file", "message", "ids", "count"]
        assert fault["severity"] in SEVERITIES
        assert fault["message"].endswith(".")
        assert all(isinstance(one, str) for one in fault["ids"])
    (dataset,) = document["datasets"]
    assert (dataset["layout"], dataset["kind"]) == ("coco", "instances")
    assert dataset["classes"] == [{"id": 3, "name": "cat", "thing": True}, {"id": 7, "name": "dog", "thing": True}]
    assert dataset["parts"]["train"]["classes"] == {"cat": 4, "dog": 4}
    assert dataset["parts"]["train"]["unreadable"] == 1


def test_data_that_nothing_can_read_are_a_fault(capsys, folder):
    for path in (folder / "annotations").iterdir():
        path.write_text("{")
    status, out, _ = run(capsys, folder, "--json")
    document = json.loads(out)
    assert status == 1
    assert document["datasets"] == []
    assert [fault["severity"] for fault in document["faults"]] == ["error"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "There is no folder nowhere: name the folder of the data."),
        (["{folder}", "--recipe", "no_such_recipe"], "no_such_recipe"),
    ],
)
def test_wrong_use_is_one_line(capsys, folder, arguments, message):
    status = main(["check-data", *(one.format(folder=folder) for one in arguments)])
    out, err = capsys.readouterr()
    assert status == 2
    assert out == ""
    assert err.count("\n") == 1
    assert message in err


@pytest.mark.parametrize("arguments", [["--workers", "0"], ["--layout", "paper"], []])
def test_arguments_that_are_none(folder, arguments):
    with pytest.raises(SystemExit) as ended:
        main(["check-data", *([str(folder)] if arguments else []), *arguments])
    assert ended.value.code == 2


def test_the_limits_of_a_recipe_reach_the_checks(capsys, folder, monkeypatch):
    seen = []
    real = run_of_checks.check_datasets

    def check(*arguments, limits, **options):
        seen.append(limits)
        return real(*arguments, limits=limits, **options)

    monkeypatch.setattr(run_of_checks, "check_datasets", check)
    run(capsys, folder, "--recipe", "dino_focalnet_mini_balloon")
    assert [(one.queries, one.short_side, one.long_side) for one in seen] == [(60, 256, 427)]


def test_an_interruption_ends_without_a_page(capsys, folder, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_of_checks, "check_datasets", interrupted)
    status, out, err = run(capsys, folder)
    assert (status, out, err) == (130, "", "Interrupted.\n")
    assert not (folder.parent / "out" / check_data.PAGE).exists()
