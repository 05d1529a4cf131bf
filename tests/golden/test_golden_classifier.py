"""The whole classifier against the official logits, through the loader of Microsoft's files."""

import pytest
import torch

from focalnet_d2.modeling.classifier.model import ImageClassifier
from tests.golden.cases import (
    arrays,
    assert_within,
    focalnet_cases,
    focalnet_weight,
    normal,
    read_json,
    relative_error,
    skip_without,
    tensor,
)
from tests.golden.loading import check_shapes, load_state
from tests.golden.reference import reference_input, reference_value
from tests.golden.test_golden_focalnet import build, classifier_variants, each


def classifier(config: dict, num_classes: int) -> ImageClassifier:
    backbone = build(config, out_indices=(len(config["depths"]) - 1,))
    return ImageClassifier(backbone, num_classes=num_classes).eval()


@each(focalnet_cases("classification"))
def test_official_logits(case):
    shapes = read_json("focalnet", case["manifest"])["model"]
    model = classifier(case["config"], len(arrays("focalnet", case["npz"])["logits"][0]))
    report = load_state(model, {name: tensor(focalnet_weight(name, shape)) for name, shape in shapes.items()})
    assert report.layout == "Microsoft classification"
    assert len(report.loaded) == len(shapes)
    with torch.no_grad():
        logits = model.run_network(tensor(normal(case["input"]["seed"], case["input"]["shape"]), torch.float32))
    assert_within(relative_error, {"logits": (logits, arrays("focalnet", case["npz"])["logits"])}, 1e-5)


SMALL = dict(embed_dim=16, depths=(1, 1, 2, 1), focal_levels=(3,) * 4, focal_windows=(3,) * 4)
HUGE = dict(use_conv_embed=True, use_postln=True, use_layerscale=True, use_postln_in_modulation=True)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, [-0.09111, -0.180385, -0.163782, 0.330759, -0.15581, -0.256892, 0.497083]),
        (HUGE, [0.588693, 0.753177, 0.005117, -0.023949, -0.756824, -1.158544, -0.598744]),
    ],
    ids=("plain", "huge"),
)
def test_reference_logits(flags, expected):
    model = classifier({**SMALL, **flags}, 7)
    shapes = {n.removeprefix("backbone.").replace("norm3.", "norm."): v.shape for n, v in model.state_dict().items()}
    load_state(model, {name: reference_value(name, shape) for name, shape in shapes.items()})
    with torch.no_grad():
        logits = model.run_network(reference_input(1, 3, 64, 96))
    torch.testing.assert_close(logits[0], torch.tensor(expected), atol=1e-4, rtol=0)


@pytest.mark.parametrize("variant", classifier_variants())
def test_a_released_file_fills_its_classifier(variant):
    facts = read_json("focalnet", "manifests_classification/variants.json").get(variant.removeprefix("focalnet_"))
    skip_without(facts is not None, f"The entry of {variant} in variants.json")
    shapes = read_json("focalnet", f"manifests_classification/{variant}.json")["model"]
    with torch.device("meta"):
        model = classifier(facts, shapes["head.bias"][0])
    report = check_shapes(model, shapes)
    assert len(report.loaded) == len(shapes) == len(model.state_dict())
    assert (report.missing, report.skipped, report.resized) == ([], {}, {})
    assert bool(report.notes) == (variant == "focalnet_xlarge_fl4")
