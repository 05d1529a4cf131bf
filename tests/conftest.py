"""What every test gets: fixed random numbers, and hypothesis without a clock; which tests are slow; a tiny data set."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

settings.register_profile("project", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("project")

FOLDER = Path(__file__).parent
# Files and folders whose tests train, compile, build a package, or start processes that import everything again.
SLOW = (
    "benchmarks",
    "commands/test_processes.py",
    "data/checks/test_mended_copies.py",
    "data/test_albumentations.py",
    "docs/test_examples.py",
    "docs/test_slurm.py",
    "engine/test_distributed.py",
    "engine/test_kills.py",
    "engine/test_replay.py",
    "engine/test_sharding.py",
    "export/test_atss.py",
    "export/test_rcnn.py",
    "export/test_suppression_loops.py",
    "export/test_command.py",
    "export/test_half.py",
    "export/test_quantization.py",
    "export/test_without_torch.py",
    "kernels/test_compiler.py",
    "kernels/test_deformable_attention_triton.py",
    "kernels/test_focal_context_triton.py",
    "kernels/test_triton_compiling.py",
    "planning/test_batch_choice.py",
    "planning/test_training_step.py",
    "test_front_door.py",
    "test_model_zoo.py",
    "test_old_files.py",
    "test_packaging.py",
    "test_torch_compile.py",
    "test_train_channels.py",
    "test_train_again.py",
    "test_train_classifier.py",
    "test_train_epochs.py",
    "test_train_mask2former.py",
    "test_train_net.py",
    "test_train_shards.py",
    "test_train_upernet.py",
    "tools/test_demo.py",
    "verification/test_verify.py",
)


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of `SLOW`."""
    slow = {FOLDER / name for name in SLOW}
    for item in items:
        if slow.intersection([item.path, *item.path.parents]):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def fixed_random_numbers():
    """The same numbers whichever tests ran before, in whichever process."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def tiny_data(tmp_path_factory):
    """The data set of `tests.tiny_run`, in place of the generated one while the tests of a module run."""
    from tests.tiny_run import tiny_dataset  # most tests do without what it imports

    with tiny_dataset(tmp_path_factory.mktemp("datasets")) as root:
        yield root
