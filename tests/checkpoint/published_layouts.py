"""Names and shapes of the files that each code base publishes, for networks of any size.

Written from the descriptions of the files and not from our key tables, which are held against it.
"""

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from tests.checkpoint.building import on_meta
from tests.checkpoint.mmdetection_files import atss_shapes, sparse_rcnn_shapes
from tests.golden.official_names import focalnet_names, official_dino_names

Shapes = dict[str, tuple[int, ...]]

# width, depths, focal levels, first kernel
SIZES: dict[str, tuple[int, tuple[int, ...], int, int]] = {
    "tiny_srf": (96, (2, 2, 6, 2), 2, 3),
    "tiny_lrf": (96, (2, 2, 6, 2), 3, 3),
    "small_srf": (96, (2, 2, 18, 2), 2, 3),
    "small_lrf": (96, (2, 2, 18, 2), 3, 3),
    "base_srf": (128, (2, 2, 18, 2), 2, 3),
    "base_lrf": (128, (2, 2, 18, 2), 3, 3),
    "large_fl3": (192, (2, 2, 18, 2), 3, 5),
    "large_fl4": (192, (2, 2, 18, 2), 4, 3),
    "xlarge_fl3": (256, (2, 2, 18, 2), 3, 5),
    "xlarge_fl4": (256, (2, 2, 18, 2), 4, 3),
    "huge_fl3": (352, (2, 2, 18, 2), 3, 3),
    "huge_fl4": (352, (2, 2, 18, 2), 4, 3),
    "tiny_deeper_srf": (64, (3, 3, 16, 3), 2, 3),
    "tiny_deeper_lrf": (64, (3, 3, 16, 3), 3, 3),
    "small_deeper_srf": (64, (4, 4, 28, 4), 2, 3),
    "small_deeper_lrf": (64, (4, 4, 28, 4), 3, 3),
    "base_deeper_srf": (96, (4, 4, 28, 4), 2, 3),
    "base_deeper_lrf": (96, (4, 4, 28, 4), 3, 3),
    "tiny_iso": (192, (12,), 3, 3),
    "small_iso": (384, (12,), 3, 3),
    "base_iso": (768, (12,), 3, 3),
}
GROWN, CASCADE_GROWN = (9, 9, 9, 9), (11, 9, 9, 7)


def backbone_config(size: str, windows: Sequence[int] | None = None, outputs: Iterable[int] = ()) -> dict:
    """Sizes and flags in the form of `official_names`."""
    width, depths, levels, window = SIZES[size]
    large = size.startswith(("large", "xlarge", "huge"))
    return {
        "embed_dim": width, "depths": depths, "focal_levels": (levels,) * len(depths),
        "focal_windows": windows or (window,) * len(depths), "out_indices": tuple(outputs), "use_conv_embed": large,
        "use_layerscale": large or size == "base_iso", "use_postln_in_modulation": size.startswith("huge"),
    }  # fmt: skip


def backbone(size: str, prefix: str = "", *, windows: Sequence[int] | None = None, outputs: Iterable[int] = ()):
    """A FocalNet with the norms of its outputs."""
    shapes = focalnet_names(backbone_config(size, windows, outputs))
    if "iso" in size:
        shapes["patch_embed.proj.weight"] = (SIZES[size][0], 3, 16, 16)
    return {prefix + name: shape for name, shape in shapes.items()}


def channels(size: str, stage: int) -> int:
    return SIZES[size][0] * 2**stage


def conv(name: str, outputs: int, inputs: int, kernel: int = 1) -> Shapes:
    return {f"{name}.weight": (outputs, inputs, kernel, kernel), f"{name}.bias": (outputs,)}


def linear(name: str, outputs: int, inputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def batch_norm(name: str, width: int) -> Shapes:
    running = {f"{name}.running_mean": (width,), f"{name}.running_var": (width,), f"{name}.num_batches_tracked": ()}
    return norm(name, width) | running


def conv_and_norm(name: str, outputs: int, inputs: int, kernel: int = 1) -> Shapes:
    """mmsegmentation's and mmdetection's convolution without bias behind which stands a batch norm."""
    return {f"{name}.conv.weight": (outputs, inputs, kernel, kernel)} | batch_norm(f"{name}.bn", outputs)


def joined(parts: Iterable[Mapping[str, tuple[int, ...]]]) -> Shapes:
    return {name: shape for part in parts for name, shape in part.items()}


# Classifiers


def microsoft(size: str, classes: int) -> Shapes:
    last = channels(size, len(SIZES[size][1]) - 1)
    return backbone(size) | norm("norm", last) | linear("head", classes, last)


def transformers(size: str, classes: int) -> Shapes:
    return {_transformers_name(name): shape for name, shape in microsoft(size, classes).items()}


def _transformers_name(name: str) -> str:
    if name.startswith(("norm.", "head.")):
        return name.replace("norm.", "focalnet.layernorm.").replace("head.", "classifier.")
    if name.startswith("layers."):
        name = "encoder.stages." + name.removeprefix("layers.").replace(".blocks.", ".layers.")
    for ours, theirs in (
        ("patch_embed.proj", "embeddings.patch_embeddings.projection"), ("patch_embed.norm", "embeddings.norm"),
        ("modulation.f.", "modulation.projection_in."), ("modulation.h.", "modulation.projection_context."),
        ("modulation.proj.", "modulation.projection_out."), ("modulation.ln.", "modulation.layernorm."),
        ("downsample.proj.", "downsample.projection."),
    ):  # fmt: skip
        name = name.replace(ours, theirs)
    return f"focalnet.{name}"


def timm(size: str, classes: int) -> Shapes:
    shapes = {}
    for name, shape in microsoft(size, classes).items():
        linear_layer = any(f"{layer}.weight" in name for layer in ("modulation.f", "modulation.proj", "fc1", "fc2"))
        shapes[_timm_name(name, size)] = (*shape, 1, 1) if linear_layer else shape
    return shapes


def _timm_name(name: str, size: str) -> str:
    if ".downsample." in name:
        _, stage, rest = name.split(".", 2)
        return f"layers.{int(stage) + 1}.{rest}"
    post = "_post" if size.startswith(("large", "xlarge", "huge")) or size == "base_iso" else ""
    for ours, theirs in (
        ("patch_embed.", "stem."), ("modulation.ln.", "modulation.norm."), ("gamma_1", "ls1.gamma"),
        ("gamma_2", "ls2.gamma"), (".norm1.", f".norm1{post}."), (".norm2.", f".norm2{post}."),
    ):  # fmt: skip
        name = name.replace(ours, theirs)
    return name.replace("head.", "head.fc.") if name.startswith("head.") else name


# mmdetection and mmsegmentation


def feature_pyramid(size: str) -> Shapes:
    laterals = (conv(f"neck.lateral_convs.{i}.conv", 256, channels(size, i)) for i in range(4))
    return joined(laterals) | joined(conv(f"neck.fpn_convs.{i}.conv", 256, 256, 3) for i in range(4))


def region_proposals() -> Shapes:
    heads = conv("rpn_head.rpn_cls", 3, 256) | conv("rpn_head.rpn_reg", 12, 256)
    return conv("rpn_head.rpn_conv", 256, 256, 3) | heads


def mask_head(name: str, classes: int) -> Shapes:
    convs = joined(conv(f"{name}.convs.{k}.conv", 256, 256, 3) for k in range(4))
    return convs | conv(f"{name}.upsample", 256, 256, 2) | conv(f"{name}.conv_logits", classes, 256)


def box_predictor(name: str, classes: int) -> Shapes:
    return linear(f"{name}.fc_cls", classes + 1, 1024) | linear(f"{name}.fc_reg", 4 * classes, 1024)


def mask_rcnn(size: str, classes: int = 80, windows: Sequence[int] = GROWN) -> Shapes:
    name = "roi_head.bbox_head"
    shapes = backbone(size, "backbone.", windows=windows, outputs=range(4)) | feature_pyramid(size)
    shapes |= region_proposals() | mask_head("roi_head.mask_head", classes) | box_predictor(name, classes)
    return shapes | linear(f"{name}.shared_fcs.0", 1024, 12544) | linear(f"{name}.shared_fcs.1", 1024, 1024)


def cascade_mask_rcnn(size: str, classes: int = 80) -> Shapes:
    shapes = backbone(size, "backbone.", windows=CASCADE_GROWN, outputs=range(4)) | feature_pyramid(size)
    shapes |= region_proposals()
    for stage in range(3):
        name = f"roi_head.bbox_head.{stage}"
        shapes |= joined(conv_and_norm(f"{name}.shared_convs.{k}", 256, 256, 3) for k in range(4))
        shapes |= linear(f"{name}.shared_fcs.0", 1024, 12544) | box_predictor(name, classes)
        shapes |= mask_head(f"roi_head.mask_head.{stage}", classes)
    return shapes


def atss(size: str, classes: int = 80) -> Shapes:
    return atss_shapes(backbone_config(size, CASCADE_GROWN), classes=classes)


def sparse_rcnn(size: str, classes: int = 80, proposals: int = 300) -> Shapes:
    return sparse_rcnn_shapes(backbone_config(size, CASCADE_GROWN), classes=classes, proposals=proposals)


def upernet(size: str, classes: int = 150) -> Shapes:
    last, head = channels(size, 3), "decode_head"
    shapes = backbone(size, "backbone.", windows=GROWN, outputs=range(4))
    shapes |= joined(conv_and_norm(f"{head}.psp_modules.{p}.1", 512, last) for p in range(4))
    shapes |= conv_and_norm(f"{head}.bottleneck", 512, last + 2048, 3)
    shapes |= joined(conv_and_norm(f"{head}.lateral_convs.{i}", 512, channels(size, i)) for i in range(3))
    shapes |= joined(conv_and_norm(f"{head}.fpn_convs.{i}", 512, 512, 3) for i in range(3))
    shapes |= conv_and_norm(f"{head}.fpn_bottleneck", 512, 2048, 3) | conv(f"{head}.conv_seg", classes, 512)
    shapes |= conv_and_norm("auxiliary_head.convs.0", 256, channels(size, 2), 3)
    return shapes | conv("auxiliary_head.conv_seg", classes, 256)


# DINO and Mask2Former


def dino(layout: str, size: str, scales: int, classes: int) -> Shapes:
    """`focalnet_dino` or `detrex`; 4 scales read the last three outputs of the backbone, 5 all of them."""
    case = {
        "layout": layout, "backbone": backbone_config(size, outputs=range(5 - scales, 4)), "num_classes": classes,
        "num_queries": 900, "enc_layers": 6, "dec_layers": 6, "num_feature_levels": scales,
    }  # fmt: skip
    return {name: shape for name, (shape, _) in official_dino_names(case).items()}


def attention(name: str) -> Shapes:
    merged = {f"{name}.in_proj_weight": (768, 256), f"{name}.in_proj_bias": (768,)}
    return merged | linear(f"{name}.out_proj", 256, 256)


def mask2former(size: str, classes: int, queries: int) -> Shapes:
    pixels, predictor = "sem_seg_head.pixel_decoder", "sem_seg_head.predictor"
    shapes = backbone(size, "backbone.", outputs=range(4)) | {"criterion.empty_weight": (classes + 1,)}
    for m, stage in enumerate((3, 2, 1)):
        shapes |= conv(f"{pixels}.input_proj.{m}.0", 256, channels(size, stage))
        shapes |= norm(f"{pixels}.input_proj.{m}.1", 256)
    shapes[f"{pixels}.transformer.level_embed"] = (3, 256)
    for n in range(6):
        layer = f"{pixels}.transformer.encoder.layers.{n}"
        for name, outputs in (("sampling_offsets", 192), ("attention_weights", 96), ("value_proj", 256)):
            shapes |= linear(f"{layer}.self_attn.{name}", outputs, 256)
        shapes |= linear(f"{layer}.self_attn.output_proj", 256, 256)
        shapes |= norm(f"{layer}.norm1", 256) | norm(f"{layer}.norm2", 256)
        shapes |= linear(f"{layer}.linear1", 1024, 256) | linear(f"{layer}.linear2", 256, 1024)
    for name, inputs, kernel in (("adapter_1", channels(size, 0), 1), ("layer_1", 256, 3)):
        shapes |= {f"{pixels}.{name}.weight": (256, inputs, kernel, kernel)} | norm(f"{pixels}.{name}.norm", 256)
    shapes |= conv(f"{pixels}.mask_features", 256, 256)
    for n in range(9):
        layers = [f"{predictor}.transformer_{kind}_layers.{n}" for kind in ("self_attention", "cross_attention", "ffn")]
        shapes |= attention(f"{layers[0]}.self_attn") | attention(f"{layers[1]}.multihead_attn")
        shapes |= linear(f"{layers[2]}.linear1", 2048, 256) | linear(f"{layers[2]}.linear2", 256, 2048)
        shapes |= joined(norm(f"{layer}.norm", 256) for layer in layers)
    for name, rows in (("query_feat", queries), ("query_embed", queries), ("level_embed", 3)):
        shapes[f"{predictor}.{name}.weight"] = (rows, 256)
    shapes |= norm(f"{predictor}.decoder_norm", 256) | linear(f"{predictor}.class_embed", classes + 1, 256)
    return shapes | joined(linear(f"{predictor}.mask_embed.layers.{m}", 256, 256) for m in range(3))


CONTAINERS = {"mmdetection": "state_dict", "mmsegmentation": "state_dict", "Hugging Face transformers": "", "timm": ""}


def published_file(layout: str, shapes: Shapes) -> dict[str, dict[str, Tensor]] | dict[str, Tensor]:
    """The content of a file, without values."""
    container = CONTAINERS.get(layout, "model")
    return {container: on_meta(shapes)} if container else on_meta(shapes)
