"""What a recipe says about itself: `_about = RecipeInfo(...)`, which is data and no key of the recipe."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .recipe_files import RecipeError, find_recipe, parse_recipe

VARIABLE = "_about"
ANY_FILE = "FILE"  # what commands show where the name of the weight file is the reader's


@dataclass(frozen=True, kw_only=True)
class WeightRef:
    """The weights that training starts from; exactly one of the three is given.

    Attributes:
        file: name of a published file.
        recipe: name of the recipe whose trained model it is.
        unpublished: description of a file that nobody has published.

    Raises:
        ValueError: none or several are given.
    """

    file: str | None = None
    recipe: str | None = None
    unpublished: str | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.file, self.recipe, self.unpublished) if value is not None]
        if len(given) != 1:
            raise ValueError(f"A WeightRef needs exactly one of file, recipe and unpublished, not {len(given)}.")

    def __str__(self) -> str:
        return self.file or self.unpublished or f"the weights of {self.recipe}"


@dataclass(frozen=True, kw_only=True)
class RecipeInfo:
    """Facts about a recipe that do not change what it computes.

    Attributes:
        source: where its settings and results are published.
        start: what training starts from; None for random weights.
        expected: published results in percent, by the metric's name as evaluation prints it (`bbox/AP`). Parentheses
            behind the name say how the result was not taken as this recipe's evaluation does: `(TTA)` with
            `train.test_time_augmentation.enabled=True`, `(test-dev)` by COCO's test server.
        num_gpus: GPUs of each machine in the command that trains it.
        num_machines: machines in that command.
        settings: overrides that whoever trains it has to fill in.
        evaluation_only: whether the recipe only scores the weights in `start`.
    """

    source: str = ""
    start: WeightRef | None = None
    expected: Mapping[str, float] = field(default_factory=dict)
    num_gpus: int = 1
    num_machines: int = 1
    settings: str = ""
    evaluation_only: bool = False

    def __post_init__(self) -> None:
        kinds = dict(source=str, start=WeightRef | None, expected=Mapping, num_gpus=int, num_machines=int, settings=str)
        for name, kind in {**kinds, "evaluation_only": bool}.items():
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"{name} is {getattr(self, name)!r}, and must be a {getattr(kind, '__name__', kind)}")

    def train_arguments(self) -> list[str]:
        """What follows the name of the recipe in the command that trains it."""
        arguments = [f"--num-gpus {self.num_gpus}"] if self.num_gpus > 1 else []
        if self.num_machines > 1:
            arguments.append(f"--num-machines {self.num_machines} --machine-rank R --dist-url tcp://HOST:PORT")
        if self.settings:
            arguments.append(self.settings)
        if self.start is not None:
            arguments.append(f"train.init_checkpoint={self.start.file or ANY_FILE}")
        return arguments


def read_recipe_info(path_or_name: str | Path) -> RecipeInfo:
    """What a recipe says about itself, nothing if it has no `_about`; the file is parsed and not run.

    Raises:
        RecipeError: there is no such recipe, or its `_about` is not written with literals only.
    """
    path = find_recipe(path_or_name)
    value = _assigned_value(path) if path.suffix == ".py" else None
    if value is None:
        return RecipeInfo()
    try:
        return _from_call(value, RecipeInfo)
    except (TypeError, ValueError) as error:
        raise RecipeError(
            f"Line {value.lineno} of recipe {path} cannot be read: write {VARIABLE} = RecipeInfo(...) with literal "
            f"arguments by keyword ({str(error).rstrip('.')})."
        ) from error


def _assigned_value(path: Path) -> ast.expr | None:
    """The expression that the file assigns to `_about` at its top level."""
    for node in parse_recipe(path).body:
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        if isinstance(node, ast.Assign | ast.AnnAssign) and VARIABLE in map(ast.unparse, targets):
            return node.value
    return None


def _from_call(node: ast.expr, expected: type) -> Any:
    """What a call of `RecipeInfo` or `WeightRef` gives whose arguments are literals or such calls."""
    if not isinstance(node, ast.Call) or ast.unparse(node.func) != expected.__name__:
        raise TypeError(f"{ast.unparse(node)} is not a call of {expected.__name__}")
    names = [keyword.arg for keyword in node.keywords]
    if node.args or None in names or len(set(names)) < len(names):
        raise TypeError(f"{expected.__name__} takes each argument once and by its name")
    return expected(**{str(keyword.arg): _argument(keyword.value) for keyword in node.keywords})


def _argument(node: ast.expr) -> Any:
    if isinstance(node, ast.Call):
        return _from_call(node, WeightRef)
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise TypeError(f"{ast.unparse(node)} is not a literal") from error
