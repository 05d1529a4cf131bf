"""DINO models of any size for tests, put together from the parts a recipe names."""

import torch
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn

from dino.criterion import DINOCriterion
from dino.decoder import DINODecoder
from dino.denoising import ContrastiveDenoising
from dino.memory_fusion import MemoryFusion
from dino.model import DINO
from dino.neck import MultiScaleNeck
from dino.query_selection import QuerySelection
from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.layers.deformable_encoder import DeformableEncoder
from focalnet_d2.layers.position_encoding import SinePositionEncoding
from focalnet_d2.set_prediction.matcher import HungarianMatcher
from focalnet_d2.set_prediction.position import PositionModulation, PositionSupervision

TINY_BACKBONE = dict(embed_dim=8, depths=(1, 1, 1, 1), focal_levels=(2, 2, 2, 2), focal_windows=(3, 3, 3, 3))


def build_dino(
    bottom_up: nn.Module,
    *,
    num_levels: int = 4,
    num_classes: int = 5,
    num_queries: int = 20,
    layers: tuple[int, int] = (2, 2),
    dim: int = 256,
    ffn_dim: int = 2048,
    position: tuple[float, ...] = (20.0, 0.0),
    denoising: dict | None = None,
    use_checkpoint: bool = False,
    fusion: nn.Module | None = None,
    criterion: DINOCriterion | None = None,
    **model,
) -> DINO:
    """`layers`: of encoder and decoder; `position`: temperature, offset, the width's temperature if it has its own."""
    transformer = dict(num_levels=num_levels, ffn_dim=ffn_dim, use_checkpoint=use_checkpoint)
    return DINO(
        MultiScaleNeck(bottom_up, dim=dim, num_levels=num_levels),
        position_embedding=SinePositionEncoding(
            num_feats=dim // 2, **dict(zip(("temperature", "offset", "temperature_width"), position, strict=False))
        ),
        encoder=DeformableEncoder(dim, num_layers=layers[0], fusion=fusion, **transformer),
        query_selection=QuerySelection(num_queries, dim=dim, num_classes=num_classes),
        decoder=DINODecoder(dim, num_layers=layers[1], **transformer),
        denoising=ContrastiveDenoising(num_classes, dim=dim, **(denoising or {})),
        criterion=criterion or DINOCriterion(HungarianMatcher()),
        num_classes=num_classes,
        **{"num_select": min(300, num_queries * num_classes), **model},
    )


def tiny_dino(seed: int = 0, *, scales: int = 4, backbone: dict | None = None, **changes) -> DINO:
    """64 channels, two encoder and three decoder layers; what starts at zero is drawn, so that everything matters."""
    torch.manual_seed(seed)
    outputs = ("res2", "res3", "res4", "res5")[5 - scales :]
    bottom_up = FocalNet(**{**TINY_BACKBONE, **(backbone or {})}, out_features=outputs)
    settings = dict(num_levels=scales, dim=64, ffn_dim=64, layers=(2, 3), num_queries=12)
    model = build_dino(bottom_up, **{**settings, **changes})
    for name, parameter in model.named_parameters():
        if "bbox_embed" in name and ".layers.2." in name:
            nn.init.normal_(parameter, std=0.1)
        if name.endswith(("sampling_offsets.weight", "attention_weights.weight")):
            nn.init.normal_(parameter, std=0.05)
        if "class_embed" in name and name.endswith("weight"):
            nn.init.normal_(parameter, std=0.2)
    return model


def tiny_stable_dino(seed: int = 0, mode: str = "pairwise") -> DINO:
    """The same with all that Stable-DINO adds."""
    torch.manual_seed(seed)
    criterion = DINOCriterion(
        HungarianMatcher(position_modulation=PositionModulation(mode=mode)),
        class_weight=6.0,
        denoising_class_weight=1.0,
        position_supervision=PositionSupervision(),
    )
    fusion, denoising = MemoryFusion(64, num_layers=2), dict(rejected_step=0.0, small_number_is_groups=False)
    return tiny_dino(seed, fusion=fusion, criterion=criterion, denoising=denoising)


def make_input(height: int, width: int, objects: int = 2, num_classes: int = 5, seed: int = 0) -> dict:
    """A mapper dict with a random image and random boxes."""
    draws = torch.Generator().manual_seed(seed)
    corners = torch.rand(objects, 2, generator=draws) * 0.5
    sides = 0.1 + 0.4 * torch.rand(objects, 2, generator=draws)
    instances = Instances((height, width))
    scale = torch.tensor([width, height, width, height], dtype=torch.float32)
    instances.gt_boxes = Boxes(torch.cat([corners, corners + sides], dim=-1) * scale)
    instances.gt_classes = torch.randint(num_classes, (objects,), generator=draws)
    image = torch.randint(256, (3, height, width), generator=draws, dtype=torch.uint8)
    return {"image": image, "height": height, "width": width, "file_name": f"{seed}.png", "instances": instances}


class StubPyramid(nn.Module):
    """Stands in for a backbone: returns the maps it was given, and has no parameters."""

    def __init__(self, maps: dict[str, Tensor], strides: dict[str, int]):
        super().__init__()
        self.maps, self.strides = maps, strides

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {name: feature.to(images.dtype) for name, feature in self.maps.items()}

    def output_shape(self):
        from detectron2.layers import ShapeSpec

        return {k: ShapeSpec(channels=v.shape[1], stride=self.strides[k]) for k, v in self.maps.items()}
