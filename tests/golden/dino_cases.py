"""Models, inputs and name tables of the golden DINO cases."""

from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from dino.criterion import DINOCriterion
from dino.denoising import NoiseSamples
from dino.memory_fusion import MemoryFusion
from dino.model import DINO
from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.checkpoint.layout import apply_table
from focalnet_d2.set_prediction.matcher import HungarianMatcher
from focalnet_d2.set_prediction.position import PositionModulation, PositionSupervision
from focalnet_d2.set_prediction.targets import Targets
from tests.dino.building import build_dino
from tests.golden.cases import arrays, device, dino_cases, dino_image, dino_weight, tensor
from tests.golden.loading import load_state
from tests.golden.official_names import official_dino_names

BACKBONE_SETTINGS = (
    "embed_dim",
    "depths",
    "focal_levels",
    "focal_windows",
    "use_conv_embed",
    "use_postln",
    "use_postln_in_modulation",
    "use_layerscale",
    "normalize_modulator",
)


def build(case: dict) -> DINO:
    """An empty model of a case, with the settings of the code base it comes from."""
    config, detrex = case["backbone"], case["layout"] != "focalnet_dino"
    stages = config.get("out_indices", range(5 - case["num_feature_levels"], 4))
    bottom_up = FocalNet(
        **{name: config[name] for name in BACKBONE_SETTINGS}, out_features=tuple(f"res{i + 2}" for i in stages)
    )
    pixels = {} if detrex else dict(pixel_mean=(0.0, 0.0, 0.0), pixel_std=(1.0, 1.0, 1.0))  # inputs are normalised
    return build_dino(
        bottom_up,
        num_levels=case["num_feature_levels"],
        num_classes=case["num_classes"],
        num_queries=case["num_queries"],
        layers=(case["enc_layers"], case["dec_layers"]),
        ffn_dim=case.get("dim_feedforward", 2048),
        position=(10000.0, -0.5) if detrex else (20.0, 0.0),
        denoising=dict(
            dn_number=case.get("dn_number", 100),
            box_noise_scale=case.get("dn_box_noise_scale", 1.0),
            label_noise_ratio=case.get("dn_label_noise_ratio", 0.5),
            rejected_step=0.0 if case.get("dn_neg_step_type") == "none" else 1.0,
            small_number_is_groups=not detrex,
        ),
        fusion=MemoryFusion(num_layers=case["enc_layers"]) if case["layout"] == "stable_dino" else None,
        criterion=stable_criterion(case["criterion"]) if "criterion" in case else None,
        shared_heads=not detrex,
        mask_padding_in_eval=not detrex,
        clip_boxes=detrex,
        num_select=num_select(case),
        **pixels,
    )


def stable_criterion(settings: dict) -> DINOCriterion:
    """The losses and the matcher of a case of Stable-DINO."""
    weights = settings["weights"]
    return DINOCriterion(
        HungarianMatcher(position_modulation=PositionModulation(exponent=settings["cec_beta"])),
        class_weight=weights["loss_class"],
        denoising_class_weight=weights["loss_class_dn"],
        position_supervision=PositionSupervision(score_exponent=settings["ta_alpha"], iou_exponent=settings["ta_beta"]),
    )


def num_select(case: dict) -> int:
    """Detections an image."""
    return case["select_box_nums"] if case["layout"] != "focalnet_dino" else case.get("eval", {}).get("num_select", 300)


def case_named(name: str) -> dict:
    return next(case for case in dino_cases() if case["name"] == name)


def official_state(case: dict) -> dict[str, Tensor]:
    """The whole official state dict, every alias included."""
    canonical = {}
    for shape, name in official_dino_names(case).values():
        if name not in canonical:
            canonical[name] = tensor(dino_weight(name, shape))
    return {alias: canonical[name] for alias, (_, name) in official_dino_names(case).items()}


@lru_cache(maxsize=2)
def loaded_model(name: str, dtype: torch.dtype) -> DINO:
    """The case's model with its weights, in `dtype`; shared by the tests of one case, which reset its gradients."""
    case = case_named(name)
    model = build(case)
    report = load_state(model, official_state(case))
    assert not report.missing
    return model.to(device(), dtype)


def official_names_of_parameters(case: dict, model: DINO) -> dict[str, str]:
    """Our name -> official name, by the loader's own table."""
    shapes = official_dino_names(case)
    state = {name: torch.empty(shape, device="meta") for name, (shape, _) in shapes.items()}
    layout = next(layout for layout in model.layouts if layout.recognize(list(state), model.state_dict()))
    origin = apply_table(layout.rules(model, list(state)), state).origin
    return {ours: shapes[theirs][1] for ours, theirs in origin.items()}


def mapper_dicts(case: dict, images: dict) -> list[dict]:
    """Model inputs of the images that `images` (a section of the case) describes."""
    dicts = []
    originals = images.get("orig_hw", images["image_hw"])
    sizes = zip(images["image_key"], images["image_hw"], originals, images["image_sum"], strict=True)
    for key, (h, w), (height, width), total in sizes:
        image = dino_image(key, h, w)
        if case["layout"] != "focalnet_dino":  # a picture in 0..255
            image = np.clip(np.round(50 * image + 120), 0, 255)
        assert abs(image.sum(dtype=np.float64) - total) < 1e-2, f"image {key} is not the one the numbers come from"
        dicts.append({"image": tensor(image), "height": height, "width": width, "file_name": key})
    return dicts


def recorded_targets(case: dict, dtype: torch.dtype) -> list[Targets]:
    stored, targets = arrays(case["kind"], f"{case['name']}_train.npz"), []
    while f"tgt{len(targets)}_labels" in stored:
        i = len(targets)
        labels = tensor(stored[f"tgt{i}_labels"]).long().to(device())
        targets.append(Targets(labels, tensor(stored[f"tgt{i}_boxes"], dtype).to(device())))
    return targets


def recorded_noise(case: dict, label_noise_ratio: float, dtype: torch.dtype) -> NoiseSamples | None:
    """The published code draws new labels only for the places it replaces; here every place has one."""
    stored = {
        k: tensor(v) for k, v in arrays(case["kind"], f"{case['name']}_train.npz").items() if k.startswith("draw_")
    }
    if not stored:  # a batch without objects
        return None
    replaced = stored["draw_p"] < label_noise_ratio / 2
    new_labels = torch.zeros(len(replaced), dtype=torch.int64)
    new_labels[replaced] = stored["draw_new_label"].long()
    draws = NoiseSamples(
        label_chance=stored["draw_p"].to(dtype),
        new_labels=new_labels,
        box_sign=(stored["draw_rand_bit"] * 2 - 1).to(dtype),
        box_share=stored["draw_rand_part"].to(dtype),
    )
    return NoiseSamples(**{name: value.to(device()) for name, value in vars(draws).items()})


def break_near_ties_as(model: DINO, golden_topk, limit: float = 2e-5):
    """Hook that makes float32 scores select tokens in the golden order where they are closer than rounding.

    Moves no class score by more than `limit`, fails otherwise; returns the handle that removes the hook.
    """
    order = tensor(golden_topk).long().to(device())  # (B, Q)

    def nudge(_module, _inputs, logits):
        if logits.ndim != 3 or logits.shape[1] <= order.shape[1]:
            return logits
        scores = logits.detach().float().max(-1).values  # (B, N)
        wanted = scores.gather(1, order)
        lowered = (wanted + torch.arange(order.shape[1], device=device()) * 1e-6).cummin(1).values
        lowered = lowered - torch.arange(order.shape[1], device=device()) * 1e-6
        others = scores.scatter(1, order, -torch.inf).clamp(max=(lowered[:, -1:] - 1e-6))
        target = others.scatter(1, order, lowered)
        moved = scores - target
        assert moved.max() <= limit, f"the selection differs by more than near ties: {moved.max():.2g}"
        return logits - moved[..., None]

    return model.query_selection.class_embed.register_forward_hook(nudge)


class SameSideOfKinks:
    """Makes a float32 run take the float64 run's side where a hidden unit is zero but for rounding.

    A unit of a feed-forward network whose value rounds to the other side of zero switches its gradient on or off; one
    such unit in a token that many queries read moves a gradient by a per cent. Run the float64 model inside `record`
    and the float32 model inside `replay`.
    """

    def __init__(self, limit: float = 1e-5):
        self.limit = limit
        self.positive: dict[str, Tensor] = {}

    @contextmanager
    def record(self, model: DINO):
        yield from self._hooked(model, lambda name, value: self.positive.__setitem__(name, value.detach() > 0))

    @contextmanager
    def replay(self, model: DINO):
        def move(name: str, value: Tensor) -> Tensor:
            wanted = self.positive[name]
            other = wanted != (value > 0)
            assert not other.any() or value[other].abs().max() <= self.limit
            side = torch.where(wanted, self.limit, -self.limit)
            return torch.where(other, value - value.detach() + side, value)

        yield from self._hooked(model, move)

    @staticmethod
    def _hooked(model: DINO, action):
        handles = [
            module.register_forward_hook(lambda _module, _inputs, value, name=name: action(name, value))
            for name, module in model.named_modules()
            if name.endswith(".linear1")
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
