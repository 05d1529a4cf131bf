"""Links of the pages lead somewhere, and the files, names and settings that stand in backticks exist."""

import re
from functools import cache
from pathlib import Path
from pkgutil import resolve_name

import pytest

from focalnet_d2.config.lazy import RecipeError, apply_overrides, list_recipes
from tests.docs.pages import PAGES, ROOT, Passage, anchors, inline_code, links, name_of
from tests.docs.shell import recipe_named

TOP = {path.name for path in ROOT.iterdir()}
OUTPUTS = ("output", "datasets", "build", ".venv")  # made by a run
PACKAGES = ("focalnet_d2", "dino", "mask2former", "configs")
HISTORY = ("CHANGELOG.md",)  # names what was
PATH = re.compile(r"[\w.{},*-]+(/[\w.{},*-]*)+|[\w*]+\.(py|md|cfg|toml|yaml)")
DOTTED = re.compile(rf"({'|'.join(PACKAGES[:3])})(\.\w+)+")
SETTING = re.compile(r"(model|dataloader|optimizer|lr_multiplier|train)(\.(?!py\b)\w+)+(=\S+)?")
RECIPE = re.compile(r"(?!focalnet)[a-z0-9_]+_focalnet_\w+")
VARIABLE = re.compile(r"\$?((FOCALNET_D2|GOLDEN|DETECTRON2)_[A-Z_]+)(=\S*)?")
# A recipe of each kind that the pages speak of: a setting has to be one of some of them.
SPOKEN_OF = (
    "stable_dino_focalnet_huge",
    "dino_focalnet_huge",
    "dino_focalnet_mini_quickstart",
    "mask2former_focalnet_mini_demo",
    "mask2former_focalnet_large_fl3_coco_panoptic",
    "mask_rcnn_focalnet_mini_coco",
)

each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


@each_page
def test_links_lead_to_files_and_headings(page):
    assert [f"{link} {link.text}" for link in links(page) if not leads_somewhere(link)] == []


def leads_somewhere(link: Passage) -> bool:
    """Addresses elsewhere are not looked up."""
    if re.match(r"https?://", link.text):
        return True
    file, _, anchor = link.text.partition("#")
    target = (link.page.parent / file).resolve() if file else link.page
    return target.exists() and (not anchor or anchor in anchors(target))


@each_page
def test_files_exist(page):
    paths = [code for code in inline_code(page) if PATH.fullmatch(code.text) and name_of(page) not in HISTORY]
    assert [f"{code} {code.text}" for code in paths if not exists(code)] == []


def exists(code: Passage) -> bool:
    """Whether it is a file here, beside the page, or for a bare name anywhere; folders that are not ours hold data."""
    first = code.text.split("/")[0]
    if "/" in code.text and (first not in TOP or first in OUTPUTS):
        return not code.text.endswith((".py", ".md"))
    return all(
        any(found for place in (ROOT, code.page.parent) for found in place.glob(pattern))
        or ("/" not in pattern and bool(named(pattern)))
        for pattern in expanded(code.text.rstrip("/"))
    )


def expanded(text: str) -> list[str]:
    """`a/{b,c}.py` -> a/b.py and a/c.py."""
    found = re.search(r"\{([^}]*)\}", text)
    if not found:
        return [text]
    return [one for part in found[1].split(",") for one in expanded(text[: found.start()] + part + text[found.end() :])]


@cache
def named(name: str) -> list[Path]:
    """Files of this name in any folder of ours."""
    places = [ROOT / place for place in (*PACKAGES, "tests", "tools", "benchmarks", "docs", "weights")]
    return [path for place in places for path in place.rglob(name)]


@each_page
def test_python_names_exist(page):
    names = [code for code in inline_code(page) if DOTTED.fullmatch(code.text) and name_of(page) not in HISTORY]
    assert [f"{code} {code.text}" for code in names if not resolves(code.text)] == []


def resolves(name: str) -> bool:
    try:
        resolve_name(name)
    except (AttributeError, ImportError):
        return (ROOT / name).exists()
    return True


@each_page
def test_recipes_exist(page):
    names = [code for code in inline_code(page) if RECIPE.fullmatch(code.text)]
    assert [f"{code} {code.text}" for code in names if code.text not in list_recipes()] == []


@each_page
def test_settings_exist(page):
    settings = [code for code in inline_code(page) if SETTING.fullmatch(code.text) and name_of(page) not in HISTORY]
    assert [f"{code} {code.text}" for code in settings if not any(takes(name, code.text) for name in SPOKEN_OF)] == []


def takes(recipe: str, setting: str) -> bool:
    """Whether a recipe has the setting, with that value if one is given."""
    try:
        apply_overrides(recipe_named(recipe), [setting if "=" in setting else f"{setting}=null"])
    except RecipeError as error:  # no setting is null by itself; one that does not exist is unknown
        return "=" not in setting and not str(error).startswith("Unknown key")
    return True


@each_page
def test_environment_variables_are_read(page):
    found = {match[1] for code in inline_code(page) if (match := VARIABLE.fullmatch(code.text))}
    assert {name for name in found if not is_read(name)} == set()


@cache
def is_read(variable: str) -> bool:
    """Whether some file of ours has the name of the variable."""
    places = [ROOT / place for place in (*PACKAGES, "tests", "benchmarks")]
    return any(variable in path.read_text(encoding="utf-8") for place in places for path in place.rglob("*.py"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("docs/README.md", True),
        ("docs/nowhere.md", False),
        ("train_net.py", True),
        ("nowhere.py", False),
        ("focalnet_d2/modeling/{atss,rcnn}/", True),
        ("focalnet_d2/modeling/{atss,nowhere}/", False),
        ("layers/nowhere.py", False),
        ("coco/annotations/", True),
    ],
)
def test_the_check_of_files_tells_right_from_wrong(text, expected):
    assert exists(Passage(ROOT / "README.md", 1, text)) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("LICENSE", True), ("docs/training.md#resuming", True), ("docs/training.md#nowhere", False), ("nowhere", False)],
)
def test_the_check_of_links_tells_right_from_wrong(text, expected):
    assert leads_somewhere(Passage(ROOT / "README.md", 1, text)) is expected
