"""Settings of the group `train` that say the same in epochs and in iterations: the one that was typed last counts.

Both stand in every recipe. Epochs count where they are not 0, so whoever types iterations sets them to 0.
"""

from collections.abc import Collection

from omegaconf import DictConfig, OmegaConf

from .recipe_files import RecipeError

# In epochs -> in iterations, and what both say.
UNITS = {
    "train.epochs": ("train.max_iter", "how long the run is"),
    "train.eval_epochs": ("train.eval_period", "when it is evaluated"),
    "train.checkpoint_epochs": ("train.checkpoint_period", "when its checkpoints are saved"),
    "train.warmup_epochs": ("train.warmup", "how long the learning rate rises at first"),
}


def in_other_unit(key: str) -> str | None:
    """The setting that says the same in the other unit; None for settings that have no other."""
    pairs = {epochs: iterations for epochs, (iterations, _) in UNITS.items()}
    return (pairs | {iterations: epochs for epochs, iterations in pairs.items()}).get(key)


def choose_units(recipe: DictConfig, typed: Collection[str]) -> None:
    """Set epochs to 0, in place, where iterations were typed.

    Args:
        typed: keys of the settings that were typed together.

    Raises:
        RecipeError: both were typed.
    """
    for epochs, (iterations, what) in UNITS.items():
        number, other = OmegaConf.select(recipe, epochs), OmegaConf.select(recipe, iterations)
        if iterations not in typed or not number or other is None:
            continue
        if epochs in typed:
            raise RecipeError(f"{epochs}={number} and {iterations}={other} both say {what}: leave one of them out.")
        OmegaConf.update(recipe, epochs, 0)
