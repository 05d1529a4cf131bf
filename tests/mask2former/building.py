"""Small Mask2Formers for tests."""

from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.layers.deformable_encoder import DeformableEncoder
from focalnet_d2.layers.position_encoding import SinePositionEncoding
from focalnet_d2.set_prediction.matcher import MaskMatcher
from mask2former.criterion import Mask2FormerCriterion
from mask2former.model import Mask2Former
from mask2former.pixel_decoder import PixelDecoder
from mask2former.postprocessing import (  # fmt: skip
    InstanceInference,
    PanopticInference,
    SegmentationInference,
    SemanticInference,
)
from mask2former.transformer_decoder import MaskedAttentionDecoder

TINY_BACKBONE = dict(embed_dim=8, depths=(1, 1, 1, 1), focal_levels=(1, 1, 1, 1), focal_windows=(3, 3, 3, 3))


def tiny_backbone() -> FocalNet:
    return FocalNet(**TINY_BACKBONE)


def build_head(
    backbone: FocalNet,
    *,
    num_classes: int = 5,
    num_queries: int = 12,
    layers: tuple[int, int] = (1, 3),
    dims: tuple[int, int] = (32, 32),
    num_heads: int = 4,
    ffn_dims: tuple[int, int] = (32, 32),
    decoder_dim: int | None = None,
) -> tuple[PixelDecoder, MaskedAttentionDecoder]:
    """Pixel decoder and decoder; pairs are (encoder, decoder) but for `dims`, which is (width, mask features).

    `decoder_dim`: the decoder's width, if it is not the pixel decoder's.
    """
    (dim, mask_dim), position = dims, SinePositionEncoding(num_feats=dims[0] // 2)
    encoder = DeformableEncoder(dim, num_layers=layers[0], num_levels=3, num_heads=num_heads, ffn_dim=ffn_dims[0])
    pixel_decoder = PixelDecoder(
        backbone.output_shape(), position_embedding=position, encoder=encoder, dim=dim, mask_dim=mask_dim
    )
    decoder = MaskedAttentionDecoder(
        num_classes,
        position_embedding=SinePositionEncoding(num_feats=(decoder_dim or dim) // 2),
        dim=decoder_dim or dim,
        in_dim=dim,
        mask_dim=mask_dim,
        num_queries=num_queries,
        num_layers=layers[1],
        num_heads=num_heads,
        ffn_dim=ffn_dims[1],
    )
    return pixel_decoder, decoder


def build_inference(
    tasks: str = "semantic panoptic instance",
    *,
    thing_ids: tuple[int, ...] = (0, 1),
    thresholds: tuple[float, float] = (0.8, 0.8),
    top_k: int = 20,
) -> SegmentationInference:
    """Results of the named tasks; thresholds are those of scores and overlaps."""
    panoptic = PanopticInference(object_mask_threshold=thresholds[0], overlap_threshold=thresholds[1])
    return SegmentationInference(
        thing_ids=thing_ids,
        semantic=SemanticInference() if "semantic" in tasks else None,
        panoptic=panoptic if "panoptic" in tasks else None,
        instance=InstanceInference(top_k=top_k) if "instance" in tasks else None,
    )


def build_mask2former(
    backbone: FocalNet | None = None,
    *,
    num_classes: int = 5,
    num_points: int = 64,
    inference: SegmentationInference | None = None,
    criterion: dict | None = None,
    **head,
) -> Mask2Former:
    """A whole model; `head` goes to `build_head`, `criterion` to the criterion."""
    backbone = backbone or tiny_backbone()
    pixel_decoder, decoder = build_head(backbone, num_classes=num_classes, **head)
    return Mask2Former(
        backbone,
        pixel_decoder=pixel_decoder,
        decoder=decoder,
        criterion=Mask2FormerCriterion(
            MaskMatcher(), num_classes=num_classes, num_points=num_points, **(criterion or {})
        ),
        inference=inference or build_inference(),
        num_classes=num_classes,
    )
