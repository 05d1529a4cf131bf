"""What every test gets: fixed random numbers, and hypothesis without a clock."""

import random

import numpy as np
import pytest
import torch
from hypothesis import settings

settings.register_profile("project", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("project")


@pytest.fixture(autouse=True)
def fixed_random_numbers():
    """The same numbers whichever tests ran before, in whichever process."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
