"""DINO: detection by queries whose boxes come from the image (arXiv:2203.03605, figure 2).

Maths and defaults follow FocalNet-DINO; what detrex does differently is a constructor argument. As published,
positions, anchors and wavelengths are float32 whatever the type of the weights.

Shapes: B images, N tokens of all levels, Q queries, P denoising queries, K classes, C channels, L levels.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from detectron2.structures import Instances
from torch import Tensor, nn

from focalnet_d2.layers.deformable_encoder import DeformableEncoder, flatten_levels, get_valid_ratios
from focalnet_d2.layers.position_encoding import SinePositionEncoding
from focalnet_d2.modeling.base import PIXEL_MEAN, PIXEL_STD, ImageBatch, ImageModel, ImageSizes, training_targets
from focalnet_d2.set_prediction.outputs import LayerOutputs, QueryOutputs
from focalnet_d2.set_prediction.postprocessing import select_detections
from focalnet_d2.set_prediction.targets import Targets, note_targets, prepare_targets

from .checkpoint import LAYOUTS
from .criterion import DINOCriterion
from .decoder import DINODecoder, refine_boxes
from .denoising import ContrastiveDenoising, DenoisingQueries
from .heads import box_head, class_head
from .neck import MultiScaleNeck
from .query_selection import QuerySelection, SelectedQueries


class ProposalOutputs(LayerOutputs):
    """Predictions of the encoder's best tokens.

    Attributes:
        proposals: (B, Q, 4) boxes that the predictions are relative to.
        topk_indices: (B, Q) tokens.
    """

    proposals: Tensor
    topk_indices: Tensor


class DINOOutputs(QueryOutputs, total=False):
    """Predictions of the matched queries, the last decoder layer's first.

    Attributes:
        enc_outputs: of the proposals.
        dn_outputs: of P denoising queries, in training with denoising only.
        dn_queries: the queries behind `dn_outputs`.
    """

    enc_outputs: ProposalOutputs
    dn_outputs: QueryOutputs
    dn_queries: DenoisingQueries


class Pyramid(NamedTuple):
    """The backbone's maps as one sequence of tokens, level after level.

    Attributes:
        tokens, position: (B, N, C).
        spatial_shapes: (h, w) of every level.
        valid_ratios: (B, L, 2), see `get_valid_ratios`.
        masks: L x (B, H_l, W_l) bool, True = padding; flat_mask: the same as (B, N).
    """

    tokens: Tensor
    position: Tensor
    spatial_shapes: list[tuple[int, int]]
    valid_ratios: Tensor
    masks: list[Tensor]
    flat_mask: Tensor


class DINO(ImageModel):
    """End-to-end detector.

    Args:
        backbone: feature pyramid of L levels, C channels.
        position_embedding: encoding of cells, C features.
        encoder, query_selection, decoder: the transformer.
        denoising, criterion: used in training only.
        num_classes: classes K.
        shared_heads: one class and one box head for all decoder layers (FocalNet-DINO) or one each (detrex).
        num_select: detections an image.
        mask_padding_in_eval: False reads the batch's padding as image in evaluation, as detrex does.
        clip_boxes, nms_threshold: see `select_detections`.
        pixel_mean, pixel_std: of RGB images in 0..255.

    Raises:
        ValueError: num_select above Q * K.
    """

    layouts = LAYOUTS
    tasks = ("bbox",)
    export_decoder = "query_boxes"

    def __init__(
        self,
        backbone: MultiScaleNeck,
        *,
        position_embedding: SinePositionEncoding,
        encoder: DeformableEncoder,
        query_selection: QuerySelection,
        decoder: DINODecoder,
        denoising: ContrastiveDenoising,
        criterion: DINOCriterion,
        num_classes: int = 80,
        shared_heads: bool = True,
        num_select: int = 300,
        mask_padding_in_eval: bool = True,
        clip_boxes: bool = False,
        nms_threshold: float | None = None,
        pixel_mean: Sequence[float] = PIXEL_MEAN,
        pixel_std: Sequence[float] = PIXEL_STD,
    ):
        super().__init__(num_classes, pixel_mean=pixel_mean, pixel_std=pixel_std)
        if num_select > query_selection.num_queries * num_classes:
            raise ValueError(
                f"num_select {num_select} is more than {query_selection.num_queries} queries times {num_classes} "
                "classes: raise query_selection.num_queries or lower num_select."
            )
        self.backbone = backbone
        self.position_embedding = position_embedding
        self.encoder = encoder
        self.query_selection = query_selection
        self.decoder = decoder
        self.denoising = denoising
        self.criterion = criterion
        self.shared_heads = shared_heads
        self.num_select = num_select
        self.mask_padding_in_eval = mask_padding_in_eval
        self.clip_boxes = clip_boxes
        self.nms_threshold = nms_threshold
        self.level_embed = nn.Parameter(torch.randn(len(backbone.output_shape()), decoder.dim))
        heads = 1 if shared_heads else len(decoder.layers)
        self.class_embed = nn.ModuleList(class_head(decoder.dim, num_classes) for _ in range(heads))
        self.bbox_embed = nn.ModuleList(box_head(decoder.dim) for _ in range(heads))

    def prepare_targets(self, batched_inputs: Sequence[Mapping[str, Any]], images: ImageBatch) -> list[Targets]:
        """Classes and boxes of the `instances` of each image.

        Raises:
            ValueError: a class index outside 0..num_classes - 1.
        """
        return prepare_targets(training_targets(batched_inputs, "instances"), self.device, self.num_classes)

    def note_divisors(self, batched_inputs: Sequence[Mapping[str, Any]]) -> None:
        """Objects of the images together, and of the fullest image, on which the number of denoising groups depends."""
        targets = training_targets(batched_inputs, "instances")
        note_targets(targets)
        self.denoising.most_objects(targets)

    def predict(self, images: ImageBatch, targets: Sequence[Targets] | None = None) -> DINOOutputs:
        """Predictions of all queries; in training those of denoising queries, made of the targets, too."""
        denoising = None if targets is None else self.denoising(targets)
        return self.run_network(images.tensor, images.padding_mask, denoising)

    def losses(self, outputs: DINOOutputs, targets: Sequence[Targets]) -> dict[str, Tensor]:
        """Weighted losses by name, scalars; see `DINOCriterion`."""
        return self.criterion(outputs, targets, outputs.get("dn_queries"))

    def run_network(
        self, images: Tensor, padding_mask: Tensor, denoising: DenoisingQueries | None = None
    ) -> DINOOutputs:
        """The network between normalized images and predictions.

        Args:
            images: (B, 3, H, W); padding_mask: (B, H, W) bool, True = padding.
            denoising: queries that stand before the matched ones; training only.
        """
        pyramid = self._pyramid(images, padding_mask)
        memory = self.encoder(
            pyramid.tokens, pyramid.position, pyramid.spatial_shapes, pyramid.valid_ratios, pyramid.flat_mask
        )
        selected = self.query_selection(memory, pyramid.masks, pyramid.spatial_shapes)
        layers = self._decode(selected, denoising, memory, pyramid)
        return self._split_outputs(layers, selected, denoising)

    def _pyramid(self, images: Tensor, padding_mask: Tensor) -> Pyramid:
        """(B, 3, H, W) and (B, H, W) -> the tokens of all levels and where they are."""
        if not self.training and not self.mask_padding_in_eval:
            padding_mask = torch.zeros_like(padding_mask)
        features = list(self.backbone(images).values())  # L x (B, C, H_l, W_l), fine to coarse
        masks = [_resize_mask(padding_mask, feature.shape[-2:]) for feature in features]
        positions = [
            (self.position_embedding(mask) + embed.view(-1, 1, 1)).to(embed.dtype)
            for mask, embed in zip(masks, self.level_embed, strict=True)
        ]
        return Pyramid(
            tokens=flatten_levels(features),
            position=flatten_levels(positions),
            spatial_shapes=[(feature.shape[-2], feature.shape[-1]) for feature in features],
            valid_ratios=get_valid_ratios(masks),
            masks=masks,
            flat_mask=torch.cat([mask.flatten(1) for mask in masks], dim=1),
        )

    def _decode(
        self, selected: SelectedQueries, denoising: DenoisingQueries | None, memory: Tensor, pyramid: Pyramid
    ) -> list[LayerOutputs]:
        """Predictions of every decoder layer for P + Q queries, the denoising ones first; memory (B, N, C)."""
        query_feat, box_logits, attn_mask = selected.query_feat, selected.box_logits.detach(), None
        if denoising is not None:
            query_feat = torch.cat([denoising.query_feat, query_feat], dim=1)  # (B, P + Q, C)
            box_logits = torch.cat([denoising.box_logits, box_logits], dim=1)
            attn_mask = denoising.attention_mask(selected.query_feat.shape[1])
        bbox_embed = self._per_layer(self.bbox_embed)
        hidden_states, references = self.decoder(
            query_feat, box_logits, memory, pyramid.spatial_shapes, pyramid.valid_ratios,
            bbox_embed=bbox_embed, padding_mask=pyramid.flat_mask, attn_mask=attn_mask,
        )  # fmt: skip
        return [
            {"pred_logits": classify(states), "pred_boxes": refine_boxes(bbox_head, states, reference)}
            for classify, bbox_head, states, reference in zip(
                self._per_layer(self.class_embed), bbox_embed, hidden_states, references, strict=True
            )
        ]

    def _per_layer(self, heads: nn.ModuleList) -> list[nn.Module]:
        return list(heads) * len(self.decoder.layers) if self.shared_heads else list(heads)

    def _split_outputs(
        self, layers: Sequence[LayerOutputs], selected: SelectedQueries, denoising: DenoisingQueries | None
    ) -> DINOOutputs:
        """Parts the decoder's predictions into denoising and matched queries, the last layer first in each."""
        count = denoising.num_queries if denoising is not None else 0
        matched = _of_queries(layers, slice(count, None))
        outputs: DINOOutputs = {
            "pred_logits": matched["pred_logits"],
            "pred_boxes": matched["pred_boxes"],
            "aux_outputs": matched["aux_outputs"],
            "enc_outputs": {
                "pred_logits": selected.pred_logits,
                "pred_boxes": selected.box_logits.sigmoid(),
                "proposals": selected.proposals,
                "topk_indices": selected.topk_indices,
            },
        }
        if denoising is not None:
            outputs["dn_outputs"] = _of_queries(layers, slice(count))
            outputs["dn_queries"] = denoising
        return outputs

    def export_outputs(self, images: ImageBatch) -> dict[str, Tensor]:
        """`pred_logits` (B, Q, K) and `pred_boxes` (B, Q, 4), cxcywh over the unpadded image."""
        outputs = self.predict(images)
        return {"pred_logits": outputs["pred_logits"], "pred_boxes": outputs["pred_boxes"]}

    def export_settings(self) -> dict[str, Any]:
        """What `query_boxes` decodes with."""
        return {"num_select": self.num_select, "clip_boxes": self.clip_boxes, "nms_threshold": self.nms_threshold}

    def postprocess(self, outputs: DINOOutputs, sizes: ImageSizes) -> list[dict[str, Instances]]:
        """`instances` of each image: the best `num_select` detections, scaled to its output size."""
        detections = select_detections(
            outputs["pred_logits"].float(),
            outputs["pred_boxes"].float(),
            sizes.outputs,
            num_select=self.num_select,
            clip_boxes=self.clip_boxes,
            nms_threshold=self.nms_threshold,
        )
        return [{"instances": image} for image in detections]


def _of_queries(layers: Sequence[LayerOutputs], queries: slice) -> QueryOutputs:
    """Some queries' predictions, the last layer's first."""
    selected: list[LayerOutputs] = [
        {"pred_logits": layer["pred_logits"][:, queries], "pred_boxes": layer["pred_boxes"][:, queries]}
        for layer in layers
    ]
    *earlier, last = selected
    return {"pred_logits": last["pred_logits"], "pred_boxes": last["pred_boxes"], "aux_outputs": earlier}


def _resize_mask(mask: Tensor, size: Sequence[int]) -> Tensor:
    """Nearest-neighbour resizing of a mask: (B, H, W) bool -> (B, h, w) bool."""
    return F.interpolate(mask[:, None].to(torch.float32), size=tuple(size), mode="nearest")[:, 0].bool()
