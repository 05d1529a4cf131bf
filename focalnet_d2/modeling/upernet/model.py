"""UPerNet: semantic segmentation with pooled context and a feature pyramid (arXiv:1807.10221, figure 4).

Settings are those of FocalNet's mmsegmentation configs (arXiv:2203.11926, section 4.3). Like mmsegmentation 0.11 and
unlike plain cross-entropy with an ignored label, the loss is a mean over all pixels, to which ignored ones add zeros.
A test image goes through alone: padding would change what is pooled. Module names are those of the published weights.

Shapes: B images, C channels, K classes, H x W pixels of the network's input.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from detectron2.utils import comm
from fvcore.nn.weight_init import c2_msra_fill
from torch import Tensor, nn
from typing_extensions import NotRequired, TypedDict

from focalnet_d2.kernels.average_pool import average_pool
from focalnet_d2.layers.projection import by_stride
from focalnet_d2.set_prediction.losses import object_weights
from focalnet_d2.utils.step_totals import share, total
from focalnet_d2.utils.text import some_of

from ..base import PIXEL_MEAN, PIXEL_STD, ImageBatch, ImageModel, ImageSizes
from .checkpoint import LAYOUTS
from .sliding_window import Window, WindowInference, resize


def conv_bn_relu(in_channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    """Convolution without bias, batch norm over all processes, ReLU: (B, C_in, h, w) -> (B, C_out, h, w)."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
    c2_msra_fill(conv)
    return nn.Sequential(OrderedDict(conv=conv, bn=nn.SyncBatchNorm(out_channels), relu=nn.ReLU(inplace=True)))


class AveragePool(nn.Module):
    """Means over a grid of cells; see `average_pool`."""

    def __init__(self, cells: int):
        super().__init__()
        self.cells = cells

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, cells, cells)."""
        return average_pool(maps, self.cells)


class PixelClassifier(nn.Module):
    """The last step of both heads: dropout of whole channels and a 1 x 1 convolution to K logits.

    Args:
        dim: channels of the maps to classify.
        num_classes: K.
        dropout: rate.
    """

    def __init__(self, dim: int, num_classes: int, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout2d(dropout)
        self.conv_seg = nn.Conv2d(dim, num_classes, 1)
        nn.init.normal_(self.conv_seg.weight, std=0.01)
        nn.init.zeros_(cast(Tensor, self.conv_seg.bias))

    def classify(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, K, h, w)."""
        return self.conv_seg(self.dropout(maps))


class UPerHead(PixelClassifier):
    """Pyramid pooling on the coarsest map, top-down pyramid below it, all levels fused at the finest.

    Args:
        input_shape: of the backbone's maps, fine to coarse.
        num_classes: K.
        dim: channels of every convolution.
        pool_sizes: sides of the maps to which the coarsest one is pooled.
        dropout: rate of whole channels before the classifier.
    """

    def __init__(
        self,
        input_shape: Mapping[str, ShapeSpec],
        *,
        num_classes: int,
        dim: int = 512,
        pool_sizes: Sequence[int] = (1, 2, 3, 6),
        dropout: float = 0.1,
    ):
        super().__init__(dim, num_classes, dropout)
        self.in_features = tuple(input_shape)
        *finer, coarsest = (shape.channels for _, shape in by_stride(input_shape))
        self.psp_modules = nn.ModuleList(
            nn.Sequential(AveragePool(size), conv_bn_relu(coarsest, dim, 1)) for size in tuple(pool_sizes)
        )
        self.bottleneck = conv_bn_relu(coarsest + len(self.psp_modules) * dim, dim, 3)
        self.lateral_convs = nn.ModuleList(conv_bn_relu(channels, dim, 1) for channels in finer)
        self.fpn_convs = nn.ModuleList(conv_bn_relu(dim, dim, 3) for _ in finer)
        self.fpn_bottleneck = conv_bn_relu(len(self.in_features) * dim, dim, 3)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Maps of the backbone -> (B, K, H/4, W/4) logits."""
        *finer, coarsest = (features[name] for name in self.in_features)
        return self.classify(self.fuse(self.top_down(finer, self.pool(coarsest))))

    def pool(self, coarsest: Tensor) -> Tensor:
        """Context of the whole image at every position: (B, C, h, w) -> (B, dim, h, w)."""
        pooled = [resize(module(coarsest), coarsest.shape[-2:]) for module in self.psp_modules]
        return self.bottleneck(torch.cat([coarsest, *pooled], dim=1))

    def top_down(self, finer: Sequence[Tensor], context: Tensor) -> list[Tensor]:
        """The finer maps, each with all coarser ones added, and the context: (B, dim, h_i, w_i), fine to coarse."""
        levels = [context]
        for convolve, maps in zip(self.lateral_convs[::-1], finer[::-1], strict=True):
            levels.insert(0, convolve(maps) + resize(levels[0], maps.shape[-2:]))
        return [convolve(maps) for convolve, maps in zip(self.fpn_convs, levels)] + [context]

    def fuse(self, levels: Sequence[Tensor]) -> Tensor:
        """All levels at the size of the finest: -> (B, dim, H/4, W/4)."""
        size = levels[0].shape[-2:]
        return self.fpn_bottleneck(torch.cat([levels[0], *(resize(maps, size) for maps in levels[1:])], dim=1))


class FCNHead(PixelClassifier):
    """A 3 x 3 convolution and a classifier on one map, for training.

    Args:
        input_shape: of the backbone's maps.
        num_classes: K.
        in_feature: the map to classify.
        dim: channels of the convolution.
        dropout: rate of whole channels before the classifier.
    """

    def __init__(
        self,
        input_shape: Mapping[str, ShapeSpec],
        *,
        num_classes: int,
        in_feature: str = "res4",
        dim: int = 256,
        dropout: float = 0.1,
    ):
        super().__init__(dim, num_classes, dropout)
        self.in_feature = in_feature
        self.convs = nn.ModuleList([conv_bn_relu(dict(by_stride(input_shape))[in_feature].channels, dim, 3)])

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Maps of the backbone -> (B, K, h, w) logits at the resolution of one of them."""
        return self.classify(self.convs[0](features[self.in_feature]))


class UPerNetOutputs(TypedDict):
    """Logits of a batch.

    Attributes:
        logits: (B, K, H/4, W/4).
        aux_logits: (B, K, h, w) of the auxiliary head, in training only.
    """

    logits: Tensor
    aux_logits: NotRequired[Tensor]


class WindowOutputs(NamedTuple):
    """Logits of an image's windows.

    Attributes:
        logits: (K, h, w) of each window.
        windows: rows and columns of each in the image.
    """

    logits: list[Tensor]
    windows: list[Window]


class UPerNet(ImageModel):
    """Backbone, head and auxiliary head.

    Args:
        backbone: maps of strides 4 to 32.
        decode_head: makes the logits.
        auxiliary_head: used in training only, and when weights are loaded.
        inference: windows, and what is returned.
        num_classes: classes K.
        auxiliary_weight: of the auxiliary head's loss.
        ignore_label: label of pixels without a class.
        train_size: smaller training batches are padded to these sides (pixels): images, normalised, with zeros,
            labels with ignore_label.
        pixel_mean, pixel_std: of RGB images in 0..255.
    """

    layouts = LAYOUTS
    tasks = ("sem_seg",)
    export_decoder = "pixels"

    def __init__(
        self,
        backbone: Backbone,
        *,
        decode_head: UPerHead,
        auxiliary_head: FCNHead,
        inference: WindowInference,
        num_classes: int = 150,
        auxiliary_weight: float = 0.4,
        ignore_label: int = 255,
        train_size: int = 512,
        pixel_mean: Sequence[float] = PIXEL_MEAN,
        pixel_std: Sequence[float] = PIXEL_STD,
    ):
        super().__init__(num_classes, pixel_mean=pixel_mean, pixel_std=pixel_std)
        self.backbone = backbone
        self.decode_head = decode_head
        self.auxiliary_head = auxiliary_head
        self.inference = inference
        self.auxiliary_weight = auxiliary_weight
        self.ignore_label = ignore_label
        self.train_size = train_size
        self.weight_of_class: Tensor | None
        self.register_buffer("weight_of_class", None, persistent=False)

    def preprocess(self, batched_inputs: Sequence[Mapping[str, Any]]) -> ImageBatch:
        """Images, normalized and padded; in training to `train_size` at least.

        Raises:
            ValueError: a training batch of one image.
        """
        images = self.normalize_and_pad(batched_inputs)
        if not self.training:
            return images
        if len(batched_inputs) * comm.get_world_size() == 1 and takes_statistics(self):
            raise ValueError(
                "UPerNet cannot train on one image at a time: batch norm needs several numbers, and pooling leaves one "
                "an image. Raise dataloader.train.total_batch_size, or lower train.accumulation."
            )
        bottom, right = (max(0, self.train_size - side) for side in images.sizes.padded)
        return ImageBatch(
            F.pad(images.tensor, (0, right, 0, bottom)),
            F.pad(images.padding_mask, (0, right, 0, bottom), value=True),
            images.sizes._replace(padded=(images.sizes.padded[0] + bottom, images.sizes.padded[1] + right)),
        )

    def prepare_targets(self, batched_inputs: Sequence[Mapping[str, Any]], images: ImageBatch) -> Tensor:
        """(B, H, W) int64 classes or ignore_label, `sem_seg` (h, w) of each image padded as the images are.

        Raises:
            ValueError: labels that are missing or do not fit.
        """
        labels = torch.full((len(batched_inputs), *images.sizes.padded), self.ignore_label, dtype=torch.int64)
        for padded, sample, (h, w) in zip(labels, batched_inputs, images.sizes.images, strict=True):
            check_labels(sample.get("sem_seg"), (h, w), self.num_classes, self.ignore_label)
            padded[:h, :w] = sample["sem_seg"]
        return labels.to(self.device)

    def note_divisors(self, batched_inputs: Sequence[Mapping[str, Any]]) -> None:
        """Pixels of the images, padding included."""
        total("pixels", self.preprocess(batched_inputs).padding_mask.numel())

    def predict(self, images: ImageBatch, targets: Tensor | None = None) -> UPerNetOutputs:
        """Logits (B, K, H/4, W/4), in training also of the auxiliary head; the targets are not looked at."""
        features = self.backbone(images.tensor)
        outputs: UPerNetOutputs = {"logits": self.decode_head(features)}
        if self.training:
            outputs["aux_logits"] = self.auxiliary_head(features)
        return outputs

    def infer(self, images: ImageBatch) -> list[WindowOutputs]:
        """Logits of the windows of each image, which goes through without padding."""
        outputs = []
        for index, (h, w) in enumerate(images.sizes.images):
            image = images.tensor[index : index + 1, :, :h, :w]  # (1, 3, h, w)
            windows = self.inference.windows((h, w))
            parts = (ImageBatch.without_padding(image[:, :, rows, columns]) for rows, columns in windows)
            outputs.append(WindowOutputs([self.predict(part)["logits"][0] for part in parts], windows))
        return outputs

    def losses(self, outputs: UPerNetOutputs, targets: Tensor) -> dict[str, Tensor]:
        """`loss_seg` and `loss_seg_aux`, weighted scalars, for labels (B, H, W)."""
        part = share("pixels", targets.numel())
        loss, auxiliary = (
            part * pixel_cross_entropy(logits, targets, self.ignore_label, self.weight_of_class)
            for logits in (outputs["logits"], cast(Tensor, outputs.get("aux_logits")))
        )
        return {"loss_seg": loss, "loss_seg_aux": self.auxiliary_weight * auxiliary}

    def export_outputs(self, images: ImageBatch) -> dict[str, Tensor]:
        """`logits` (B, K, H/4, W/4) of images, or windows, that fill the batch."""
        return {"logits": self.predict(images)["logits"]}

    def export_settings(self) -> dict[str, Any]:
        """Images of a batch are all of one size; the windows that `pixels` cuts an image into, 0 for none."""
        return {"same_size": True, "window": self.inference.window, "stride": self.inference.stride}

    def postprocess(self, outputs: Sequence[WindowOutputs], sizes: ImageSizes) -> list[dict[str, Tensor]]:
        """`sem_seg` (K, H, W) of each image at its output size, see `WindowInference`."""
        return [
            {"sem_seg": self.inference(*image, image_size=image_size, output_size=output_size)}
            for image, image_size, output_size in zip(outputs, sizes.images, sizes.outputs, strict=True)
        ]


def takes_statistics(model: nn.Module) -> bool:
    """Whether a batch norm of the model takes the statistics of its batch, as in training."""
    return any(module.training for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm))


def check_labels(labels: Tensor | None, image_size: tuple[int, int], num_classes: int, ignore_label: int) -> None:
    """Raises ValueError unless a label map (H, W) fits its image and holds classes and the ignored label only."""
    if labels is None:
        raise ValueError("A training image has no sem_seg: UPerNet needs label maps, as SemanticSegMapper makes them.")
    if tuple(labels.shape) != image_size:
        raise ValueError(f"sem_seg has the shape {tuple(labels.shape)}, its image {image_size}.")
    wrong = labels[((labels < 0) | (labels >= num_classes)) & (labels != ignore_label)]
    if len(wrong):
        few = some_of(wrong.unique().tolist(), 5)
        raise ValueError(
            f"sem_seg has the labels {few}; the model has the classes 0..{num_classes - 1} and ignores {ignore_label}."
        )


def pixel_cross_entropy(
    logits: Tensor, labels: Tensor, ignore_label: int, weight_of_class: Tensor | None = None
) -> Tensor:
    """Mean over all pixels of the cross-entropy at the labels' size, 0 where the label is ignored.

    Args:
        logits: (B, K, h, w); labels: (B, H, W).
        weight_of_class: (K,) factors of the pixels of each class.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    logits = resize(logits, labels.shape[-2:])  # (B, K, H, W)
    losses = F.cross_entropy(logits, labels, ignore_index=ignore_label, reduction="none")  # (B, H, W)
    if weight_of_class is not None:
        losses = losses * object_weights(weight_of_class, labels)
    return losses.mean()
