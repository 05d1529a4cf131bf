"""What check-data calls an error stops a run, and what it calls a warning does not: both go by one set of rules."""

from pathlib import Path

import pytest

from focalnet_d2.config.building import build
from focalnet_d2.engine.own_data import apply_settings
from focalnet_d2.engine.preflight import read_data
from tests.data.checks.planted import INSTANCES, PANOPTIC, SEMANTIC, Planted
from tests.recipes import recipe_named
from tests.registered_sets import forgotten_afterwards

BOXES, MASKS = "dino_focalnet_mini_quickstart", "mask2former_focalnet_mini_nuclei"
PANOPTIC_RECIPE, SEMANTIC_RECIPE = "mask2former_focalnet_mini_quickstart", "upernet_focalnet_mini_ade20k"
ALL_IN_TRAINING = ("data.val_share=0.25", "data.split_seed=1")  # but for image 3, in which no label is at fault
OF_MASKS = ("polygon", "run-lengths", "mask")
CASES = {
    **{
        name: (MASKS if planted.kind.startswith(OF_MASKS) else BOXES, planted)
        for name, planted in INSTANCES.items()
        if planted.kind != "mask-missing"  # which boxes are learned without, and masks are not
    },
    **{name: (PANOPTIC_RECIPE, planted) for name, planted in PANOPTIC.items()},
    **{name: (SEMANTIC_RECIPE, planted) for name, planted in SEMANTIC.items()},
}


@pytest.fixture(autouse=True)
def registered():
    """What a test registers is gone after it."""
    with forgotten_afterwards():
        yield


def run(recipe_name: str, root: Path) -> None:
    """The start of a run, and one look at every image to learn from."""
    recipe = apply_settings(recipe_named(recipe_name).copy(), [f"data={root}", *ALL_IN_TRAINING])
    data = read_data(recipe, to_train=True)
    mapper = build(recipe.dataloader.train.mapper, "mapper")
    for index in range(len(data.train)):
        mapper(data.train[index])


@pytest.mark.parametrize("name", CASES)
def test_an_error_stops_a_run_and_a_warning_does_not(tmp_path, name):
    recipe, planted = CASES[name]
    planted: Planted
    planted.write(tmp_path / "set")
    if planted.severity == "error":
        with pytest.raises((ValueError, FileNotFoundError)) as raised:
            run(recipe, tmp_path / "set")
        assert str(tmp_path / "set") in str(raised.value) or "data set data_" in str(raised.value)
    else:
        run(recipe, tmp_path / "set")
