"""The model zoo: look-up, weight files and their folders, downloads without a network, the list, and MODEL_ZOO.md."""

import hashlib
import importlib.util
import io
import re
import subprocess
import sys
from email.message import Message
from pathlib import Path
from urllib.error import URLError

import pytest
import torch

from focalnet_d2 import model_zoo
from focalnet_d2.commands import zoo as command
from focalnet_d2.config.lazy import RecipeError, recipe_folder
from focalnet_d2.model_zoo import download, files
from focalnet_d2.model_zoo.counts import COUNTS
from focalnet_d2.model_zoo.families import FAMILIES, Family, short_result
from focalnet_d2.model_zoo.files import fetch_weights, sha256_of, weight_folders
from focalnet_d2.model_zoo.published import MULTIPLY_ADDS_TOLERANCE, PARAMETERS_TOLERANCE, published_counts
from focalnet_d2.model_zoo.weights import WEIGHT_FILES, Mirror, WeightFile, trained_weights
from tests.recipes import RECIPES, recipe_named

ROOT = Path(__file__).resolve().parents[1]
CONTENT = b"weights " * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
URLS = ("https://first.example/model.pth", "https://second.example/model.pth")


@pytest.fixture(autouse=True)
def empty_folders(tmp_path, monkeypatch):
    """A home without a cache, and no network: an address that a test does not make answers with an error."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for variable in ("XDG_CACHE_HOME", files.FOLDER_VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(download, "urlopen", Network({}))


class Network:
    """Stands for `urlopen`: answers from a dictionary and notes what it was asked for."""

    def __init__(self, answers: dict[str, bytes], announced: int | None = None):
        self.answers, self.announced, self.asked = answers, announced, []

    def __call__(self, url: str, timeout: float):
        self.asked.append(url)
        assert timeout > 0
        if url not in self.answers:
            raise URLError("no such host")
        answer = io.BytesIO(self.answers[url])
        answer.headers = Message()
        if self.announced is not None:
            answer.headers["Content-Length"] = str(self.announced)
        return answer


def weight_file(*mirrors: Mirror) -> WeightFile:
    return WeightFile("model.pth", "a model", "MIT", mirrors or tuple(map(Mirror, URLS)))


def run_python(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300)


# Looking up


def test_unknown_name_suggests_near_ones():
    with pytest.raises(RecipeError, match="dino_focalnet_huge_objects365"):
        model_zoo.get("dino_focalnet_hug_objects365")


def test_models_are_the_recipes():
    assert model_zoo.list_models() == RECIPES
    assert model_zoo.list_models("huge") == [name for name in RECIPES if "huge" in name]
    assert model_zoo.list_models("no such part") == []


def test_trained_and_starting_weights_are_told_apart():
    model = model_zoo.get("dino_focalnet_large_fl4_objects365_to_coco")
    assert model.trained_file.name == "focalnet_large_fl4_o365_finetuned_on_coco.pth"
    assert model.start_file.name == "focalnet_large_fl4_pretrained_on_o365.pth"
    assert model.recipe.model.num_classes == 80


def test_a_start_that_names_a_recipe_is_that_recipes_trained_file():
    assert model_zoo.get("dino_focalnet_mini_demo").start_file == trained_weights("dino_focalnet_mini_quickstart")


def test_shipped_model_is_built_and_loaded():
    zoo_model = model_zoo.get("dino_focalnet_mini_quickstart")
    assert zoo_model.weights == ROOT / "weights" / "dino_focalnet_mini_day.safetensors"
    assert sha256_of(zoo_model.weights) == zoo_model.trained_file.sha256
    assert zoo_model.weights.stat().st_size == zoo_model.trained_file.size
    model = zoo_model.model()
    assert not model.training
    with torch.no_grad():
        (result,) = model([{"image": torch.zeros(3, 64, 64)}])
    assert len(result["instances"]) > 0


def test_what_nobody_published_is_said_with_the_command_that_trains_it():
    message = r"No trained model was published for dino_focalnet_huge: run .*train_net\.py"
    with pytest.raises(FileNotFoundError, match=message):
        _ = model_zoo.get("dino_focalnet_huge").weights
    with pytest.raises(FileNotFoundError, match="random weights"):
        _ = model_zoo.get("dino_focalnet_mini_quickstart").start_weights


# Folders


def test_folders_are_searched_in_order(tmp_path, monkeypatch):
    named, variable = tmp_path / "named", tmp_path / "variable"
    monkeypatch.setenv(files.FOLDER_VARIABLE, str(variable))
    folders = weight_folders(named)
    assert folders == [named, variable, tmp_path / "home" / ".cache" / "focalnet_d2", ROOT / "weights"]
    for folder in reversed(folders[:3]):
        folder.mkdir(parents=True)
        (folder / "model.pth").write_bytes(CONTENT)
        assert fetch_weights(weight_file(), named) == folder / "model.pth"


def test_cache_is_where_the_user_has_it(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    assert weight_folders()[0] == tmp_path / "elsewhere" / "focalnet_d2"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert weight_folders()[0] == tmp_path / "home" / ".cache" / "focalnet_d2"


def test_missing_file_names_file_addresses_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        fetch_weights(weight_file(), tmp_path / "here")
    message = str(error.value)
    assert all(part in message for part in ("model.pth (a model)", *URLS, "no such host", files.FOLDER_VARIABLE))
    assert f"put a copy into {tmp_path / 'here'}" in message
    assert not (tmp_path / "here").exists() or not list((tmp_path / "here").iterdir())


# Downloads


def test_mirrors_are_tried_in_order_until_one_answers(tmp_path, monkeypatch):
    network = Network({URLS[1]: CONTENT})
    monkeypatch.setattr(download, "urlopen", network)
    path = fetch_weights(weight_file(), tmp_path)
    assert network.asked == list(URLS)
    assert path.read_bytes() == CONTENT
    assert fetch_weights(weight_file(), tmp_path) == path
    assert network.asked == list(URLS)  # found in the folder, nothing more asked


def test_download_goes_to_the_cache_by_default(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "urlopen", Network({URLS[0]: CONTENT}))
    assert fetch_weights(weight_file()) == tmp_path / "home" / ".cache" / "focalnet_d2" / "model.pth"


@pytest.mark.parametrize(("digest", "kept"), [(DIGEST, True), ("0" * 64, False)])
def test_download_with_another_sha256_is_not_kept(tmp_path, monkeypatch, digest, kept):
    monkeypatch.setattr(download, "urlopen", Network({URLS[0]: CONTENT}))
    file = weight_file(Mirror(URLS[0], sha256=digest))
    if kept:
        assert fetch_weights(file, tmp_path).is_file()
        return
    with pytest.raises(FileNotFoundError, match=f"sha256 {DIGEST} instead of {digest}"):
        fetch_weights(file, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_wrong_copy_does_not_hide_a_right_one(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "urlopen", Network({URLS[0]: b"an error page", URLS[1]: CONTENT}))
    file = weight_file(*(Mirror(url, sha256=DIGEST) for url in URLS))
    assert fetch_weights(file, tmp_path).read_bytes() == CONTENT


def test_broken_download_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "urlopen", Network({URLS[0]: CONTENT}, announced=len(CONTENT) + 1))
    with pytest.raises(FileNotFoundError, match=f"after {len(CONTENT)} of {len(CONTENT) + 1} bytes"):
        fetch_weights(weight_file(Mirror(URLS[0])), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_unknown_sha256_is_reported(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(download, "urlopen", Network({URLS[0]: CONTENT}))
    with caplog.at_level("INFO", logger=download.__name__):
        fetch_weights(weight_file(Mirror(URLS[0])), tmp_path)
    assert DIGEST in caplog.text


# The table of files


def test_every_trained_file_belongs_to_a_recipe_and_no_recipe_has_two():
    recipes = [file.recipe for file in WEIGHT_FILES.values()]
    assert sorted(recipes) == sorted(set(recipes))
    assert set(recipes) <= set(RECIPES)


def test_files_have_names_addresses_and_digests_of_the_right_form():
    for name, file in WEIGHT_FILES.items():
        assert re.fullmatch(r"[\w.]+\.(pth|safetensors)", name)
        assert file.mirrors or (ROOT / "weights" / name).is_file()
        for mirror in file.mirrors:
            assert re.fullmatch(rf"https://[\w./-]+/{re.escape(name)}", mirror.url)
            assert mirror.sha256 is None or re.fullmatch("[0-9a-f]{64}", mirror.sha256)


# Facts, list and page


def test_facts_of_a_recipe():
    model = model_zoo.get("mask2former_focalnet_large_fl3_ade20k_semantic")
    assert model.info.source == "arXiv:2203.11926, table 9"
    assert model.start_file == WEIGHT_FILES["focalnet_large_lrf_384.pth"]
    assert model.info.expected == {"sem_seg/mIoU": 57.3, "sem_seg/mIoU (TTA)": 58.5}
    assert model.command == (
        "python train_net.py --config-file mask2former_focalnet_large_fl3_ade20k_semantic --num-gpus 8 "
        "train.init_checkpoint=focalnet_large_lrf_384.pth"
    )
    assert model.evaluation_command.endswith("_ade20k_semantic --eval-only train.init_checkpoint=FILE")


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("dino_focalnet_mini_quickstart", "random weights"),
        ("dino_focalnet_huge", "the weights of dino_focalnet_huge_objects365"),
        ("upernet_focalnet_tiny_deeper_srf", "an ImageNet-1K classifier of this size (none is published)"),
    ],
)
def test_a_start_without_a_published_file_is_said_in_words(name, start):
    model = model_zoo.get(name)
    assert (model.start_file, model.start) == (None, start)


def test_command_of_a_recipe_that_only_evaluates_is_its_evaluation():
    model = model_zoo.get("classifier_focalnet_huge_fl3_22k_224")
    assert model.command == model.evaluation_command
    assert model.command.endswith("--eval-only train.init_checkpoint=focalnet_huge_lrf_224.pth")


def test_result_without_a_wording_is_refused_and_not_shortened():
    family = Family("A table", "*", (1, 1), results=("AP {bbox/AP}", "AP {bbox/AP}, AP50 {bbox/AP50}"))
    assert family.result({}) == "none"
    assert family.result({"bbox/AP": 50.0}) == "AP 50.0"
    assert family.result({"bbox/AP50": 60.25, "bbox/AP": 50.0}) == "AP 50.0, AP50 60.2"
    with pytest.raises(ValueError, match=r"'A table' has no wording for bbox/AP, segm/AP: add one"):
        family.result({"bbox/AP": 50.0, "segm/AP": 40.0})


def test_short_result_names_conditions_and_leaves_out_the_test_server():
    expected = model_zoo.get("dino_focalnet_huge").info.expected
    assert short_result(expected) == "box AP 64.0, box AP (TTA) 64.2"
    assert short_result({"bbox/AP": 1.0, "new/number": 2.0}) == "box AP 1.0, new/number 2.0"


def test_list_as_a_command():
    done = run_python("-m", "focalnet_d2.model_zoo", "--list", "large_fl3_4scale")
    assert done.returncode == 0, done.stderr
    header, _, *rows = done.stdout.splitlines()
    assert header.split("  ")[0] == "recipe"
    assert [row.split()[0] for row in rows] == model_zoo.list_models("large_fl3_4scale")
    (row,) = [row for row in rows if "36ep_detrex" in row]
    assert re.search(
        r"  228\.\d +92\d\.\d +box AP 58\.3 +dino_focal_large_3level_4scale_36ep\.pth \(to download\)", row
    )


def test_list_without_a_match_and_fetch_without_a_file_fail_with_a_sentence(capsys):
    assert command.main(["--list", "resnet"]) == 2
    assert command.main(["--fetch", "dino_focalnet_huge"]) == 2
    said = capsys.readouterr()
    assert "No recipe has 'resnet'" in said.err
    assert "No trained model was published" in said.err
    assert said.out == ""


def test_fetch_prints_path_and_digest(capsys):
    assert command.main(["--fetch", "mask2former_focalnet_mini_quickstart"]) == 0
    path, digest = capsys.readouterr().out.splitlines()
    assert Path(path) == ROOT / "weights" / "mask2former_focalnet_mini.safetensors"
    assert digest == f"sha256 {sha256_of(path)}"


@pytest.mark.parametrize("name", RECIPES)
def test_counts_are_the_published_ones_or_a_note_says_why_not(name):
    published, (parameters, multiply_adds) = published_counts(name), COUNTS[name]
    for computed, printed, tolerance in (
        (parameters / 1e6, published.parameters, PARAMETERS_TOLERANCE),
        (multiply_adds / 1e9, published.multiply_adds, MULTIPLY_ADDS_TOLERANCE),
    ):
        assert printed is None or published.note or computed == pytest.approx(printed, rel=tolerance)


def test_page_and_counts_are_up_to_date(monkeypatch, capsys):
    """Without counting again, for no recipe fits the pattern; `tools/make_model_zoo.py --check` alone counts."""
    monkeypatch.setattr(model_zoo, "load_recipe", recipe_named)  # loads each once for all tests
    spec = importlib.util.spec_from_file_location("make_model_zoo", ROOT / "tools" / "make_model_zoo.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert sorted(COUNTS) == RECIPES, "run python tools/make_model_zoo.py --only none"
    stale = tool.main(["--check", "--only", "none"])
    assert not stale, f"run python tools/make_model_zoo.py --only none: {capsys.readouterr().out}"


def test_page_has_a_row_for_every_recipe_and_links_to_it():
    page = (ROOT / "MODEL_ZOO.md").read_text(encoding="utf-8")
    links = re.findall(r"^\| \[(\w+)\]\(configs/(\w+)\.py\)", page, re.MULTILINE)
    assert sorted(first for first, _ in links) == RECIPES
    assert all(first == second and (recipe_folder() / f"{first}.py").is_file() for first, second in links)
    tables = [line.count("|") for line in page.splitlines() if line.startswith("| ")]
    assert set(tables) == {7, 11}  # of files, of models


def test_every_recipe_has_a_family():
    assert [name for name in RECIPES if not any(family.holds(name) for family in FAMILIES)] == []
