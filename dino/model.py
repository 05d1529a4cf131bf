"""DINO: detection by queries whose boxes come from the image (arXiv:2203.03605, figure 2).

Maths and defaults follow FocalNet-DINO; what detrex does differently is a constructor argument. As published,
positions, anchors and wavelengths are float32 whatever the type of the weights.

Shapes: B images, N tokens of all levels, Q queries, P denoising queries, K classes, C channels, L levels.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from detectron2.structures import Instances
from torch import Tensor, nn

from focalnet_d2.layers.deformable_encoder import DeformableEncoder, flatten_levels, get_valid_ratios
from focalnet_d2.layers.position_encoding import SinePositionEncoding
from focalnet_d2.modeling.base import PIXEL_MEAN, PIXEL_STD, ImageModel, output_sizes
from focalnet_d2.set_prediction.postprocessing import select_detections
from focalnet_d2.set_prediction.targets import prepare_targets

from .checkpoint import LAYOUTS
from .criterion import DINOCriterion
from .decoder import DINODecoder, refine_boxes
from .denoising import ContrastiveDenoising, DenoisingQueries
from .heads import box_head, class_head
from .neck import MultiScaleNeck
from .query_selection import QuerySelection


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
        clip_boxes: see `select_detections`.
        pixel_mean, pixel_std: of RGB images in 0..255.

    Raises:
        ValueError: num_select above Q * K.
    """

    layouts = LAYOUTS

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
        pixel_mean: Sequence[float] = PIXEL_MEAN,
        pixel_std: Sequence[float] = PIXEL_STD,
    ):
        super().__init__(num_classes, pixel_mean=pixel_mean, pixel_std=pixel_std)
        if num_select > query_selection.num_queries * num_classes:
            raise ValueError(
                f"num_select {num_select} is more than {query_selection.num_queries} queries times {num_classes} "
                "classes: raise query_selection.num_queries or lower num_select"
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
        self.level_embed = nn.Parameter(torch.randn(len(backbone.output_shape()), decoder.dim))
        heads = 1 if shared_heads else len(decoder.layers)
        self.class_embed = nn.ModuleList(class_head(decoder.dim, num_classes) for _ in range(heads))
        self.bbox_embed = nn.ModuleList(box_head(decoder.dim) for _ in range(heads))

    def forward(self, batched_inputs: Sequence[Mapping]) -> dict[str, Tensor] | list[dict[str, Instances]]:
        """Detectron2's interface: mapper dicts -> weighted losses in training, detections in evaluation.

        Args:
            batched_inputs: per image `image` (3, h, w) RGB in 0..255, and in training `instances`; in evaluation
                `height` and `width` of the wanted result (default: the image's own).
        """
        images, padding_mask, image_sizes = self.preprocess(batched_inputs)
        if self.training:
            instances = [image["instances"] for image in batched_inputs]
            targets = prepare_targets(instances, self.device, self.num_classes)
            denoising = self.denoising(targets)
            outputs = self.predict(images, padding_mask, denoising)
            return self.criterion(outputs, targets, denoising)
        outputs = self.predict(images, padding_mask)
        sizes = output_sizes(batched_inputs, image_sizes)
        return [{"instances": result} for result in self.postprocess(outputs, sizes)]

    def preprocess(self, batched_inputs: Sequence[Mapping]) -> tuple[Tensor, Tensor, list[tuple[int, int]]]:
        """Normalises and pads with zeros to the largest height and width of the batch, no further.

        Returns:
            images (B, 3, H, W), padding_mask (B, H, W) bool, True = padding, and each image's (h, w).
        """
        images, image_sizes = self.batch(batched_inputs)
        padding_mask = torch.ones(len(images), *images.shape[-2:], dtype=torch.bool, device=self.device)
        for mask, (h, w) in zip(padding_mask, image_sizes, strict=True):
            mask[:h, :w] = False
        return images, padding_mask, image_sizes

    def predict(self, images: Tensor, padding_mask: Tensor, denoising: DenoisingQueries | None = None) -> dict:
        """The network between normalised images and predictions.

        Args:
            images: (B, 3, H, W); padding_mask: (B, H, W) bool, True = padding.
            denoising: queries that stand before the matched ones; training only.

        Returns:
            `pred_logits` (B, Q, K), `pred_boxes` (B, Q, 4) cxcywh in [0, 1], `aux_outputs` (the same of the earlier
            layers), `enc_outputs` (the same of the proposals, with `proposals` and `topk_indices`), `dn_outputs` (as
            the first three, of P denoising queries).
        """
        if not self.training and not self.mask_padding_in_eval:
            padding_mask = torch.zeros_like(padding_mask)
        features = list(self.backbone(images).values())  # L x (B, C, H_l, W_l), fine to coarse
        masks = [_resize_mask(padding_mask, feature.shape[-2:]) for feature in features]
        spatial_shapes = [tuple(feature.shape[-2:]) for feature in features]
        flat_mask = torch.cat([mask.flatten(1) for mask in masks], dim=1)  # (B, N)
        valid_ratios = get_valid_ratios(masks)
        positions = [
            (self.position_embedding(mask) + embed.view(-1, 1, 1)).to(embed.dtype)
            for mask, embed in zip(masks, self.level_embed, strict=True)
        ]
        memory = self.encoder(
            flatten_levels(features), flatten_levels(positions), spatial_shapes, valid_ratios, flat_mask
        )
        selected = self.query_selection(memory, masks, spatial_shapes)
        query_feat, box_logits, attn_mask = selected.query_feat, selected.box_logits.detach(), None
        if denoising is not None:
            query_feat = torch.cat([denoising.query_feat, query_feat], dim=1)  # (B, P + Q, C)
            box_logits = torch.cat([denoising.box_logits, box_logits], dim=1)
            attn_mask = denoising.attention_mask(selected.query_feat.shape[1])
        bbox_embed = self._per_layer(self.bbox_embed)
        hidden_states, references = self.decoder(
            query_feat, box_logits, memory, spatial_shapes, valid_ratios,
            bbox_embed=bbox_embed, padding_mask=flat_mask, attn_mask=attn_mask,
        )  # fmt: skip
        layers = [
            {"pred_logits": classify(states), "pred_boxes": refine_boxes(bbox_head, states, reference)}
            for classify, bbox_head, states, reference in zip(
                self._per_layer(self.class_embed), bbox_embed, hidden_states, references, strict=True
            )
        ]
        return self._split_outputs(layers, selected, denoising)

    def _per_layer(self, heads: nn.ModuleList) -> list[nn.Module]:
        return list(heads) * len(self.decoder.layers) if self.shared_heads else list(heads)

    def _split_outputs(self, layers, selected, denoising: DenoisingQueries | None) -> dict:
        """Parts the decoder's predictions into denoising and matched queries, the last layer first in each."""
        count = denoising.num_queries if denoising is not None else 0
        noisy = [{name: part[:, :count] for name, part in layer.items()} for layer in layers]
        matched = [{name: part[:, count:] for name, part in layer.items()} for layer in layers]
        outputs = {**matched[-1], "aux_outputs": matched[:-1]}
        outputs["enc_outputs"] = {
            "pred_logits": selected.pred_logits,
            "pred_boxes": selected.box_logits.sigmoid(),
            "proposals": selected.proposals,
            "topk_indices": selected.topk_indices,
        }
        if denoising is not None:
            outputs["dn_outputs"] = {**noisy[-1], "aux_outputs": noisy[:-1]}
        return outputs

    def postprocess(self, outputs: Mapping[str, Tensor], sizes: Sequence[tuple[int, int]]) -> list[Instances]:
        """Predictions -> the best `num_select` detections of each image, scaled to `sizes` (h, w)."""
        return select_detections(
            outputs["pred_logits"].float(),
            outputs["pred_boxes"].float(),
            sizes,
            num_select=self.num_select,
            clip_boxes=self.clip_boxes,
        )


def _resize_mask(mask: Tensor, size: Sequence[int]) -> Tensor:
    """Nearest-neighbour resizing of a mask: (B, H, W) bool -> (B, h, w) bool."""
    return F.interpolate(mask[:, None].to(torch.float32), size=tuple(size), mode="nearest")[:, 0].bool()
