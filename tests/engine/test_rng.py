"""The state of the random generators."""

import random

import numpy as np
import torch

from focalnet_d2.engine.rng import get_rng_state, preserved_rng, set_rng_state


def draw():
    return random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), torch.rand(2).tolist()


def test_a_restored_state_gives_the_same_numbers():
    random.gauss(0, 1), np.random.randn()  # leaves half a pair behind in both
    state = get_rng_state()
    first = draw()
    draw()
    set_rng_state(state)
    assert draw() == first


def test_a_state_survives_a_file_without_pickled_code(tmp_path):
    state = get_rng_state()
    first = draw()
    torch.save(state, tmp_path / "state.pth")
    set_rng_state(torch.load(tmp_path / "state.pth", weights_only=True))
    assert draw() == first


def test_drawing_inside_changes_nothing_outside():
    state = get_rng_state()
    expected = draw()
    set_rng_state(state)
    with preserved_rng():
        draw()
        torch.manual_seed(1)
    assert draw() == expected
