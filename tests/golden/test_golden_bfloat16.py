"""bf16 stays as close to float32 as it was measured to be (`benchmarks/run.py precision`), within a factor of three."""

import pytest

from tests.golden.bfloat16 import (
    dino_errors,
    dino_training_errors,
    focalnet_errors,
    mask2former_errors,
    mask2former_training_errors,
)
from tests.golden.cases import dino_cases, focalnet_cases, skip_without
from tests.golden.mask2former_cases import mask2former_cases

LIMITS = [
    (focalnet_errors, focalnet_cases(), "mini_L_fl4_64x96_b2", dict(features=0.02, gradients=0.05)),
    (dino_errors, dino_cases(), "s4", dict(features=0.02, logits=0.015, boxes=0.025)),
    (dino_training_errors, dino_cases(), "s4", dict(losses=0.1, gradients=0.2)),
    # Not A_full, where bits of an attention mask lie so near their threshold that they decide the error.
    (mask2former_errors, mask2former_cases("full"), "A8_full", dict(features=0.02, logits=0.025, masks=0.03)),
    (mask2former_training_errors, mask2former_cases("loss"), "A_loss", dict(losses=0.25, gradients=0.15)),
]


@pytest.mark.parametrize(("errors", "cases", "name", "limits"), LIMITS, ids=[row[0].__name__ for row in LIMITS])
def test_error_of_bf16(errors, cases, name, limits):
    case = next((case for case in cases if case["name"] == name), None)
    skip_without(case is not None, f"The case {name}")
    found = errors(case)
    assert found.pop("same_queries", 1.0) > 0.95
    assert found.keys() == limits.keys()
    assert {kind: error for kind, error in found.items() if not 0 < error <= limits[kind]} == {}
