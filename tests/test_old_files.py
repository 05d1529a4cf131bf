"""Files that 0.1.0 wrote: run folders resume and evaluate to the numbers of then, recipes and models are the same.

`fixtures/written_by_0_1_0/README.md` says how the files came about. Numbers are compared to a tolerance, since matrix
products round differently on other processors.
"""

import gzip
import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, ListConfig

import train_net
from focalnet_d2.checkpoint import read_checkpoint
from focalnet_d2.config.lazy import recipe_from_yaml, recipe_to_yaml
from focalnet_d2.data.generated import generate_dataset, register_generated
from focalnet_d2.engine.trainer import Trainer
from tests.recipes import RECIPES, meta_model, recipe_named
from tests.tiny_run import write_dataset

WRITTEN = Path(__file__).parent / "fixtures" / "written_by_0_1_0"
CHECKPOINT = "model_0000002.pth"
LATER_ARGUMENTS = ("in_dim", "temperature_width", "small_number_is_groups")
REPLACED = "microbatch_weights"  # an old recipe keeps its rule; those of today have one that is exact for all models


def old_json(name: str) -> dict:
    """A `.json` or `.json.gz` of the fixtures."""
    data = (WRITTEN / name).read_bytes()
    return json.loads(gzip.decompress(data) if name.endswith(".gz") else data)


OLD_RECIPES = old_json("recipes.json.gz")
OLD_STATE_DICTS = old_json("state_dicts.json.gz")


@contextmanager
def generated_data(name: str, root: Path) -> Iterator[None]:
    """The images on which the runs were made, in place of the generated data set."""
    if name == "dino":
        write_dataset(root)
    else:
        generate_dataset(root / "generated", num_train=2, num_val=2, style="day", seed=3)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DETECTRON2_DATASETS", str(root))
        register_generated()
        yield
    register_generated()


@pytest.fixture(scope="module", params=["dino", "mask2former"])
def run(request, tmp_path_factory) -> Iterator[tuple[Path, dict]]:
    """A copy of a run folder of 0.1.0, from where its `train.output_dir` leads to it, and what 0.1.0 made of it."""
    name = request.param
    root = tmp_path_factory.mktemp(name)
    folder = root / "output" / f"{name}_run"
    shutil.copytree(WRITTEN / f"{name}_run", folder)
    with pytest.MonkeyPatch.context() as patch, generated_data(name, root / "data"):
        patch.chdir(root)
        torch.set_num_threads(1)
        yield folder, old_json(f"{name}_expected.json")


@pytest.fixture(scope="module")
def resumed(run) -> dict:
    """The run, gone on to its end: numbers of every iteration, and the last checkpoint."""
    folder, _ = run
    steps = []
    write_metrics = Trainer.write_metrics

    def note(self, losses, grad_norm, data_time):
        total = sum(losses.values())
        steps.append({"iteration": self.iter + 1, "grad_norm": grad_norm, "total_loss": total, **losses})
        write_metrics(self, losses, grad_norm, data_time)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "write_metrics", note)
        train_net.main(["--config-file", str(folder / "recipe.yaml"), "--resume"])
    return {"steps": steps, "final": read_checkpoint(folder / "model_final.pth")}


def finite(results: dict) -> dict[tuple[str, str], float]:
    """The numbers of a results.json; what could not be measured is null there."""
    return {(task, name): v for task, values in results.items() for name, v in values.items() if v is not None}


def test_resuming_goes_on_with_the_losses_of_then(run, resumed):
    _, expected = run
    steps = expected["compiled"]["resumed_steps"]
    assert [step["iteration"] for step in resumed["steps"]] == [step["iteration"] for step in steps] == [3, 4]
    for step, then, tolerance in zip(resumed["steps"], steps, (1e-4, 1e-3)):  # the second follows a step of Adam
        assert step == pytest.approx(then, rel=tolerance)


@pytest.mark.parametrize("weights", ["model", "training_model"])
def test_resuming_ends_with_the_weights_of_then(run, resumed, weights):
    _, expected = run
    then = expected["compiled"]["final"][weights]
    now = resumed["final"].get(weights)
    assert (now is None) == (then is None)
    sums = {name: float(value.double().sum()) for name, value in (now or {}).items()}
    assert sums == pytest.approx({name: total for name, (_, total) in (then or {}).items()}, rel=1e-3, abs=1e-2)


def test_resuming_ends_with_the_state_of_then(run, resumed):
    _, expected = run
    then = expected["compiled"]["final"]
    assert resumed["final"]["iteration"] == then["iteration"]
    assert json.loads(json.dumps(resumed["final"]["scheduler"])) == then["scheduler"]


def test_evaluation_of_the_checkpoint_finds_what_it_found_then(run):
    folder, expected = run
    then = expected["compiled"]["eval_only"]
    arguments = [f"train.init_checkpoint={folder / CHECKPOINT}", "train.output_dir=output/evaluated"]
    train_net.main(["--config-file", str(folder / "recipe.yaml"), "--eval-only", *arguments])
    evaluated = Path("output/evaluated")
    results = json.loads((evaluated / "results.json").read_text())
    assert finite(results) == pytest.approx(finite(then["results_json"]), rel=1e-3)
    predictions = json.loads((evaluated / "coco_instances_results.json").read_text())
    assert len(predictions) == then["predictions"]["count"]
    scores = sum(prediction["score"] for prediction in predictions)
    assert scores == pytest.approx(then["predictions"]["score_sum"], rel=1e-4)


def test_recipe_in_the_checkpoint_is_that_of_its_folder(run):
    folder, _ = run
    in_checkpoint = recipe_from_yaml(read_checkpoint(folder / CHECKPOINT)["recipe"])
    in_folder = recipe_from_yaml((WRITTEN / folder.name / "recipe.yaml").read_text(encoding="utf-8"))
    assert recipe_to_yaml(in_checkpoint) == recipe_to_yaml(in_folder)
    assert "microbatch_weights" in in_checkpoint.train


def test_every_shipped_recipe_of_then_is_still_shipped():
    assert sorted(OLD_RECIPES) == sorted(OLD_STATE_DICTS)
    assert set(OLD_RECIPES) <= set(RECIPES)


@pytest.mark.parametrize("name", sorted(OLD_RECIPES))
def test_yaml_of_a_shipped_recipe_is_that_recipe_of_today(name):
    old, now = (recipe_from_yaml(text) for text in (OLD_RECIPES[name], recipe_to_yaml(recipe_named(name))))
    assert _resolved(old) == _resolved(now)


def _resolved(node: Any) -> Any:
    """Plain values of a recipe without the arguments that came later, whose defaults build what was built before."""
    if isinstance(node, DictConfig):
        return {name: _resolved(node[name]) for name in node if name not in (*LATER_ARGUMENTS, REPLACED)}
    return [_resolved(item) for item in node] if isinstance(node, ListConfig) else node


@pytest.mark.parametrize("name", sorted(OLD_STATE_DICTS))
def test_state_dict_of_a_shipped_recipe_has_the_names_shapes_and_types_of_then(name):
    model = meta_model(name)
    lines = sorted(f"{key} {tuple(value.shape)} {value.dtype}" for key, value in model.state_dict().items())
    assert {
        "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
        "entries": len(lines),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    } == OLD_STATE_DICTS[name]
