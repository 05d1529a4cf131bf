"""`train.batch`: settings with which a batch fits are chosen once, and the run is the one for which they were typed."""

import json

import pytest
import torch

from focalnet_d2.commands.train import main
from focalnet_d2.config.lazy import RecipeError, apply_overrides, load_recipe
from focalnet_d2.engine.batch_parts import fit_batch
from focalnet_d2.planning import batch_choice
from focalnet_d2.planning.batch_choice import settings_that_fit
from focalnet_d2.planning.planner import Way
from tests.recipes import recipe_named
from tests.tiny_run import RECIPE, TINY

MEMORY = "8MB"  # enough for one image with recomputed activations
CHOSEN = (
    "train.accumulation=4",
    *(f"model.{part}.use_checkpoint=True" for part in ("backbone.bottom_up", "encoder", "decoder")),
)


def run(folder, *arguments, status=0):
    assert main([RECIPE, *TINY, f"train.output_dir={folder}", "train.checkpoint_period=2", *arguments]) == status


def weights(folder):
    return torch.load(folder / "model_final.pth", weights_only=True)["model"]


def assert_same(first, second):
    first, second = weights(first), weights(second)
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.fixture(scope="module")
def planned(tiny_data, tmp_path_factory):
    """A run into little memory."""
    folder = tmp_path_factory.mktemp("output") / "planned"
    run(folder, f"train.batch={MEMORY}")
    return folder


@pytest.fixture(scope="module")
def typed(planned):
    """The same with what was chosen."""
    run(planned.parent / "typed", *CHOSEN)
    return planned.parent / "typed"


def test_a_run_has_settings_that_fit_and_its_recipe_says_so(planned, typed):
    recipe, other = (load_recipe(folder / "recipe.yaml") for folder in (planned, typed))
    assert (recipe.train.batch, recipe.train.accumulation) == (None, 4)
    assert recipe.dataloader.train.total_batch_size == 4
    assert (recipe.model, recipe.train.accumulation) == (other.model, other.train.accumulation)
    line = next(line for line in (planned / "log.txt").read_text().splitlines() if "needs" in line)
    assert f"train.batch={MEMORY}: a step of dataloader.train.total_batch_size=4 needs 0.01 of 0.01 GiB" in line
    assert line.endswith("with " + " ".join(CHOSEN))
    assert_same(planned, typed)


def test_a_run_that_goes_on_keeps_what_was_chosen(planned, typed):
    overrides = json.loads((planned / "run.json").read_text())["overrides"]
    assert [text for text in overrides if text in CHOSEN] == list(CHOSEN)
    for arguments in (["train.batch=auto"], []):
        (planned / "model_final.pth").unlink()
        (planned / "last_checkpoint").write_text("model_0000002.pth")
        run(planned, "--resume", *arguments)
        assert_same(planned, typed)
        assert load_recipe(planned / "recipe.yaml").train.batch is None
    assert "goes on with what train.batch=auto has chosen" in (planned / "log.txt").read_text()


def test_where_nothing_fits_nothing_begins(tiny_data, tmp_path, capsys):
    run(tmp_path / "run", "train.batch=4MB", status=2)
    said = capsys.readouterr().err
    assert "train.batch=4MB: nothing fits into 0.00 GiB (90% of what there is). With 1 image at once" in said
    assert not (tmp_path / "run" / "run.json").exists()


@pytest.mark.parametrize("value", ["8", "-1", "all", "0GB", "24", "1e3GB"])
def test_a_number_is_told_from_a_memory(value):
    with pytest.raises(RecipeError, match=r"train.batch is .*train.batch=24GB; .* dataloader.train.total_batch_size"):
        apply_overrides(recipe_named(RECIPE).copy(), [f"train.batch={value}"])


@pytest.fixture
def asked(monkeypatch):
    """What the planner is asked for."""
    calls = []

    def ways(recipe, budget, **options):
        calls.append((recipe.train.amp, budget, options["processes"], options["lower_precision"]))
        yield Way((), 2, 1, 0, True, None)

    monkeypatch.setattr(batch_choice, "ways_to_fit", ways)
    monkeypatch.setattr(batch_choice, "available_memory", lambda device: 10**9)
    return calls


@pytest.mark.parametrize(("overrides", "amp", "budget"), [
    (["train.batch=auto", "train.amp=auto"], "off", 225_000_000),
    (["train.batch=2GB", "train.amp=bf16"], "bf16", 1_800_000_000),
])  # fmt: skip
def test_memory_is_what_is_free_for_a_process_and_precision_stays(asked, monkeypatch, overrides, amp, budget):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    recipe = apply_overrides(recipe_named(RECIPE).copy(), ["train.device=cpu", *overrides])
    assert settings_that_fit(recipe, []) == ["train.accumulation=2"]
    assert asked == [(amp, budget, 1, False)]


def test_what_a_plan_does_not_know_is_refused(tmp_path):
    recipe = apply_overrides(recipe_named(RECIPE).copy(), ["train.batch=auto", "train.parallel=fsdp"])
    with pytest.raises(RecipeError, match="train.batch cannot plan for train.parallel=fsdp"):
        settings_that_fit(recipe, [])
    recipe.train.output_dir = str(tmp_path)
    with pytest.raises(RecipeError, match="train.batch=auto is for `focalnet-d2 train`"):
        fit_batch(recipe, None, [], resume=True)
