"""The command that tells what a checkpoint is and writes it in another layout."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from detectron2.config import instantiate

from focalnet_d2.checkpoint import load_checkpoint, read_checkpoint, save_checkpoint
from focalnet_d2.commands import main as cli
from focalnet_d2.commands.convert import main
from focalnet_d2.config.lazy import apply_overrides, load_recipe, recipe_to_yaml
from focalnet_d2.model_zoo import inspection
from tests.recipes import meta_model, recipe_named

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT / "weights" / "dino_focalnet_mini_day.safetensors"
RECIPE = "dino_focalnet_mini_quickstart"


@pytest.fixture(autouse=True, scope="module")
def shared_models():
    """The inspection uses the models that the other tests build."""
    patch = pytest.MonkeyPatch()
    patch.setattr(inspection, "_recipe", recipe_named)
    patch.setattr(inspection, "_meta_model", meta_model)
    yield
    patch.undo()


def state_of(path: Path, recipe: str = RECIPE) -> dict[str, torch.Tensor]:
    """What a model is after it has been filled from a file, strictly."""
    model = instantiate(load_recipe(recipe).model)
    load_checkpoint(model, path, complete=True)
    return model.state_dict()


def assert_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def test_the_tool_tells_what_a_file_is():
    command = [sys.executable, str(ROOT / "tools" / "convert_checkpoint.py"), "--inspect", str(WEIGHTS)]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-2000:]
    words = " ".join(finished.stdout.split())
    for found in ("family DINO", "layout focalnet_d2", "8 rows: disk, ring, square and 5 more", f"fits {RECIPE}"):
        assert found in words


def test_there_and_back_is_bit_equal(tmp_path, capsys):
    official, ours = tmp_path / "official.pth", tmp_path / "ours.safetensors"
    assert main([str(WEIGHTS), str(official), "--to", "focalnet-dino", "--recipe", RECIPE]) == 0
    assert "the label table gets a spare last row of zeros" in capsys.readouterr().out
    assert "transformer.decoder.class_embed.2.bias" in read_checkpoint(official)["model"]
    assert main([str(official), str(ours), "--recipe", RECIPE]) == 0
    assert_equal(state_of(ours), state_of(WEIGHTS))
    settings = read_checkpoint(ours)["metadata"]["settings"]
    assert settings["position_embedding.temperature"] == 20


def test_without_a_recipe_the_first_that_fits_is_taken_and_class_names_stay(tmp_path, capsys):
    path = tmp_path / "ours.pth"
    assert cli.main(["convert", str(WEIGHTS), str(path)]) == 0
    assert f"{path}: focalnet_d2 layout" in capsys.readouterr().out
    content = read_checkpoint(path)
    assert content["metadata"]["thing_classes"] == read_checkpoint(WEIGHTS)["metadata"]["thing_classes"]
    assert_equal(content["model"], read_checkpoint(WEIGHTS)["model"] | state_of(WEIGHTS))


def test_one_code_base_becomes_the_other_through_a_recipe_of_its_own(tmp_path):
    official, recipe, detrex = tmp_path / "official.pth", tmp_path / "recipe.yaml", tmp_path / "detrex.pth"
    main([str(WEIGHTS), str(official), "--to", "FocalNet-DINO", "--recipe", RECIPE])
    changed = apply_overrides(load_recipe(RECIPE), ["model.shared_heads=False", "model.mask_padding_in_eval=False"])
    apply_overrides(changed, ["model.position_embedding.temperature=10000", "model.position_embedding.offset=-0.5"])
    recipe.write_text(recipe_to_yaml(changed), encoding="utf-8")
    command = [str(official), str(detrex), "--to", "detrex", "--recipe", str(recipe)]
    assert main(command) == 2
    assert main([*command, "--keep-settings"]) == 0
    written, wanted = read_checkpoint(detrex)["model"], state_of(WEIGHTS)
    assert torch.equal(written["class_embed.2.weight"], wanted["class_embed.0.weight"])
    assert torch.equal(written["class_embed.3.weight"], wanted["query_selection.class_embed.weight"])


def test_the_backbone_alone(tmp_path):
    path = tmp_path / "backbone.safetensors"
    assert main([str(WEIGHTS), str(path), "--backbone-only", "--to", "microsoft-classification"]) == 0
    written, whole = read_checkpoint(path)["model"], read_checkpoint(WEIGHTS)["model"]
    prefix = "backbone.bottom_up."
    wanted = {name.removeprefix(prefix): value for name, value in whole.items() if name.startswith(prefix)}
    wanted = {name: value.float() for name, value in wanted.items() if not name.startswith("norm")}
    assert_equal(written, wanted)


def test_averaged_weights_are_taken_when_asked_for(tmp_path):
    weights = state_of(WEIGHTS)
    averaged = {name: value + 1 for name, value in weights.items()}
    metadata = read_checkpoint(WEIGHTS)["metadata"]
    save_checkpoint(tmp_path / "run.pth", {"model": weights, "ema_model": averaged, "metadata": metadata})
    for options, wanted in (([], weights), (["--ema"], averaged)):
        path = tmp_path / f"out{len(options)}.safetensors"
        assert main([str(tmp_path / "run.pth"), str(path), "--recipe", RECIPE, *options]) == 0
        assert_equal(read_checkpoint(path)["model"], wanted)


def test_the_command_line_says_which_entry_and_which_values_are_taken(tmp_path, capsys):
    weights, file, out = state_of(WEIGHTS), tmp_path / "run.pth", tmp_path / "out.pth"
    weights["backbone.bottom_up.patch_embed.proj.bias"][0] = torch.nan
    torch.save({"params": weights, "net": {"x": torch.ones(1)}}, file)
    command = [str(file), str(out), "--recipe", RECIPE, "--to", "FocalNet-DINO", "--keep-settings"]
    for more, words in (([], "holds weights under params and net"), (["--entry", "params"], "holds NaN or infinite")):
        assert main([*command, *more]) == 2
        error = capsys.readouterr().err
        assert f"{file} {words}" in error
        assert error.count("\n") == 1
    assert main([*command, "--entry", "params", "--allow-nonfinite"]) == 0
    assert "loaded from its entry params, not net" in capsys.readouterr().out
    written = read_checkpoint(out)["model"]
    assert [name for name, value in written.items() if value.isnan().any()] == ["backbone.0.patch_embed.proj.bias"]


def test_a_file_is_replaced_only_when_asked_for(tmp_path, capsys):
    path = tmp_path / "out.pth"
    path.write_bytes(b"mine")
    assert main([str(WEIGHTS), str(path), "--recipe", RECIPE]) == 2
    assert "exists: --force overwrites it" in capsys.readouterr().err
    assert path.read_bytes() == b"mine"
    assert main([str(WEIGHTS), str(path), "--recipe", RECIPE, "--force"]) == 0
    assert_equal(state_of(path), state_of(WEIGHTS))


@pytest.mark.parametrize(
    ("file", "out", "options", "words"),
    [
        ("missing.pth", "out.pth", [], "missing.pth does not exist"),
        (WEIGHTS, None, [], "Give a file to write that ends in .pth or .safetensors"),
        (WEIGHTS, "out.pkl", [], "Give a file to write that ends in .pth or .safetensors"),
        (WEIGHTS, "out.pth", ["--to", "mmdetection"], "cannot be written in the layout 'mmdetection'"),
        (WEIGHTS, "out.pth", ["--to", "Microsoft classification"], "no place for the heads of a DINO"),
        (WEIGHTS, "out.pth", ["--recipe", "mask2former_focalnet_mini_coco"], "holds a DINO and not a Mask2Former"),
        (WEIGHTS, "out.pth", ["--recipe", "dino_focalnet_mini_coco"], "has 8 classes and the model"),
        (WEIGHTS, "out.pth", ["--recipe", "dino_focalnet_minni_coco"], "nearest shipped recipes"),
        (WEIGHTS, "out.pth", ["--ema", "--recipe", RECIPE], "holds no averaged weights"),
        ("page.pth", "out.pth", [], "is a web page"),
        ("other.pth", "out.pth", [], "a ResNet and not a FocalNet"),
    ],
)
def test_a_refusal_is_one_line_and_leaves_no_file(tmp_path, capsys, file, out, options, words):
    (tmp_path / "page.pth").write_text("<html>", encoding="utf-8")
    save_checkpoint(tmp_path / "other.pth", {"model": {"layer1.0.conv1.weight": torch.ones(1)}})
    before = sorted(tmp_path.iterdir())
    paths = [str(tmp_path / name) for name in (file, out) if name is not None]
    assert main([*paths, *options]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert words in printed.err
    assert printed.err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_inspection_is_a_command_of_its_own(capsys):
    assert cli.main(["inspect", str(WEIGHTS)]) == 0
    assert f"fits        {RECIPE}" in capsys.readouterr().out
