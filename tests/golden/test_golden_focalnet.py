"""FocalNet against the official numbers: outputs, gradients, classification logits, loading of classifier weights."""

import pytest
import torch

from focalnet_d2.backbone.focalnet import FocalNet
from tests.golden.cases import (
    arrays,
    assert_within,
    device,
    focalnet_cases,
    focalnet_weight,
    golden_dir,
    normal,
    read_json,
    relative_error,
    skip_without,
    tensor,
)
from tests.golden.loading import check_shapes, load_state

OUTPUT_TOLERANCE = {torch.float64: 2e-7, torch.float32: 1e-5}
GRADIENT_TOLERANCE = {torch.float64: 2e-7, torch.float32: 5e-5}
SETTINGS = (
    "embed_dim",
    "depths",
    "mlp_ratio",
    "patch_norm",
    "focal_levels",
    "focal_windows",
    "use_conv_embed",
    "use_postln",
    "use_postln_in_modulation",
    "use_layerscale",
    "normalize_modulator",
)

both_precisions = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=("float64", "float32"))


def each(cases):
    return pytest.mark.parametrize("case", cases, ids=lambda case: case["name"])


def build(config: dict, out_indices=None) -> FocalNet:
    stages = config.get("out_indices", range(4)) if out_indices is None else out_indices
    settings = {name: config[name] for name in SETTINGS if name in config}
    return FocalNet(**settings, out_features=tuple(f"res{stage + 2}" for stage in stages)).eval()


def official_state(manifest: str, salt: str = "") -> dict:
    shapes = read_json("focalnet", manifest)["model"]
    return {name: tensor(focalnet_weight(name, shape, salt)) for name, shape in shapes.items()}


def run_backbone(model, case, dtype):
    """Outputs of the case's input, and the input with its gradient switched on."""
    images = tensor(normal(case["input"]["seed"], case["input"]["shape"]), dtype).to(device()).requires_grad_()
    return model.to(device(), dtype)(images), images


def against_golden(outputs: dict, case: dict) -> dict:
    golden = arrays("focalnet", case["npz"])
    assert sorted(outputs) == sorted(case["outputs"])
    return {name: (outputs[name], golden[name]) for name in case["outputs"]}


@both_precisions
@each(focalnet_cases("backbone"))
def test_backbone_outputs(case, dtype):
    model = build(case["config"])
    load_state(model, official_state(case["manifest"]))
    with torch.no_grad():
        outputs, _ = run_backbone(model, case, dtype)
    assert_within(relative_error, against_golden(outputs, case), OUTPUT_TOLERANCE[dtype])


@both_precisions
@pytest.mark.parametrize("loss_name", ["sumsq", "cotangent"])
@each([case for case in focalnet_cases("backbone") if "grads" in case])
def test_backbone_gradients(case, loss_name, dtype):
    model = build(case["config"])
    load_state(model, official_state(case["manifest"]))
    outputs, images = run_backbone(model, case, dtype)
    loss = LOSSES[loss_name](outputs)
    loss.backward()
    golden = arrays("focalnet", case["npz"])
    parameters = dict(model.named_parameters())
    assert_within(relative_error, {"loss": (loss, golden[f"loss/{loss_name}"])}, OUTPUT_TOLERANCE[dtype])
    gradients = {name: (parameters[name].grad, golden[f"grad_{loss_name}/{name}"]) for name in case["grads"]}
    gradients["input"] = (images.grad, golden[f"grad_{loss_name}/input"])
    assert_within(relative_error, gradients, GRADIENT_TOLERANCE[dtype])


def sum_of_squares(outputs: dict):
    return sum(feature.square().sum() for feature in outputs.values())


def cotangent(outputs: dict):
    """Inner product with recorded noise; the seed of `res{k}` is 1000 + k."""
    return sum(
        (feature * tensor(normal(1000 + int(name[3:]), feature.shape), feature.dtype).to(feature.device)).sum()
        for name, feature in outputs.items()
    )


LOSSES = {"sumsq": sum_of_squares, "cotangent": cotangent}


@both_precisions
@each(focalnet_cases("classification"))
def test_logits_through_the_last_output_norm(case, dtype):
    """A classifier's `norm` put into the norm of the last stage gives its pooled features and logits."""
    model, state = build(case["config"], out_indices=(3,)), official_state(case["manifest"])
    load_state(model, state)
    model.norm3.load_state_dict({"weight": state["norm.weight"], "bias": state["norm.bias"]})
    with torch.no_grad():
        outputs, _ = run_backbone(model, case, dtype)
    pooled = outputs["res5"].mean((2, 3)).cpu()
    logits = pooled @ state["head.weight"].to(dtype).T + state["head.bias"].to(dtype)
    golden = arrays("focalnet", case["npz"])
    pairs = {"pooled": (pooled, golden["pooled"]), "logits": (logits, golden["logits"])}
    assert_within(relative_error, pairs, OUTPUT_TOLERANCE[dtype])


@both_precisions
@each(focalnet_cases("load_cls_checkpoint"))
def test_loading_a_classifier_resizes_what_differs(case, dtype):
    model = build(case["config"])
    load_state(model, official_state(case["model_manifest"]))
    kept = {name: model.state_dict()[name].clone() for name in case["not_in_checkpoint"]}
    load_state(model, official_state(case["manifest"], case["salt"]))
    loaded, golden = model.state_dict(), arrays("focalnet", case["npz"])
    for name, value in kept.items():
        assert torch.equal(loaded[name], value), f"{name} is not in the checkpoint, yet it changed"
    stored = {key: (loaded[key.removeprefix("param/")], golden[key]) for key in golden if key.startswith("param/")}
    if stored:
        assert_within(relative_error, stored, 0.0)
    with torch.no_grad():
        outputs, _ = run_backbone(model, case, dtype)
    assert_within(relative_error, against_golden(outputs, case), OUTPUT_TOLERANCE[dtype])


@each(focalnet_cases("load_cls_checkpoint"))
def test_report_of_a_classifier_names_what_was_resized_and_left_out(case):
    model = build(case["config"])
    report = load_state(model, official_state(case["manifest"], case["salt"]))
    assert sorted(report.resized) == sorted(case["resized"])
    assert sorted(report.skipped) == sorted(case["ignored_checkpoint_keys"])
    assert sorted(report.missing) == sorted(case["not_in_checkpoint"])


def classifier_variants() -> list[str]:
    folder = golden_dir("focalnet") / "manifests_classification"
    return sorted(path.stem for path in folder.glob("focalnet_*.json"))


@pytest.mark.parametrize("variant", classifier_variants())
def test_released_classifier_fits_its_backbone(variant):
    """Every key of a released file finds its place; only the output norms, which no classifier has, stay fresh."""
    facts = read_json("focalnet", "manifests_classification/variants.json").get(variant.removeprefix("focalnet_"))
    skip_without(facts is not None, f"The entry of {variant} in variants.json")
    shapes = read_json("focalnet", f"manifests_classification/{variant}.json")["model"]
    with torch.device("meta"):
        model = build(facts)
    assert sum(p.numel() for p in model.parameters()) == facts["backbone_parameters"]
    assert len(model.state_dict()) == facts["backbone_keys"]
    report = check_shapes(model, shapes)
    assert sorted(report.missing) == sorted(f"norm{i}.{kind}" for i in range(4) for kind in ("weight", "bias"))
    assert sorted(report.skipped) == sorted(name for name in shapes if name.startswith(("norm.", "head.")))
    assert not report.resized
