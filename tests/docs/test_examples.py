"""Every example of the pages works: Python is run, command lines are read by their own parsers, the cheap ones run.

Where a reader would have files of their own, a temporary folder has small ones of the same name. Trainings and
generated sets are made smaller; nothing else of an example is changed.
"""

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import packages_distributions

import numpy as np
import pytest
import torch
from packaging.requirements import Requirement

import train_net
from focalnet_d2.checkpoint import read_checkpoint, save_checkpoint
from focalnet_d2.commands import main as focalnet_d2
from focalnet_d2.config.lazy import RecipeError
from focalnet_d2.data.generated import register_generated
from focalnet_d2.inference.video import open_video
from tests.data.folders.folder_sets import write_coco
from tests.docs.pages import PAGES, ROOT, WITH_EXAMPLES, Passage, blocks, inline_code, name_of
from tests.docs.shell import PROGRAMS, Command, check, commands_of, settings
from tests.export.mean_color import write_mean_color
from tests.registered_sets import forgotten_afterwards

LANGUAGES = {"python", "bash", "text", "bibtex"}
PROGRAM = re.compile(rf"^\s*({'|'.join(PROGRAMS)}) ", re.MULTILINE)
RUN = ("inspect", "score", "generate")  # subcommands that are run; also conversions and runs of the small recipe
SMALL = "dino_focalnet_mini_quickstart"
SMALLER_SETS = {"--train": "4", "--val": "2"}
SMALLER_RUNS = (
    "train.max_iter=1",
    "train.device=cpu",
    "dataloader.train.total_batch_size=2",
    "dataloader.train.num_workers=0",
    "dataloader.test.num_workers=0",
    "dataloader.test.dataset.limit=1",
)

each_page = pytest.mark.parametrize("page", WITH_EXAMPLES, ids=name_of)


def pages_with(language: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", [page for page in WITH_EXAMPLES if blocks(page, language)], ids=name_of)


@pytest.fixture
def workplace(tmp_path, monkeypatch) -> Iterator[None]:
    """A working directory with what a reader would have; data sets that an example registers are forgotten."""
    golden = ROOT / "tests" / "golden" / "evaluators"
    places = {
        "weights": ROOT / "weights",
        "docs": ROOT / "docs",
        "panoptic_val2017.json": golden / "panoptic_gt.json",
        "panoptic_val2017": golden / "panoptic_gt",
        "panoptic_predictions.json": golden / "panoptic_pred.json",
        "panoptic_predictions": golden / "panoptic_pred",
        "instances_val2017.json": golden / "instances_gt.json",
        "coco_instances_results.json": golden / "detections.json",
        "LABEL_FOLDER": golden / "semseg_gt",
        "PREDICTION_FOLDER": golden / "semseg_pred",
    }
    for name, target in places.items():
        (tmp_path / name).symlink_to(target)
    shipped = read_checkpoint(ROOT / "weights" / "dino_focalnet_mini_day.safetensors")
    write_coco(tmp_path / "pets", "train.json", ["a.jpg", "b.jpg"])
    with open_video(tmp_path / "clip.mp4") as clip:
        for time in (0.0, 0.1):
            clip.write(np.zeros((64, 96, 3), np.uint8), time)
    save_checkpoint(tmp_path / "model.pth", {key: shipped[key] for key in ("model", "metadata") if key in shipped})
    write_mean_color(tmp_path / "panoptic.onnx")
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    with forgotten_afterwards():
        yield
    torch.set_num_threads(threads)
    register_generated()


@pages_with("python")
def test_python_runs(page, workplace):
    """The blocks of a page one after the other, as a reader would."""
    names: dict[str, object] = {"__name__": "example"}
    for block in blocks(page, "python"):
        exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), names)


@pages_with("python")
def test_python_imports_what_is_declared(page):
    """Nothing that happens to be installed here and is not a requirement of the package."""
    imported = {module for block in blocks(page, "python") for module in imports_of(block.text)}
    ours = {"focalnet_d2", "dino", "mask2former", "configs", "train_net", "detectron2"}
    assert imported - ours - set(sys.stdlib_module_names) - declared_modules() == set()


def imports_of(source: str) -> set[str]:
    """Names of the top packages that some Python imports."""
    nodes = list(ast.walk(ast.parse(source)))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in names}


def declared_modules() -> set[str]:
    """Modules of the packages that setup.cfg requires, or has in an extra for users."""
    extras = {name: text for name, text in settings()["options.extras_require"].items() if name not in ("test", "lint")}
    lines = "\n".join([settings()["options"]["install_requires"], *extras.values()]).strip().splitlines()
    required = {Requirement(line).name for line in lines if line and not line.startswith("#")}
    found = packages_distributions().items()
    return {module for module, distributions in found if required & {name.lower() for name in distributions}}


def test_the_check_of_imports_sees_undeclared_packages():
    assert imports_of("import cv2\nfrom torch.nn import Linear") == {"cv2", "torch"}
    assert {"torch", "PIL", "numpy"} <= declared_modules()
    assert not {"cv2", "transformers", "pytest"} & declared_modules()


@each_page
def test_commands_can_be_typed(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    for passage in [*blocks(page, "bash"), *commands_in_lines(page)]:
        for command in commands_of(passage):
            check(command)


def commands_in_lines(page) -> list[Passage]:
    """Code within lines that is a command with arguments."""
    return [code for code in inline_code(page) if PROGRAM.match(code.text)]


@pages_with("bash")
def test_cheap_commands_run(page, workplace):
    torch.set_num_threads(1)
    for block in blocks(page, "bash"):
        for command in commands_of(block):
            if is_cheap(command):
                run(command)


def is_cheap(command: Command) -> bool:
    """Whether it takes seconds once it is made smaller."""
    program, *arguments = command.words or ("",)
    if program == "focalnet-d2":
        return arguments[0] in RUN or (arguments[0] == "convert" and SMALL in arguments)
    is_training = program == "python" and arguments[0] == "train_net.py" and SMALL in arguments
    return is_training and "--num-processes" not in arguments and "train.amp=bf16" not in arguments


def run(command: Command) -> None:
    """Runs a command in this process."""
    program, *arguments = smaller(command.words)
    if program == "python":
        root = command.variables.get("DETECTRON2_DATASETS", "datasets")
        register_generated(f"{root}/generated")
        train_net.main([*arguments[1:], *SMALLER_RUNS])
    elif "FILE" not in arguments:
        assert focalnet_d2.main(arguments) == 0, command


def smaller(words: Sequence[str]) -> list[str]:
    """The command with few images."""
    return [SMALLER_SETS.get(before, word) for before, word in zip(["", *words], words, strict=False)]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_says_what_it_is(page):
    """A block without a language would be checked by nobody."""
    assert {block.language for block in blocks(page)} <= LANGUAGES or page not in WITH_EXAMPLES
    assert [str(block) for block in blocks(page, "text") if PROGRAM.search(block.text)] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("python train_net.py --config-file dino_focalnet_hugh", "dino_focalnet_hugh"),
        ("python train_net.py --config-file dino_focalnet_huge --evaluate", "2"),
        ("python train_net.py --config-file dino_focalnet_huge train.max_itr=1", "train.max_itr"),
        ("torchrun --nproc-per-node 8 train_net.py --config-file dino_focalnet_huge train.max_itr=1", "train.max_itr"),
        ("focalnet-d2 inspekt FILE", "2"),
        ("focalnet-d2 inspect weights/nowhere.safetensors", "nowhere"),
        ("focalnet-d2 train dino_focalnet_huge --num-gpu-cards 8", "2"),
        ("focalnet-d2 train dino_focalnet_huge train.max_itr=1", "train.max_itr"),
        ("focalnet-d2 train DIR --recipe dino_focalnet_huge data.val_shar=1", "data.val_share"),
        ("python tools/nowhere.py", "nowhere"),
        ("python benchmarks/run.py nowhere", "2"),
        ("make tests", "tests"),
        ('make test ARGS="-m fast"', "markers"),
        ('make test ARGS="-k nobody_calls_a_test_so"', "nobody"),
        ('pip install "focalnet-d2[nothing]"', "nothing"),
        ("NO_SUCH_VARIABLE=1 make test", "nothing reads"),
        ("ls", "ls"),
    ],
)
def test_the_check_of_commands_refuses(text, message, monkeypatch):
    monkeypatch.chdir(ROOT)
    (command,) = commands_of(Passage(ROOT / "README.md", 1, text))
    with pytest.raises(AssertionError, match=message):
        check(command)


def test_commands_are_taken_apart_as_a_shell_does():
    text = 'export A=1\nB=2 make a && make b ARGS="-k c"  # d\npython x \\\n    --y\n'
    commands = list(commands_of(Passage(ROOT / "README.md", 1, text)))
    assert [command.words for command in commands] == [
        (), ("make", "a"), ("make", "b", "ARGS=-k c"), ("python", "x", "--y"),
    ]  # fmt: skip
    assert [command.variables for command in commands] == [{"A": "1"}, {"B": "2"}, {}, {}]


def test_a_broken_example_fails(tmp_path, workplace):
    page = tmp_path / "page.md"
    page.write_text(
        '# A\n\n```python\nimport focalnet_d2\n\nfocalnet_d2.load_recipe("nowhere")\n```\n', encoding="utf-8"
    )
    with pytest.raises(RecipeError, match="nowhere"):
        test_python_runs(page, None)
