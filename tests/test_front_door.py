"""`import focalnet_d2`: light, known to Detectron2 in any order of imports, with names that are imported when used."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import focalnet_d2
from focalnet_d2.config.lazy import RecipeError

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "weights" / "dino_focalnet_mini_day.safetensors"
RECIPE = "dino_focalnet_mini_quickstart"
HEAVY = {"torch", "detectron2", "numpy", "omegaconf", "hydra", "yaml"}
HELP_OF_ALL = """
import contextlib, importlib, io, sys
from focalnet_d2.commands.main import COMMANDS

for name, command in COMMANDS.items():
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as text:
        importlib.import_module(command.module).main(["--help"])
    assert f"usage: focalnet-d2 {name}" in text.getvalue()
    heavy = {"torch", "detectron2"} & sys.modules.keys()
    assert not heavy, f"{name} --help imports {heavy}"
"""


def run_python(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("-c", "import focalnet_d2; dir(focalnet_d2)"),
        ("-m", "focalnet_d2.commands.main", "--help"),
        ("-m", "focalnet_d2.commands.main", "--version"),
        ("train_net.py", "--help"),
    ],
)
def test_help_and_version_import_neither_torch_nor_detectron2(arguments):
    done = run_python("-X", "importtime", *arguments)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert done.returncode == 0, done.stderr
    assert "focalnet_d2" in imported
    assert imported & HEAVY == set()


def test_help_of_no_command_imports_torch_or_detectron2():
    done = run_python("-c", HELP_OF_ALL)
    assert done.returncode == 0, done.stderr


# Imports by which a program may begin. The child processes share one import of torch, which takes most of the time.
ORDERS = (
    "import focalnet_d2, detectron2.data, detectron2.modeling",
    "import detectron2.data, detectron2.modeling, focalnet_d2",
    "import detectron2.data, focalnet_d2, detectron2.modeling",
    "import focalnet_d2; from detectron2.engine import DefaultPredictor",
    "from detectron2.engine import DefaultPredictor; import focalnet_d2",
    "import focalnet_d2, detectron2.data.catalog",
    "import focalnet_d2, detectron2.evaluation",
    "import focalnet_d2; focalnet_d2.recipe_to_cfg",
    "from focalnet_d2 import FocalNet",
    "import focalnet_d2.data.datasets",
    "import focalnet_d2.data.catalog",
    "import focalnet_d2.data.mappers",
    "import focalnet_d2.backbone.focalnet",
    "import focalnet_d2.checkpoint.layout",
    "import focalnet_d2.engine.precision",
    "import focalnet_d2.yacs",
    "import focalnet_d2.modeling.focalnet",  # the name of 0.1.0
    "import dino.model",
    "import focalnet_d2, threading; t = threading.Thread(target=__import__, args=('detectron2.modeling',)); "
    "t.start(); t.join()",
    "import focalnet_d2, importlib; importlib.reload(focalnet_d2)",
    "import focalnet_d2.registration as r; r.register(); r.register()",
)
CHECK = """
import logging, os, sys, traceback, warnings
import torch, torchvision

warnings.simplefilter("ignore", DeprecationWarning)

class Failing(logging.Handler):
    def emit(self, record):
        raise AssertionError(record.getMessage())

def check():
    import focalnet_d2
    from detectron2.data import DatasetCatalog, MetadataCatalog
    assert "generated_val" in DatasetCatalog.list()
    assert len(MetadataCatalog.get("ade20k_panoptic_val").stuff_classes) == 150
    from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY
    from focalnet_d2.backbone import focalnet
    assert BACKBONE_REGISTRY.get("FocalNet") is focalnet.FocalNet is focalnet_d2.FocalNet
    assert {"build_focalnet_backbone", "build_focalnet_fpn_backbone"} <= {name for name, _ in BACKBONE_REGISTRY}
    assert META_ARCH_REGISTRY.get("LazyConfigModel")
    loaders = {type(module.__spec__.loader).__name__ for module in list(sys.modules.values())
               if getattr(module, "__spec__", None) and module.__name__.split(".")[0] in ("detectron2", "focalnet_d2")}
    assert "_WatchedLoader" not in loaders and "_WatchedLoader" != type(focalnet.__loader__).__name__, loaders
    assert [type(finder).__name__ for finder in sys.meta_path].count("_RegistrationFinder") == 1

def run(case):
    logging.getLogger("focalnet_d2.registration").addHandler(Failing())
    exec(case, {})
    check()

for case in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        try:
            run(case)
        except BaseException:
            print(f"failed: {case}", file=sys.stderr)
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    os.waitpid(child, 0)
print("all done")
"""


def test_detectron2_knows_our_names_in_any_order_of_imports():
    done = run_python("-c", CHECK, *ORDERS)
    assert done.stdout.endswith("all done\n"), done.stderr
    assert "failed: " not in done.stderr, done.stderr


WITHOUT_HYDRA = """
import sys

class Blocker:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] == "hydra":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker)
import focalnet_d2
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.data import DatasetCatalog
print("LazyConfigModel" in META_ARCH_REGISTRY, "generated_val" in DatasetCatalog.list())
for use in (focalnet_d2.registration.register, lambda: focalnet_d2.load_model, lambda: focalnet_d2.list_recipes):
    try:
        use()
    except ModuleNotFoundError as error:
        print(error.name.split(".")[0])
"""


def test_a_registration_that_fails_leaves_detectron2_alone_and_is_raised_on_first_use():
    done = run_python("-c", WITHOUT_HYDRA)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["False", "True", "hydra", "hydra", "hydra"]
    assert "The names of focalnet_d2 are not in Detectron2's registries: No module named 'hydra" in done.stderr


def test_each_name_is_what_its_module_has():
    from focalnet_d2.backbone.focalnet import FocalNet
    from focalnet_d2.checkpoint import load_checkpoint
    from focalnet_d2.config.lazy import list_recipes, load_recipe
    from focalnet_d2.inference.loading import load_model
    from focalnet_d2.inference.predictor import Predictor
    from focalnet_d2.yacs import recipe_to_cfg

    for thing in (FocalNet, Predictor, load_checkpoint, list_recipes, load_recipe, load_model, recipe_to_cfg):
        assert getattr(focalnet_d2, thing.__name__) is thing
        assert thing.__name__ in focalnet_d2.__all__
    assert len(focalnet_d2.__all__) == 7
    assert set(focalnet_d2.__all__) | {"__version__"} <= set(dir(focalnet_d2))
    assert all(getattr(focalnet_d2, name).__doc__ for name in focalnet_d2.__all__)


def test_type_checkers_see_the_same_names():
    stub = ast.parse((ROOT / "focalnet_d2" / "__init__.pyi").read_text(encoding="utf-8"))
    imported = {
        alias.asname: f"focalnet_d2.{node.module}"
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported == focalnet_d2._HOMES
    assert sorted(imported) == focalnet_d2.__all__


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'focalnet_d2' has no attribute 'load_models'"):
        focalnet_d2.load_models  # noqa: B018


def test_reloading_adds_no_second_finder():
    before = list(sys.meta_path)
    importlib.reload(focalnet_d2)
    assert sys.meta_path == before


@pytest.fixture(scope="module")
def model():
    return focalnet_d2.load_model(RECIPE, weights=WEIGHTS)


def test_a_model_is_loaded_with_its_weights_and_ready_to_predict(model):
    loaded = focalnet_d2.load_checkpoint(model, WEIGHTS, complete=True)
    assert not model.training
    assert {value.device.type for value in model.parameters()} == {"cpu"}
    assert "missing" not in str(loaded)
    with torch.no_grad():
        (result,) = model([{"image": torch.zeros(3, 64, 64)}])
    assert len(result["instances"]) > 0


def test_it_predicts_what_detectron2s_predictor_does(model):
    from detectron2.engine import DefaultPredictor

    predictor = DefaultPredictor(focalnet_d2.recipe_to_cfg(RECIPE, ["train.device=cpu"], weights=WEIGHTS))
    seen = []
    predictor.model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    bgr = np.random.RandomState(0).randint(0, 256, (60, 90, 3), dtype=np.uint8)
    expected = predictor(bgr)["instances"]
    with torch.no_grad():
        (result,) = model(seen[0])
    assert len(expected) > 0
    assert torch.equal(result["instances"].scores, expected.scores)
    assert torch.equal(result["instances"].pred_boxes.tensor, expected.pred_boxes.tensor)


def test_overrides_and_the_recipes_own_weights_are_used(caplog):
    tiny = ["model.num_select=7", f"train.init_checkpoint={WEIGHTS}"]
    model = focalnet_d2.load_model(RECIPE, overrides=tiny)
    with torch.no_grad():
        (result,) = model([{"image": torch.zeros(3, 64, 64)}])
    assert len(result["instances"]) <= 7
    assert "random" not in caplog.text


def test_random_weights_are_said_to_be_random(caplog):
    focalnet_d2.load_model("classifier_focalnet_mini_folder")
    assert "the weights of this ImageClassifier are random" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (dict(recipe="dino_focalnet_mini_quick"), RecipeError, RECIPE),
        (dict(recipe=RECIPE, overrides=["model.nonsense=1"]), RecipeError, "model.nonsense"),
        (dict(recipe=RECIPE, device="gpu"), ValueError, "gpu"),
        (dict(recipe=RECIPE, weights="nowhere.pth"), FileNotFoundError, "nowhere.pth"),
        (dict(recipe="mask2former_focalnet_mini_quickstart", weights=WEIGHTS), ValueError, "holds a DINO"),
    ],
)
def test_what_does_not_fit_is_named(arguments, error, words):
    with pytest.raises(error, match=words):
        focalnet_d2.load_model(**arguments)
