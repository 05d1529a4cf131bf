"""How the command lines end: one line and 2 for a user's mistake, a traceback for a fault of ours."""

import argparse

import pytest
import torch

from focalnet_d2.commands.errors import end_with_one_line, run_command
from focalnet_d2.config.lazy import RecipeError


def failing(error: BaseException):
    def run(*_):
        raise error

    return run


class UnreadableError(ValueError):
    """An error of a data set, as loader processes raise them."""


class Unreadable(torch.utils.data.Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        try:
            raise UnreadableError("This one is inside.")
        except ValueError as error:
            raise UnreadableError("a.tif: two\n  lines.") from error


def test_an_error_of_a_loader_process_is_its_message_alone(capsys):
    loader = torch.utils.data.DataLoader(Unreadable(), num_workers=1)
    assert end_with_one_line(lambda: len(list(loader))) == 2
    assert capsys.readouterr().err == "error: a.tif: two lines.\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("The value is 3."), "error: The value is 3."),
        (RecipeError("There is no recipe."), "error: There is no recipe."),
        (FileNotFoundError(2, "No such file", "a.pth"), "error: [Errno 2] No such file: 'a.pth'"),
        (PermissionError("Not allowed."), "error: Not allowed."),
        (ValueError("It says:\n  two lines."), "error: It says: two lines."),
        (ValueError(), "error: ValueError"),
        (ImportError("Fusion needs a package: pip install it."), "error: Fusion needs a package: pip install it."),
        (ModuleNotFoundError("No module named 'timm'", name="timm"), "error: No module named 'timm'"),
    ],
)  # fmt: skip
def test_a_users_mistake_is_one_line_and_status_2(capsys, error, line):
    assert end_with_one_line(failing(error)) == 2
    printed = capsys.readouterr()
    assert printed.err == f"{line}\n"
    assert printed.out == ""
    with pytest.raises(type(error)):
        end_with_one_line(failing(error), debug=True)


@pytest.mark.parametrize(
    "error",
    [
        TypeError("unexpected argument"),
        RuntimeError("shapes"),
        AssertionError("never"),
        ImportError("cannot import name 'x'", name="focalnet_d2.layers"),
        ModuleNotFoundError("No module named 'dino.models'", name="dino.models"),
    ],
)
def test_a_fault_of_ours_is_raised(error):
    with pytest.raises(type(error)):
        end_with_one_line(failing(error))


def test_an_interrupted_command_ends_with_130(capsys):
    assert end_with_one_line(failing(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "Interrupted.\n"


def test_the_commands_own_exit_status_is_kept():
    assert end_with_one_line(lambda: 1) == 1


@pytest.mark.parametrize("words", [["--debug", "sub", "a"], ["sub", "--debug", "a"], ["sub", "a", "--debug"]])
def test_debug_may_stand_anywhere_and_raises(words):
    parser = argparse.ArgumentParser()
    parser.add_subparsers().add_parser("sub").add_argument("file")
    with pytest.raises(ValueError, match="a"):
        run_command(parser, lambda options: failing(ValueError(options.file))(), words)


def test_what_was_parsed_arrives_and_help_names_debug(capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    seen = []
    assert run_command(parser, seen.append, ["a.pth"]) == 0
    assert seen[0].file == "a.pth"
    assert "--debug" in parser.format_help()


def test_a_closed_pipe_is_no_mistake(monkeypatch, capsys):
    with monkeypatch.context() as kept:
        kept.setattr("sys.stdout", None)  # what stands there is replaced, and put back behind the block
        assert end_with_one_line(failing(BrokenPipeError(32, "Broken pipe"))) == 141
    assert capsys.readouterr().err == ""
