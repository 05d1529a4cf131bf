"""What is installed: all packages and recipes, a lock that fits setup.cfg, clear words without Detectron2."""

import configparser
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import focalnet_d2

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("focalnet_d2", "dino", "mask2former", "configs")
BLOCK_DETECTRON2 = """\
import sys

class Blocker:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] == "detectron2":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker)
"""


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def lines_of(text: str) -> list[str]:
    return [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]


def source_files() -> list[Path]:
    """Python files of all packages, relative to the repository."""
    return files_named("*.py")


def files_named(pattern: str) -> list[Path]:
    return sorted(path.relative_to(ROOT) for place in SOURCES for path in (ROOT / place).rglob(pattern))


def installed_name(path: Path) -> str:
    """Where a file of the repository stands in the wheel."""
    return f"focalnet_d2/{path.as_posix()}" if path.parts[0] == "configs" else path.as_posix()


def run_python(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built without a network from a copy of the sources."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in (*SOURCES, "setup.cfg", "pyproject.toml", "train_net.py", "README.md", "LICENSE"):
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif path.exists():
            shutil.copy(path, source / name)
    built = run_python("-c", "import sys, setuptools.build_meta as b; b.build_wheel(sys.argv[1])", str(out), cwd=source)
    assert built.returncode == 0, built.stderr
    return next(out.glob("*.whl"))


def test_setup_cfg_lists_every_package_folder():
    folders = {installed_name(path.parent).replace("/", ".") for path in source_files()}
    assert set(lines_of(setup_cfg()["options"]["packages"])) == folders


def test_every_package_has_an_init_file():
    """Without one a folder is not found by tools that look for packages; recipes are files, not modules."""
    folders = {path.parent for path in source_files() if path.parts[0] != "configs"}
    assert [folder for folder in sorted(folders) if not (ROOT / folder / "__init__.py").is_file()] == []


def test_wheel_holds_every_module_and_recipe(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    compiled_on_first_use, typed, stubs = files_named("*.cpp"), files_named("py.typed"), files_named("*.pyi")
    assert compiled_on_first_use
    assert [str(path.parent) for path in typed] == ["dino", "focalnet_d2", "mask2former"]
    assert [str(path) for path in stubs] == ["focalnet_d2/__init__.pyi"]
    wanted = (*source_files(), *compiled_on_first_use, *typed, *stubs)
    assert {installed_name(path) for path in wanted} - names == set()
    assert "train_net.py" in names
    assert not [name for name in names if name.startswith(("tests", "configs", "tools"))]
    assert [name for name in names if name.endswith("LICENSE")]


def test_recipes_load_from_the_wheel_alone(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "from focalnet_d2.config.lazy import find_recipe, load_recipe\n"
        "print(find_recipe('dino_focalnet_huge'))\n"
        "print(load_recipe('dino_focalnet_huge').model.num_classes)\n"
    )
    done = run_python("-c", code, cwd=tmp_path, PYTHONPATH=str(tmp_path / "site"))
    assert done.returncode == 0, done.stderr
    file, classes = done.stdout.split()
    assert Path(file) == (tmp_path / "site" / "focalnet_d2" / "configs" / "dino_focalnet_huge.py").resolve()
    assert int(classes) > 0


def test_installed_version_is_the_one_in_the_source():
    assert importlib.metadata.version("focalnet-d2") == focalnet_d2.__version__


def test_command_is_installed():
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name="focalnet-d2")
    assert entry.value == "focalnet_d2.commands.main:main"
    assert callable(entry.load())


def pins(file: str) -> dict[str, tuple[str, int]]:
    """name -> (version, number of hashes) of a requirements file."""
    text = (ROOT / file).read_text(encoding="utf-8")
    found = {}
    for block in re.split(r"\n(?=\S)", text):
        if match := re.match(r"([A-Za-z0-9._-]+)==(\S+)", block):
            found[match[1]] = (match[2], block.count("--hash=sha256:"))
    return found


def test_lock_fits_the_ranges_of_setup_cfg():
    parser, locked = setup_cfg(), pins("requirements-lock.txt")
    extras = parser["options.extras_require"]
    wanted = lines_of(parser["options"]["install_requires"] + "\n" + extras["test"] + "\n" + extras["lint"])
    for requirement in map(Requirement, wanted):
        version, _ = locked[requirement.name]
        assert requirement.specifier.contains(version, prereleases=True), requirement


@pytest.mark.parametrize("file", ["requirements-lock.txt", "requirements-detectron2.txt"])
def test_every_pin_has_a_hash_and_no_source_is_named(file):
    locked = pins(file)
    assert locked
    assert [name for name, (_, hashes) in locked.items() if hashes == 0] == []
    lines = lines_of((ROOT / file).read_text(encoding="utf-8"))
    assert [line for line in lines if "://" in line or "index" in line.split()[0]] == []


def test_message_and_pin_name_the_same_detectron2():
    from focalnet_d2.registration import INSTALL_DETECTRON2

    ((name, (version, _)),) = pins("requirements-detectron2.txt").items()
    assert f"{name}=={version}" in INSTALL_DETECTRON2


def without(package: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Runs Python where a package is not installed."""
    blocked = BLOCK_DETECTRON2.replace('"detectron2"', f'"{package}"')
    (folder / "sitecustomize.py").write_text(blocked, encoding="utf-8")
    return run_python(*arguments, cwd=ROOT, PYTHONPATH=str(folder))


def assert_says_what_to_type(message: str) -> None:
    assert "focalnet_d2 needs Detectron2" in message
    assert "pip install --python" in message
    assert "--no-deps --python-version 3.10 sal-detectron2==" in message
    assert "--no-build-isolation git+https://github.com/facebookresearch/detectron2" in message


def test_import_works_without_detectron2(tmp_path):
    done = without("detectron2", tmp_path, "-c", "import focalnet_d2; print(focalnet_d2.__version__)")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == focalnet_d2.__version__


@pytest.mark.parametrize(
    "use",
    [
        "import focalnet_d2; focalnet_d2.load_model",
        "from focalnet_d2 import list_recipes",
        "import focalnet_d2.registration as r; r.register()",
        "import focalnet_d2.data.datasets",
    ],
)
def test_first_use_without_detectron2_says_what_to_type(tmp_path, use):
    done = without("detectron2", tmp_path, "-c", use)
    assert done.returncode == 1
    assert_says_what_to_type(done.stderr[done.stderr.index("ImportError: ") :])
    assert done.stderr.count("Traceback") == 1


@pytest.mark.parametrize("command", [("zoo", "--list"), ("train", "dino_focalnet_huge")])
def test_command_line_without_detectron2_says_what_to_type(tmp_path, command):
    done = without("detectron2", tmp_path, "-m", "focalnet_d2.commands.main", *command)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert_says_what_to_type(done.stderr)
    assert "Traceback" not in done.stderr


def test_import_error_inside_detectron2_is_not_hidden(tmp_path):
    """A Detectron2 that is there but lacks a package of its own names that package, not Detectron2."""
    done = without("fvcore", tmp_path, "-c", "import focalnet_d2; focalnet_d2.load_model")
    assert done.returncode == 1
    assert "No module named 'fvcore" in done.stderr
    assert "needs Detectron2" not in done.stderr


def test_ci_script_can_be_started():
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
