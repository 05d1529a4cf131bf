"""`focalnet-d2 doctor`: what is installed, what runs where, what falls back and why, and the fix for each.

It runs in a broken installation, too: only the standard library and `packaging` are imported at the top, and
a check that raises is reported as one that fails.
"""

import argparse
import configparser
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from focalnet_d2 import __version__
from focalnet_d2.registration import COMPILE_DETECTRON2, INSTALL_DETECTRON2, register

OK, FALLBACK, FAILS = "ok", "falls back", "fails"
DISTRIBUTION = "focalnet-d2"
OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 13)
DETECTRON2_RANGE = SpecifierSet(">=0.6")

PANOPTICAPI = "panopticapi-lite"
IMPORT_NAMES = {"pillow": "PIL"}  # of the packages below whose import name is not their own
COMPILED = ("numpy", "pillow", "pycocotools", "safetensors", "scipy", "torch", "torchvision")  # imported to be sure
_PATHS = "image_root image_dir dirname json_file gt_dir panoptic_json panoptic_root sem_seg_root"
PATH_KEYS = tuple(_PATHS.split())


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
        name: what was looked at.
        status: "ok"; "falls back" when it works, but slower or without something optional; "fails".
        detail: what was found, and what a fallback means.
        fix: what to type or change; empty when there is nothing to do.
    """

    name: str
    status: str
    detail: str
    fix: str = ""


def run_checks() -> list[Check]:
    """All checks, in the order of the report."""
    groups = (
        check_python,
        check_packages,
        check_panopticapi,
        check_detectron2,
        check_compiled_detectron2,
        check_registration,
        check_recipes,
        check_cpu,
        check_cuda,
        check_mps,
        check_cpu_matmul,
        check_forms,
        check_triton,
        check_datasets,
    )
    return [check for group in groups for check in guarded(group)]


def guarded(group: Callable[[], Iterable[Check]]) -> list[Check]:
    """The checks of a group; one that fails in their place when the group raises."""
    try:
        return list(group())
    except Exception as error:
        name = group.__name__.removeprefix("check_").replace("_", " ")
        return [Check(name, FAILS, f"{type(error).__name__}: {error}", "mend the other failing checks, run it again")]


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> list[Check]:
    """The interpreter against the versions that the tests run on."""
    detail = f"{platform.python_version()}, {sys.executable}"
    if version < OLDEST_PYTHON:
        return [Check("python", FAILS, detail, "make a virtual environment with Python 3.10 to 3.13")]
    if version > NEWEST_PYTHON:
        return [Check("python", FALLBACK, f"{detail}: newer than tested", "if something breaks, use Python 3.13")]
    return [Check("python", OK, detail)]


def declared_requirements() -> list[Requirement]:
    """What setup.cfg asks for on this Python, without extras: as installed, else from the file."""
    try:
        lines = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        parser = configparser.ConfigParser()
        parser.read(Path(__file__).resolve().parents[1] / "setup.cfg", encoding="utf-8")
        text = parser.get("options", "install_requires", fallback="")
        lines = [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]
    requirements = [Requirement(line) for line in lines]
    return [one for one in requirements if one.marker is None or one.marker.evaluate({"extra": ""})]


def check_packages(requirements: Iterable[Requirement] | None = None) -> list[Check]:
    """Every declared package: there, inside its range, importable where it holds compiled code."""
    requirements = declared_requirements() if requirements is None else requirements
    return [check_package(one) for one in requirements if one.name != PANOPTICAPI]


def check_package(wanted: Requirement) -> Check:
    """One declared package."""
    supported = f"supported: {wanted.specifier or 'any'}"
    fix = f'{sys.executable} -m pip install "{wanted.name}{wanted.specifier}"'
    version = installed_version(wanted.name)
    if version is None:
        return Check(wanted.name, FAILS, f"not installed ({supported})", fix)
    if not wanted.specifier.contains(version, prereleases=True):
        return Check(wanted.name, FAILS, f"{version} is outside the supported range ({supported})", fix)
    problem = wanted.name in COMPILED and import_problem(IMPORT_NAMES.get(wanted.name, wanted.name))
    if problem:
        return Check(wanted.name, FAILS, f"{version} is installed but broken: {problem}", f"{fix} --force-reinstall")
    return Check(wanted.name, OK, f"{version} ({supported})")


def installed_version(*distributions: str) -> str | None:
    """Version of the first of these distributions that is installed."""
    for name in distributions:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def import_problem(module: str) -> str:
    """Why a module cannot be imported, in one line; empty when it can."""
    try:
        importlib.import_module(module)
    except Exception as error:  # a mismatched binary raises more than ImportError
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return ""


def check_panopticapi() -> list[Check]:
    """The scorer of panoptic results; its package carries two names and outdated metadata."""
    version = installed_version(PANOPTICAPI, "panopticapi")
    problem = import_problem("panopticapi.utils")
    if not problem:
        return [Check("panopticapi", OK, f"{version}")]
    fix = f"{sys.executable} -m pip install --no-deps {PANOPTICAPI}"
    return [Check("panopticapi", FALLBACK, f"no panoptic quality, all else works ({problem})", fix)]


def check_detectron2() -> list[Check]:
    """Detectron2's Python part."""
    problem = import_problem("detectron2")
    if problem:
        return [Check("detectron2", FAILS, problem, INSTALL_DETECTRON2)]
    import detectron2

    version, source = detectron2.__version__, Path(detectron2.__file__).parent
    supported = f"supported: {DETECTRON2_RANGE}"
    if not DETECTRON2_RANGE.contains(version, prereleases=True):
        return [Check("detectron2", FAILS, f"{version} ({supported})", INSTALL_DETECTRON2)]
    return [Check("detectron2", OK, f"{version} ({supported}), {source}")]


def check_compiled_detectron2() -> list[Check]:
    """Detectron2's compiled operators, which nothing here needs."""
    name = "detectron2._C"
    if import_problem("detectron2"):
        return []
    problem = import_problem(name)
    if not problem:
        return [Check(name, OK, "compiled operators are there; nothing in this project needs them")]
    absent = importlib.util.find_spec(name) is None
    reason = "not compiled" if absent else f"made for another Python or torch ({problem})"
    without = "no rotated boxes, no deformable convolution, COCO scoring by pycocotools"
    fix = f"none is needed; to have it, with git and a C++ compiler: {COMPILE_DETECTRON2}"
    return [Check(name, FALLBACK, f"{reason}: {without}; nothing in this project needs it", fix)]


def check_registration() -> list[Check]:
    """Whether our names arrive in Detectron2's registries."""
    register()
    from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY

    backbones = [name for name, _ in BACKBONE_REGISTRY if "focalnet" in name.lower()]
    architecture = "LazyConfigModel"
    if not backbones or architecture not in META_ARCH_REGISTRY:
        return [
            Check(
                "registration",
                FAILS,
                f"backbones {backbones}, {architecture} missing",
                "reinstall focalnet-d2",
            )
        ]
    return [Check("registration", OK, f"{', '.join(backbones)}, {architecture}")]


def check_recipes() -> list[Check]:
    """Whether the recipes were installed with the package."""
    from focalnet_d2.config.lazy import list_recipes, recipe_folder

    names = list_recipes()
    if not names:
        return [Check("recipes", FAILS, f"none in {recipe_folder()}", "reinstall focalnet-d2")]
    return [Check("recipes", OK, f"{len(names)} in {recipe_folder()}")]


def check_cpu() -> list[Check]:
    """The processor, its threads, and whether it has bf16 instructions."""
    import torch

    torch.ones(2, 2, dtype=torch.bfloat16) @ torch.ones(2, 2, dtype=torch.bfloat16)
    name, features = cpu_description()
    native = sorted({"avx512_bf16", "amx_bf16", "bf16"} & features)
    bf16 = f"bf16 by {', '.join(native)}" if native else "bf16 works, but slower than float32"
    threads = f"{os.cpu_count()} logical cores, torch uses {torch.get_num_threads()} threads"
    return [Check("cpu", OK, f"{name}, {threads}; {bf16}")]


def cpu_description(cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, set[str]]:
    """Name and instruction sets of the processor; no instruction sets where the system does not list them."""
    name, features = platform.processor() or platform.machine(), set()
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        elif key.strip() in ("flags", "Features"):
            features = set(value.split())
    return name, features


def check_cuda() -> list[Check]:
    """Every CUDA device with its memory, a kernel that really runs on it, and bf16."""
    import torch

    if torch.cuda.is_available():
        return [check_cuda_device(index) for index in range(torch.cuda.device_count())]
    if torch.version.cuda is None:
        reason, fix = "torch is built without CUDA", "with an NVIDIA GPU: install a CUDA build of torch"
    else:
        reason = f"torch is built for CUDA {torch.version.cuda}, but no device is visible"
        fix = "with an NVIDIA GPU: update its driver, look at CUDA_VISIBLE_DEVICES"
    return [Check("cuda", FALLBACK, f"{reason}: everything runs without it", fix)]


def check_cuda_device(index: int) -> Check:
    """One CUDA device."""
    import torch

    about = torch.cuda.get_device_properties(index)
    detail = f"{about.name}, {about.total_memory / 2**30:.0f} GiB, compute {about.major}.{about.minor}"
    try:
        torch.ones(1, device=f"cuda:{index}").add(1).item()
    except RuntimeError as error:
        fix = "install a torch build for this GPU, or hide the GPU with CUDA_VISIBLE_DEVICES="
        return Check(f"cuda:{index}", FAILS, f"{detail}: {str(error).splitlines()[0]}", fix)
    bf16 = "bf16" if about.major >= 8 else "no bf16 instructions, train.amp=auto takes fp16"
    return Check(f"cuda:{index}", OK, f"{detail}, CUDA {torch.version.cuda}, {bf16}")


def check_mps() -> list[Check]:
    """Apple's GPU; nothing to say on other systems."""
    import torch

    if sys.platform != "darwin":
        return []
    if not torch.backends.mps.is_available():
        return [Check("mps", FALLBACK, "not usable: everything runs on the CPU", "needs Apple silicon")]
    return [Check("mps", OK, "usable; set PYTORCH_ENABLE_MPS_FALLBACK=1 for operators that it lacks")]


def check_cpu_matmul() -> list[Check]:
    """The library that multiplies float32 matrices on the CPU in training and evaluation."""
    from focalnet_d2.kernels.cpu_matmul import choice

    return [Check("matrix products, cpu", OK, choice().reason)]


def check_forms() -> list[Check]:
    """The form of deformable attention and of the focal context that each usable device takes."""
    import torch

    from focalnet_d2.kernels import focal_context
    from focalnet_d2.layers import deformable_attention

    devices = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    seams, checks = {"deformable attention": deformable_attention, "focal context": focal_context}, []
    for (title, seam), device in product(seams.items(), (name for name, usable in devices.items() if usable)):
        forms = seam.available_implementations(device, torch.float32)
        others = ", ".join(form.name for form in forms[1:]) or "none"
        detail = f"{forms[0].name} ({forms[0].detail}); other forms: {others}"
        absent = [(form.name, form.unavailable_reason()) for form in seam.IMPLEMENTATIONS if form not in forms]
        detail += "".join(f"; not {name}: {reason}" for name, reason in absent if reason)
        checks.append(Check(f"{title}, {device}", OK, detail))
    return checks


def check_triton() -> list[Check]:
    """Whether CUDA takes the Triton kernels, and why not; nothing to say without CUDA."""
    import torch

    from focalnet_d2.kernels.triton_gate import KERNELS, why_not_triton

    if not torch.cuda.is_available():
        return []
    reason = next(filter(None, map(why_not_triton, KERNELS)), "")
    if not reason:
        detail = "FOCALNET_D2_TRITON=1: deformable attention and focal context take their Triton kernels"
        return [Check("triton", OK, detail)]
    fix = "none is needed; python benchmarks/gpu.py checks and times the kernels on this card"
    return [Check("triton", FALLBACK, reason, fix)]


def check_datasets() -> list[Check]:
    """The folder of the data sets, and which of the registered ones are really in it."""
    from detectron2.data import DatasetCatalog, MetadataCatalog

    from focalnet_d2.data.datasets import datasets_root

    root = datasets_root()
    where = f"{root}" if "DETECTRON2_DATASETS" in os.environ else f"not set, so ./{root}"
    fix = "export DETECTRON2_DATASETS=FOLDER, the one that holds coco/; the demo makes its own data"
    if not root.is_dir():
        return [Check("DETECTRON2_DATASETS", FALLBACK, f"{where}: no such folder, no data set is found", fix)]
    catalog = {name: dataset_paths(MetadataCatalog.get(name).as_dict()) for name in DatasetCatalog.list()}
    checks = [Check("DETECTRON2_DATASETS", OK, where), data_on_disk(catalog, fix)]
    return checks + incomplete_datasets(catalog)


def dataset_paths(metadata: dict[str, object]) -> list[Path]:
    """Files and folders that a data set's metadata name, images first."""
    return [Path(str(metadata[key])) for key in PATH_KEYS if metadata.get(key)]


def data_on_disk(catalog: dict[str, list[Path]], fix: str) -> Check:
    """The registered data sets whose files are all there."""
    names = sorted(name for name, paths in catalog.items() if paths and all(path.exists() for path in paths))
    if not names:
        return Check("data sets", FALLBACK, f"none of the {len(catalog)} registered ones is on disk", fix)
    return Check("data sets", OK, f"{len(names)} of {len(catalog)} registered ones: {', '.join(names)}")


def incomplete_datasets(catalog: dict[str, list[Path]]) -> list[Check]:
    """Data sets with their annotations on disk and their images not: a path that somebody mistyped."""
    checks = []
    for name, (images, *annotations) in sorted((name, paths) for name, paths in catalog.items() if len(paths) > 1):
        if not images.exists() and all(path.exists() for path in annotations):
            fix = f"put the images into {images}, or correct the path"
            checks.append(Check(name, FALLBACK, f"annotations are there, images are not: {images}", fix))
    return checks


def format_report(checks: Sequence[Check]) -> str:
    """Aligned text: status, name, detail; each fix below its check; a closing line with the counts."""
    width = max(len(check.name) for check in checks)
    lines = [f"{DISTRIBUTION} {__version__} on {platform.platform()}", ""]
    for check in checks:
        lines.append(f"{check.status:<{len(FALLBACK)}}  {check.name:<{width}}  {check.detail}")
        if check.fix:
            indent = " " * (len(FALLBACK) + width + 4)
            lines.append(f"{indent}fix: " + check.fix.replace("\n", f"\n{indent}"))
    counts = {status: sum(check.status == status for check in checks) for status in (OK, FALLBACK, FAILS)}
    verdict = "not usable until the failing checks are mended" if counts[FAILS] else "everything needed works"
    lines += ["", f"{counts[OK]} ok, {counts[FALLBACK]} fall back, {counts[FAILS]} fail: {verdict}"]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report; 0 when everything needed works, else 1."""
    parser = argparse.ArgumentParser(prog=f"{DISTRIBUTION} doctor", description="Checks this installation.")
    parser.add_argument("--json", action="store_true", help="print the checks as JSON")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # what the packages under examination warn of would stand amid the report
    checks = run_checks()
    usable = all(check.status != FAILS for check in checks)
    if options.json:
        report = {"version": __version__, "usable": usable, "checks": [asdict(check) for check in checks]}
        print(json.dumps(report, indent=2))
    else:
        print(format_report(checks))
    return 0 if usable else 1


if __name__ == "__main__":
    sys.exit(main())
