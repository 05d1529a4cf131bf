"""Checks of what is installed, each on a made-up installation."""

import configparser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from focalnet_d2.diagnostics import installation
from focalnet_d2.diagnostics.check import FAILS, FALLBACK, OK


@pytest.mark.parametrize(("version", "status"), [((3, 9), FAILS), ((3, 10), OK), ((3, 13), OK), ((3, 14), FALLBACK)])
def test_python_version(version, status):
    (check,) = installation.check_python(version)
    assert check.status == status
    assert bool(check.fix) is (status != OK)


@pytest.mark.parametrize(
    ("requirement", "status", "words"),
    [
        ("numpy>=1.0", OK, "supported: >=1.0"),
        ("numpy>=99", FAILS, "outside the supported range"),
        ("no-such-package-here>=1", FAILS, "not installed"),
    ],
)
def test_package_against_its_range(requirement, status, words):
    (check,) = installation.check_packages([Requirement(requirement)])
    assert check.status == status
    assert words in check.detail
    assert status == OK or f'pip install "{requirement}"' in check.fix


def test_package_with_a_broken_binary_fails(monkeypatch):
    monkeypatch.setattr(
        installation, "import_problem", lambda module: "OSError: undefined symbol" if module == "PIL" else ""
    )
    check = installation.check_package(Requirement("pillow"))
    assert check.status == FAILS
    assert "undefined symbol" in check.detail
    assert "--force-reinstall" in check.fix


def test_ranges_come_from_setup_cfg(monkeypatch):
    """The same requirements whether the package is installed or only lies there as a checkout."""

    def not_installed(name):
        raise installation.importlib.metadata.PackageNotFoundError(name)

    installed = {str(one) for one in installation.declared_requirements()}
    monkeypatch.setattr(installation.importlib.metadata, "requires", not_installed)
    assert {str(one) for one in installation.declared_requirements()} == installed
    assert any(one.startswith("torch") for one in installed)


def test_missing_panopticapi_falls_back(monkeypatch):
    monkeypatch.setattr(installation, "import_problem", lambda module: "ModuleNotFoundError: panopticapi")
    (check,) = installation.check_panopticapi()
    assert check.status == FALLBACK
    assert "panopticapi-lite" in check.fix


def test_compiled_detectron2_is_told_absent_from_broken(monkeypatch):
    monkeypatch.setattr(
        installation, "import_problem", lambda module: "ImportError: undefined symbol" * module.endswith("_C")
    )
    monkeypatch.setattr(installation.importlib.util, "find_spec", lambda module: None)
    (absent,) = installation.check_compiled_detectron2()
    monkeypatch.setattr(installation.importlib.util, "find_spec", lambda module: object())
    (broken,) = installation.check_compiled_detectron2()
    assert absent.status == broken.status == FALLBACK
    assert absent.detail.startswith("not compiled")
    assert "undefined symbol" in broken.detail


def test_an_extra_that_is_missing_is_said_with_its_command(monkeypatch):
    installed = installation.installed_version
    monkeypatch.setattr(installation, "installed_version", lambda name: None if name == "rasterio" else installed(name))
    checks = {check.name: check for check in installation.check_extras()}
    assert (checks["geo"].status, checks["predict"].status) == (FALLBACK, OK)
    assert checks["geo"].detail == "rasterio missing: no georeferenced images"
    assert checks["geo"].fix == "pip install 'focalnet-d2[geo]'"


def test_every_extra_of_users_is_looked_at():
    parser = configparser.ConfigParser()
    parser.read(Path(__file__).parents[2] / "setup.cfg", encoding="utf-8")
    assert set(parser["options.extras_require"]) == {*installation.EXTRAS, "test", "lint"}
