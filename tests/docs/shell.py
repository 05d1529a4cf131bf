"""Command lines of the pages, checked by the parsers that would read them and by the recipes that they change.

A command is a list of words without the variables before it. `check` raises `AssertionError` with the reason for one
that could not be typed like this.
"""

import argparse
import copy
import re
import runpy
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from configparser import ConfigParser
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from omegaconf import DictConfig

from benchmarks import run as benchmarks
from focalnet_d2.commands import main as focalnet_d2
from focalnet_d2.commands import runtime
from focalnet_d2.commands.train import recipe_and_folder
from focalnet_d2.config.lazy import RecipeError, apply_overrides, load_recipe
from tests.docs.pages import ROOT, Passage

OTHERS_VARIABLES = ("PYTORCH_CUDA_ALLOC_CONF", "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_")
RUNTIME_NEEDS = ("numpy", "pillow", "onnxruntime")
OF_A_RUN = "dino_focalnet_mini_quickstart"
SHIPPED = ("weights/", "configs/", "tools/", "tests/")  # an argument that begins so is a file of this repository


@dataclass(frozen=True)
class Command:
    """One command with the variables set before it.

    Attributes:
        words: the program and its arguments.
        variables: name and value of what is set for it, or exported.
        passage: where it stands.
    """

    words: tuple[str, ...]
    variables: dict[str, str]
    passage: Passage

    def __str__(self) -> str:
        return f"{self.passage}: {shlex.join(self.words)}"


class Parsed(BaseException):
    """A command line was read: what the program does with it is not run."""

    def __init__(self, options: argparse.Namespace):
        self.options = options


def commands_of(passage: Passage) -> Iterator[Command]:
    """The commands of a block, or of code within a line."""
    for line in passage.text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&;|")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if not set(word) <= set("&;|"):
                words.append(word)
            elif words:
                yield _command(words, passage)
                words = []


def _command(words: list[str], passage: Passage) -> Command:
    is_export = words[0] == "export"
    words, variables = words[is_export:], {}
    while words and (found := re.fullmatch(r"([A-Z_][A-Z0-9_]*)=(.*)", words[0])):
        variables[found[1]] = found[2]
        words = words[1:]
    return Command(tuple(words), variables, passage)


def check(command: Command) -> None:
    """Raises `AssertionError` unless the command can be typed like this."""
    for name in command.variables:
        assert name in OTHERS_VARIABLES or name in sources(), f"{command}: nothing reads {name}"
    if not command.words:
        return
    program, *arguments = command.words
    checks = [run for pattern, run in PROGRAMS.items() if re.fullmatch(pattern, program)]
    assert checks, f"{command}: {program} is not known here"
    try:
        checks[0](arguments)
    except (AssertionError, RecipeError, ValueError, SystemExit) as error:
        raise AssertionError(f"{command}: {error}") from error
    missing = [word for word in command.words if is_shipped(word) and not (ROOT / value_of(word)).exists()]
    assert not missing, f"{command}: there is no {missing[0]}"


def value_of(word: str) -> str:
    return word.partition("=")[2] if "=" in word else word


def is_shipped(word: str) -> bool:
    return value_of(word).startswith(SHIPPED)


@cache
def sources() -> str:
    """Text of all that could read an environment variable."""
    places = [ROOT / name for name in ("focalnet_d2", "benchmarks", "tests/golden")]
    files = [ROOT / "Makefile", *(path for place in places for path in place.rglob("*.py"))]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def options_of(run: Callable[[], object]) -> argparse.Namespace:
    """What the parser of a program made of its command line; `run` calls it.

    Raises:
        SystemExit: the parser refused it.
    """
    with parsing_only(), pytest.raises(Parsed) as parsed:
        run()
    return parsed.value.options


@contextmanager
def parsing_only() -> Iterator[None]:
    """Whoever parses a command line inside gets `Parsed` in place of an answer, except the parser of subcommands."""
    depth = 0

    def stopping(original: Callable[..., Any]) -> Callable[..., Any]:
        def parse(parser: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> Any:
            nonlocal depth
            depth += 1
            try:
                options, rest = original(parser, *args, **kwargs)
            finally:
                depth -= 1
            if depth or parser.prog == "focalnet-d2":
                return options, rest
            if rest:
                parser.error(f"unrecognized arguments: {' '.join(rest)}")
            raise Parsed(options)

        return parse

    with pytest.MonkeyPatch.context() as patch:
        for name in ("parse_known_args", "parse_known_intermixed_args"):
            patch.setattr(argparse.ArgumentParser, name, stopping(getattr(argparse.ArgumentParser, name)))
        yield


def check_recipe(options: argparse.Namespace) -> None:
    """The recipe of a command line exists and has the settings that it changes."""
    name, folder = recipe_and_folder(options) if hasattr(options, "start") else (getattr(options, "recipe", None), [])
    if name:
        apply_overrides(recipe_named(name), [*folder, *getattr(options, "overrides", ())])


def recipe_named(name: str) -> DictConfig:
    """A recipe of its own for whoever changes it; that of a reader's run has the settings of the small one."""
    return copy.deepcopy(_loaded(OF_A_RUN if name.startswith("output/") else name))


@cache
def _loaded(name: str) -> DictConfig:
    return load_recipe(name)


def check_subcommand(arguments: Sequence[str]) -> None:
    """`focalnet-d2 ...`."""
    check_recipe(options_of(lambda: focalnet_d2.main(arguments)))


def check_python(arguments: Sequence[str]) -> None:
    """`python SCRIPT ...`, `python -m pytest ...`, or `python -m` one of our modules."""
    if arguments[0] == "-m" and arguments[1] == "pytest":
        check_pytest(arguments[2:])
    elif arguments[0] == "-m":
        check_script(arguments[1].replace(".", "/") + ".py", *arguments[2:])
    elif arguments[0] == "benchmarks/run.py":
        check_benchmarks(arguments[1:])
    else:
        check_script(*arguments)


def check_benchmarks(arguments: Sequence[str]) -> None:
    """The cases are there; another checkout would be the reader's, and this one takes its place."""
    words = [str(ROOT) if before == "--against" else word for before, word in zip(["", *arguments], arguments)]
    assert benchmarks.main([*words, "--list"]) == 0


def check_script(script: str, *arguments: str) -> None:
    """A script of this repository, run up to the point where it has read its arguments, if there are any."""
    assert (ROOT / script).is_file(), f"there is no {script}"
    if not arguments:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [script, *arguments])
        patch.syspath_prepend((ROOT / script).parent)  # where Python looks for what a script imports
        check_recipe(options_of(lambda: runpy.run_path(str(ROOT / script), run_name="__main__")))


def check_sbatch(arguments: Sequence[str]) -> None:
    """`sbatch SCRIPT ...`, whose script hands all arguments to `focalnet-d2 train`."""
    script, *others = arguments
    assert '"$@"' in (ROOT / script).read_text(encoding="utf-8"), f"{script} hands on no arguments"
    check_subcommand(["train", *others])


def check_torchrun(arguments: Sequence[str]) -> None:
    """`torchrun ... SCRIPT ...`."""
    from torch.distributed.run import get_args_parser  # slow to import

    options = get_args_parser().parse_args(arguments)
    check_script(options.training_script, *options.training_script_args)


def check_make(arguments: Sequence[str]) -> None:
    """Targets and variables of the Makefile; what is handed to pytest."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    settings = dict(word.split("=", 1) for word in arguments if "=" in word)
    targets = [word for word in arguments if "=" not in word]
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []
    assert [name for name in settings if not re.search(rf"\$\({name}\)", makefile)] == []
    if "test" in targets and "ARGS" in settings:
        check_pytest(shlex.split(settings["ARGS"]))


def check_pytest(arguments: Sequence[str]) -> None:
    """Files exist, markers are registered, and some test has the word of `-k` in its name or that of its file."""
    parser = argparse.ArgumentParser("pytest")
    parser.add_argument("-k")
    parser.add_argument("-m")
    parser.add_argument("paths", nargs="*")
    options = parser.parse_args(arguments)
    assert [path for path in options.paths if not (ROOT / path).exists()] == []
    markers = set(re.findall(r"\w+", options.m or "")) - {"not", "and", "or"}
    assert markers <= registered_markers(), f"markers are {registered_markers()}"
    for word in set(re.findall(r"\w+", options.k or "")) - {"not", "and", "or"}:
        assert re.search(rf"{word}", test_names()), f"no test has {word} in its name"


@cache
def settings() -> ConfigParser:
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def registered_markers() -> set[str]:
    """Those of setup.cfg."""
    return {line.partition(":")[0] for line in settings()["tool:pytest"]["markers"].strip().splitlines()}


@cache
def test_names() -> str:
    """Paths of all files with tests, and names of the functions."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return "\n".join([str(path.relative_to(ROOT)) for path in files] + [
        name for path in files for name in re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8"))
    ])  # fmt: skip


test_names.__test__ = False


def check_pip(arguments: Sequence[str]) -> None:
    """`pip install "focalnet-d2[EXTRA]"`, or the package alone with what the runtime needs."""
    if list(arguments) in (["install", "--no-deps", "focalnet-d2"], ["install", *RUNTIME_NEEDS]):
        return
    found = re.fullmatch(r"focalnet-d2\[([\w-]+)\]", arguments[-1])
    assert arguments[0] == "install"
    assert found, f"{arguments[-1]} is not one of our extras"
    assert found[1] in settings()["options.extras_require"], f"there is no extra {found[1]}"


def check_runtime(arguments: Sequence[str]) -> None:
    """The arguments of `focalnet-d2-runtime`."""
    options_of(lambda: runtime.main(arguments))


def check_source(arguments: Sequence[str]) -> None:
    """The environment that `make setup` makes."""
    assert list(arguments) == [".venv/bin/activate"]


def check_pre_commit(arguments: Sequence[str]) -> None:
    """Its settings are there."""
    assert (ROOT / ".pre-commit-config.yaml").is_file()
    assert arguments[0] in ("install", "run")


PROGRAMS: dict[str, Callable[[Sequence[str]], None]] = {
    r"focalnet-d2": check_subcommand,
    r"focalnet-d2-runtime": check_runtime,
    r"(\.venv/bin/)?python": check_python,
    r"torchrun": check_torchrun,
    r"sbatch": check_sbatch,
    r"make": check_make,
    r"pytest": check_pytest,
    r"pip": check_pip,
    r"source": check_source,
    r"pre-commit": check_pre_commit,
}
