"""DINO against the official numbers: evaluation, the training step with recorded noise, gradients."""

import math
from contextlib import contextmanager
from functools import lru_cache
from typing import ClassVar

import pytest
import torch

from dino.denoising import DenoisingQueries
from focalnet_d2.set_prediction.postprocessing import select_detections
from tests.golden.cases import (
    absolute_error,
    arrays,
    assert_within,
    device,
    dino_case_id,
    dino_cases,
    dino_weight,
    l2_error,
    read_json,
    relative_error,
    skip_without,
    tensor,
)
from tests.golden.dino_cases import (
    SameSideOfKinks,
    break_near_ties_as,
    case_named,
    loaded_model,
    mapper_dicts,
    num_select,
    official_names_of_parameters,
    recorded_noise,
    recorded_targets,
)
from tests.golden.official_names import official_dino_names

FLOAT64, FLOAT32 = torch.float64, torch.float32
LOSS_TOLERANCE = {FLOAT64: 1e-5, FLOAT32: 1e-4}
GRADIENT_TOLERANCE = {FLOAT64: 1e-4, FLOAT32: 5e-3}
STEPS = {"logits": (1, 3), "hs": (1, 5, 30), "": (1, 25)}  # how sparsely queries are stored

both_precisions = pytest.mark.parametrize("dtype", [FLOAT64, FLOAT32], ids=("float64", "float32"))


@pytest.fixture(scope="module")
def case(request):
    """Of module scope, so that the tests of one case follow each other and share its model."""
    return request.param


def each(cases):
    return pytest.mark.parametrize("case", cases, ids=dino_case_id, indirect=True)


def tolerance(name: str, case: dict, dtype: torch.dtype) -> float:
    """What the README of the data accepts, by the quantity and the depth of the decoder."""
    deep = case["dec_layers"] > 2
    if name.endswith("boxes"):
        return 1e-6 if dtype == FLOAT64 else 5e-5 if deep else 1e-5
    if name.endswith("logits") or name.startswith("hs"):
        return 1e-5 if dtype == FLOAT64 else 5e-4 if deep else 1e-4
    return 1e-5 if dtype == FLOAT64 else 1e-4


def assert_as_stored(ours: dict, case: dict, stored: dict, dtype: torch.dtype) -> None:
    """Compares by absolute error what both have; `ours` may hold more queries than were stored."""
    by_tolerance = {}
    for name in ours.keys() & stored.keys():
        value = every_stored_query(name, ours[name], stored[name])
        by_tolerance.setdefault(tolerance(name, case, dtype), {})[name] = (value, stored[name])
    for limit, pairs in by_tolerance.items():
        assert_within(absolute_error, pairs, limit)


def every_stored_query(name: str, value, stored):
    """Every n-th query; which n, the number of stored ones tells."""
    kind = "logits" if name == "logits" else "hs" if name.startswith("hs_") else ""
    for step in STEPS[kind]:
        if len(range(0, value.shape[1], step)) == stored.shape[1]:
            return value[:, ::step]
    return value


def named_outputs(outputs: dict) -> dict:
    """The output dict in the names of the stored arrays."""
    sets = {"": outputs, "interm_": outputs["enc_outputs"]}
    sets |= {f"aux{i}_": layer for i, layer in enumerate(outputs["aux_outputs"])}
    if "dn_outputs" in outputs:
        sets["dn_"] = outputs["dn_outputs"]
        sets |= {f"dn_aux{i}_": layer for i, layer in enumerate(outputs["dn_outputs"]["aux_outputs"])}
    named = {"interm_proposals": outputs["enc_outputs"]["proposals"]}
    for prefix, predictions in sets.items():
        named |= {f"{prefix}logits": predictions["pred_logits"], f"{prefix}boxes": predictions["pred_boxes"]}
    return named


class Recorder:
    """Keeps what passes through the parts of a model during one forward pass."""

    def __init__(self, model):
        self.seen, self.handles = {}, []
        parts = {name: model.get_submodule(name) for name in ("backbone.bottom_up", "backbone", "encoder", "decoder")}
        for name, module in {**parts, "last encoder layer": model.encoder.layers[-1]}.items():
            hook = lambda _module, inputs, output, name=name: self.seen.__setitem__(name, (inputs, output))  # noqa: E731
            self.handles.append(module.register_forward_hook(hook))

    def close(self) -> None:
        for handle in self.handles:
            handle.remove()

    def named(self) -> dict:
        """Intermediate tensors, thinned as in the stored arrays."""
        features = list(self.seen["backbone.bottom_up"][1].values())
        levels = list(self.seen["backbone"][1].values())
        (_, positions, spatial_shapes, valid_ratios, *_), memory = self.seen["encoder"]
        hidden_states, _ = self.seen["decoder"][1]
        return {
            **{f"feat{i}": feature[:, ::4, ::3, ::3] for i, feature in enumerate(features)},
            **{f"src{i}": level[:, ::4, ::3, ::3] for i, level in enumerate(levels)},
            "memory": memory[:, ::16, ::4],
            "enc_last": self.seen["last encoder layer"][1][:, ::16, ::4],
            "lvl_pos": positions[:, ::16, ::4],
            "spatial_shapes": torch.tensor([tuple(shape) for shape in spatial_shapes]),
            "valid_ratios": valid_ratios,
            "hs_first": hidden_states[0][..., ::4],
            "hs_last": hidden_states[-1][..., ::4],
            "hs": torch.stack(hidden_states)[:, :, ::3, ::4],
        }


@lru_cache(maxsize=2)
def evaluate(name: str, dtype: torch.dtype) -> tuple[dict, dict]:
    """Outputs and intermediate tensors of the case's batch in eval mode."""
    case = case_named(name)
    model, stored = loaded_model(case["name"], dtype).eval(), arrays(case["kind"], f"{case['name']}_eval.npz")
    recorder = Recorder(model)
    if dtype == FLOAT32:
        recorder.handles.append(break_near_ties_as(model, stored["topk_idx"]))
    try:
        with torch.no_grad():
            images, padding_mask, _ = model.preprocess(mapper_dicts(case, case.get("eval", case)))
            outputs = model.run_network(images, padding_mask)
    finally:
        recorder.close()
    return outputs, recorder.named()


def evaluation_cases() -> list[dict]:
    return [case for case in dino_cases() if "eval" in case or "image_key" in case]


@both_precisions
@each(evaluation_cases())
def test_eval_outputs_on_a_padded_batch(case, dtype):
    outputs, intermediate = evaluate(case["name"], dtype)
    stored = arrays(case["kind"], f"{case['name']}_eval.npz")
    assert torch.equal(outputs["enc_outputs"]["topk_indices"].cpu(), tensor(stored["topk_idx"]).long())
    ours = intermediate | named_outputs(outputs)
    unknown = {name for name in stored if not name.startswith(("post", "topk"))} - ours.keys()
    assert not unknown, f"stored arrays that nothing is compared with: {unknown}"
    assert_as_stored(ours, case, stored, dtype)


@each(evaluation_cases())
def test_post_processing(case):
    """From the stored outputs; where only a part of them was stored, from those of our float64 model."""
    stored = arrays(case["kind"], f"{case['name']}_eval.npz")
    logits, boxes = tensor(stored["logits"]), tensor(stored["boxes"])
    if logits.shape[1] < case["num_queries"]:
        outputs, _ = evaluate(case["name"], FLOAT64)
        logits, boxes = outputs["pred_logits"], outputs["pred_boxes"]
    sizes = case.get("eval", case)["orig_hw"]
    clip = case["layout"] != "focalnet_dino"
    results = select_detections(logits, boxes, sizes, num_select=num_select(case), clip_boxes=clip)
    for i, result in enumerate(results):
        assert result.image_size == tuple(sizes[i])
        assert torch.equal(result.pred_classes.cpu(), tensor(stored[f"post{i}_labels"]).long())
        assert absolute_error(result.scores, stored[f"post{i}_scores"]) <= 1e-6
        assert absolute_error(result.pred_boxes.tensor, stored[f"post{i}_boxes"]) <= 1e-3


@each(evaluation_cases())
def test_the_whole_model_from_image_to_instances(case):
    """As a user calls it. Equal scores may come in another order, so boxes are looked up by class and score."""
    model, stored = loaded_model(case["name"], FLOAT64).eval(), arrays(case["kind"], f"{case['name']}_eval.npz")
    with torch.no_grad():
        results = model(mapper_dicts(case, case.get("eval", case)))
    for i, result in enumerate(results):
        found = result["instances"]
        assert absolute_error(found.scores, stored[f"post{i}_scores"]) <= 1e-6
        labels, boxes = tensor(stored[f"post{i}_labels"]), tensor(stored[f"post{i}_boxes"])
        same = (found.pred_classes.cpu()[:, None] == labels[None]) & (
            (found.pred_boxes.tensor.cpu()[:, None] - boxes[None]).abs().amax(-1) < 1e-3
        )
        assert same.any(1).all()
        assert same.any(0).all()


class TrainingStep:
    """One forward and backward pass with the recorded noise."""

    _last: tuple = (None, None)
    _kinks: ClassVar[dict[str, SameSideOfKinks]] = {}

    def __init__(self, case: dict, dtype: torch.dtype):
        self.model = loaded_model(case["name"], dtype).train()
        self.model.zero_grad()
        self.targets = recorded_targets(case, dtype)
        stored = arrays(case["kind"], f"{case['name']}_train.npz")
        noise = recorded_noise(case, self.model.denoising.label_noise_ratio, dtype)
        self.denoising = self.model.denoising(self.targets, noise)
        images, padding_mask, _ = self.model.preprocess(mapper_dicts(case, case["train"]))
        with self._rounding_of_float64(case, dtype, stored["topk_idx"]):
            self.outputs = self.model.run_network(images, padding_mask, self.denoising)
        self.losses = self.model.criterion(self.outputs, self.targets, self.denoising)
        sum(self.losses.values()).backward()
        self.gradients = {name: parameter.grad for name, parameter in self.model.named_parameters()}

    @contextmanager
    def _rounding_of_float64(self, case: dict, dtype: torch.dtype, topk_idx):
        """float32 follows float64 where rounding alone decides: near ties of scores, units at zero."""
        kinks = self._kinks.setdefault(case["name"], SameSideOfKinks())
        if dtype == FLOAT64:
            with kinks.record(self.model):
                yield
            return
        if not kinks.positive:
            TrainingStep(case, FLOAT64)
        hook = break_near_ties_as(self.model, topk_idx)
        with kinks.replay(self.model):
            yield
        hook.remove()

    @classmethod
    def of(cls, case: dict, dtype: torch.dtype) -> "TrainingStep":
        """The step of a case; computed once for the tests that follow each other."""
        if cls._last[0] != (case["name"], dtype):
            cls._last = ((case["name"], dtype), cls(case, dtype))
        return cls._last[1]


@pytest.fixture(scope="module")
def step(request):
    return TrainingStep.of(*request.param)


def official_loss_name(name: str, case: dict) -> str:
    if case["kind"] == "stable_dino":
        return name
    return name.replace("loss_class", "loss_ce").replace("_enc", "_interm")


each_step = pytest.mark.parametrize(
    "step",
    [(case, dtype) for case in dino_cases("train") for dtype in (FLOAT64, FLOAT32)],
    ids=lambda pair: f"{dino_case_id(pair[0])}-{str(pair[1]).removeprefix('torch.')}",
    indirect=True,
)


def case_of(request) -> tuple[dict, dict, dict, torch.dtype]:
    """Case, stored arrays, stored numbers and type of the running test's step."""
    case, dtype = request.node.callspec.params["step"]
    return (
        case,
        arrays(case["kind"], f"{case['name']}_train.npz"),
        read_json(case["kind"], f"{case['name']}_train.json"),
        dtype,
    )


@each_step
def test_denoising_queries(step, request):
    case, stored, numbers, _ = case_of(request)
    queries = step.denoising
    assert queries.num_groups == max(1, numbers["num_dn_group"])  # Stable-DINO makes no group without objects
    assert queries.num_queries == numbers["pad_size"]
    mask = queries.attention_mask(case["num_queries"])
    assert torch.equal(mask.cpu(), tensor(stored["attn_mask"]))
    if not queries.num_queries:
        return
    assert torch.equal(queries.labels.cpu(), tensor(stored["noised_labels"]).long())
    # Sides below 0 become 0 on their way into the decoder; Stable-DINO cuts them before.
    assert absolute_error(queries.boxes.clamp(min=0), stored["noised_boxes"].clip(min=0)) <= 1e-6
    assert absolute_error(queries.box_logits, stored["dn_query_boxes_unsigmoid"]) <= 1e-5
    ids = tensor(stored["dn_query_label_ids"]).long().to(device())
    embedded = step.model.denoising.label_enc.weight[ids.clamp(min=0)] * (ids >= 0)[..., None]
    assert torch.equal(queries.query_feat, embedded)


@each_step
def test_training_outputs(step, request):
    case, stored, _, dtype = case_of(request)
    assert torch.equal(step.outputs["enc_outputs"]["topk_indices"].cpu(), tensor(stored["topk_idx"]).long())
    assert_as_stored(named_outputs(step.outputs), case, stored, dtype)


def sets_of_matched_outputs(outputs: dict) -> dict:
    named = {"final": outputs, "interm": outputs["enc_outputs"]}
    return named | {f"aux{i}": layer for i, layer in enumerate(outputs["aux_outputs"])}


@each_step
def test_assignments(step, request):
    _, stored, _, _ = case_of(request)
    for name, outputs in sets_of_matched_outputs(step.outputs).items():
        pairs = step.model.criterion.matcher(outputs["pred_logits"], outputs["pred_boxes"], step.targets)
        for i, (queries, objects) in enumerate(pairs):
            expected = stored[f"match_{name}_{i}"]
            assert sorted(zip(queries.tolist(), objects.tolist())) == sorted(zip(*expected.tolist()))


def assert_losses(losses: dict, case: dict, numbers: dict, limit: float) -> None:
    """Ours are the official ones times their weights, under the same set of names."""
    ours = {official_loss_name(name, case): loss for name, loss in losses.items()}
    assert ours.keys() == numbers["weights"].keys()
    expected = {name: weight * numbers["losses"][name] for name, weight in numbers["weights"].items()}
    assert_within(relative_error, {name: (ours[name], expected[name]) for name in expected}, limit)
    assert float(sum(loss.detach() for loss in losses.values())) == pytest.approx(numbers["total"], rel=limit)


@each_step
def test_losses(step, request):
    case, _, numbers, dtype = case_of(request)
    assert_losses(step.losses, case, numbers, LOSS_TOLERANCE[dtype])


@each(dino_cases("train"))
def test_losses_from_the_stored_outputs(case):
    """The criterion alone, without any network."""
    stored, numbers = (
        arrays(case["kind"], f"{case['name']}_train.npz"),
        read_json(case["kind"], f"{case['name']}_train.json"),
    )

    def predictions(prefix: str) -> dict:
        """A batch without objects has no arrays of denoising queries."""
        arrays_of = {kind: stored.get(f"{prefix}{kind}", stored[kind][:, :0]) for kind in ("logits", "boxes")}
        return {f"pred_{kind}": tensor(array, FLOAT64).to(device()) for kind, array in arrays_of.items()}

    earlier = range(case["dec_layers"] - 1)
    outputs = {**predictions(""), "aux_outputs": [predictions(f"aux{i}_") for i in earlier]}
    outputs["enc_outputs"] = predictions("interm_")
    outputs["dn_outputs"] = {**predictions("dn_"), "aux_outputs": [predictions(f"dn_aux{i}_") for i in earlier]}
    box_logits = outputs["dn_outputs"]["pred_boxes"]
    queries = DenoisingQueries(
        box_logits, box_logits, max(1, numbers["num_dn_group"]), torch.empty(0), torch.empty(0, 4)
    )  # only the layout of the groups counts
    criterion = loaded_model(case["name"], FLOAT64).criterion
    assert_losses(criterion(outputs, recorded_targets(case, FLOAT64), queries), case, numbers, 1e-5)


def official_gradients(step: TrainingStep, case: dict) -> dict:
    """Gradients under official names; the last, unused row of the official label table has none."""
    names = official_names_of_parameters(case, step.model)
    gradients = {names[ours]: gradient for ours, gradient in step.gradients.items()}
    if case["layout"] == "focalnet_dino":
        table = gradients["label_enc.weight"]
        gradients["label_enc.weight"] = torch.cat([table, table.new_zeros(1, table.shape[1])])
    return gradients


@each_step
def test_stored_gradients(step, request):
    case, stored, _, dtype = case_of(request)
    skip_without(
        any(key.startswith("grad:") for key in stored), f"Gradients of {case['name']}, whose losses are compared,"
    )
    gradients, pairs = official_gradients(step, case), {}
    for key in (key for key in stored if key.startswith("grad:")):
        flat = gradients[key.removeprefix("grad:")].flatten()
        thinned = flat[:: math.ceil(len(flat) / 4096)] if len(flat) > 8192 else flat
        pairs[key] = (thinned, stored[key])
    assert_within(l2_error, pairs, GRADIENT_TOLERANCE[dtype])


@each_step
def test_length_and_projection_of_every_gradient(step, request):
    case, _, numbers, dtype = case_of(request)
    skip_without("grad_l2_and_projection" in numbers, f"Gradients of {case['name']}, whose losses are compared,")
    gradients, shapes = official_gradients(step, case), official_dino_names(case)
    expected = numbers["grad_l2_and_projection"]
    assert gradients.keys() == expected.keys()
    breaches = {}
    for name, (length, projection) in expected.items():
        gradient = gradients[name].detach().cpu().double()
        weight = tensor(dino_weight(name, shapes[name][0]), FLOAT64)
        limit = GRADIENT_TOLERANCE[dtype] * length
        off = abs(float(gradient.norm()) - length), abs(float((gradient * weight).sum()) - projection)
        if off[0] > limit or off[1] > limit * float(weight.norm()):
            breaches[name] = off
    assert not breaches
