"""Where recipes stand: the shipped ones by their name, others by their path. Standard library only."""

import ast
import difflib
import os
from pathlib import Path

SUFFIXES = (".py", ".yaml", ".yml")
RUN_RECIPE = "recipe.yaml"  # in the folder of a run


class RecipeError(ValueError):
    """A recipe or an override that cannot be used; the message is one sentence for the person who typed it."""


def recipe_folder() -> Path:
    """The folder of the shipped recipes: `configs/` of a checkout, else the one installed inside the package."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent / "configs"
    return checkout if (checkout / "common" / "train.py").is_file() else package / "configs"


def list_recipes() -> list[str]:
    """Names of the shipped recipes, sorted."""
    return sorted(path.stem for path in recipe_folder().glob("*.py") if path.stem != "__init__")


def find_recipe(path_or_name: str | Path) -> Path:
    """The file of a recipe given by its path, by the folder of a run, or by the name of a shipped one.

    Raises:
        RecipeError: there is no such file; the message lists the nearest names.
    """
    path = Path(os.path.expanduser(path_or_name))
    if (path / RUN_RECIPE).is_file():
        path /= RUN_RECIPE
    if path.is_file():
        if path.suffix not in SUFFIXES:
            raise RecipeError(f"'{path}' is not a recipe: the name of its file must end in .py or .yaml.")
        return path.resolve()
    named = recipe_folder() / f"{path.stem if path.suffix == '.py' else path.name}.py"
    if path.name == str(path_or_name) and named.is_file():
        return named
    near = difflib.get_close_matches(path.stem, list_recipes(), n=3, cutoff=0.4)
    hint = f"the nearest shipped recipes are {', '.join(near)}" if near else f"see {recipe_folder()}"
    raise RecipeError(f"There is no recipe '{path_or_name}': neither a file nor a shipped recipe; {hint}.")


def default_folder(path: Path) -> str:
    """The folder of a recipe's first run where none is named: each recipe has its own."""
    return f"output/{path.stem}"


def read_recipe(path: Path) -> str:
    """The text of a recipe.

    Raises:
        RecipeError: the file is empty, or no text in UTF-8.
    """
    content = path.read_bytes()
    if not content.strip():
        raise RecipeError(f"Recipe {path} is empty.")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"Recipe {path} is not a text in UTF-8: {error}.") from error
    if "\0" in text:
        raise RecipeError(f"Recipe {path} is not a text: it has NUL bytes.")
    return text


def parse_recipe(path: Path) -> ast.Module:
    """The syntax tree of a Python recipe, which is not run.

    Raises:
        RecipeError: the file is empty, no text in UTF-8, or no Python.
    """
    text = read_recipe(path)
    try:
        return ast.parse(text, filename=str(path))
    except SyntaxError as error:
        raise RecipeError(f"Recipe {path} is not Python: line {error.lineno}, {error.msg}.") from error
    except (RecursionError, MemoryError) as error:
        raise RecipeError(f"Recipe {path} is nested too deeply to be read.") from error
