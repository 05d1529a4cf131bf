"""A small generated data set for the tests of this folder."""

from pathlib import Path

import pytest

from focalnet_d2.data.generated import generate_dataset


@pytest.fixture(scope="session")
def generated_root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data") / "generated"
    return generate_dataset(root, num_train=40, num_val=20, image_size=(72, 120), seed=16)
