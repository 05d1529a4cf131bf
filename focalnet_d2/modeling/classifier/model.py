"""Image classification with a FocalNet (Focal Modulation Networks, arXiv:2203.11926, section 4.1).

The published network takes an image as it is: rows and columns that do not fill a patch are cut off. Here as in dense
tasks they are filled up with zeros, so features differ at sizes that are no multiple of the backbone's stride (32;
16 for the isotropic networks). All published sizes are multiples.

Shapes: B images, H x W pixels, K classes, C channels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import NotRequired, TypedDict

from focalnet_d2.backbone.focalnet import STAGE_NAMES, FocalNet
from focalnet_d2.utils.step_totals import share, total
from focalnet_d2.utils.text import some_of

from ..base import PIXEL_MEAN, PIXEL_STD, ImageBatch, ImageModel, ImageSizes, training_targets
from .checkpoint import LAYOUTS


class BatchMixing:
    """Mixup or CutMix of a batch with itself in reverse order (arXiv:1710.09412, arXiv:1905.04899), by timm.

    Source of the defaults: arXiv:2203.11926, table 18; the released code's own default for `cutmix` is 1.0.

    Args:
        mixup, cutmix: parameter of the Beta distribution of the shares; 0 leaves this kind out.
        prob: probability that a batch is mixed.
        switch_prob: probability of CutMix where both could be.

    Raises:
        ValueError: both are 0.
    """

    def __init__(self, *, mixup: float = 0.8, cutmix: float = 0.8, prob: float = 1.0, switch_prob: float = 0.5):
        if mixup <= 0 and cutmix <= 0:
            raise ValueError(f"Mixup {mixup} and cutmix {cutmix} mix nothing: set model.mixing=null instead.")
        self.options: dict[str, Any] = dict(mixup_alpha=mixup, cutmix_alpha=cutmix, prob=prob, switch_prob=switch_prob)

    def __call__(
        self, images: Tensor, classes: Tensor, num_classes: int, label_smoothing: float
    ) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) and (B,) -> mixed images, and the share of each class (B, K). Draws from numpy's generator.

        Raises:
            ImportError: timm is not installed.
            ValueError: an odd number of images.
        """
        try:
            from timm.data.mixup import Mixup  # an optional extra
        except ImportError as error:
            raise ImportError(
                "Mixup and CutMix need timm: pip install focalnet-d2[classification], or set model.mixing=null."
            ) from error
        if len(images) % 2:
            raise ValueError(
                f"A batch of {len(images)} images cannot be mixed in pairs: set dataloader.train.total_batch_size to "
                "an even number of images for each process and part of train.accumulation, or model.mixing=null."
            )
        return Mixup(**self.options, label_smoothing=label_smoothing, num_classes=num_classes)(images, classes)


class ClassifierOutputs(TypedDict):
    """What the classifier puts out.

    Attributes:
        logits: (B, K).
        target_shares: (B, K) shares of the classes in mixed images, in training with mixing only.
    """

    logits: Tensor
    target_shares: NotRequired[Tensor]


class ImageClassifier(ImageModel):
    """FocalNet, mean over positions, linear head.

    Args:
        backbone: with its last stage as only output, whose norm is the classifier's last norm.
        num_classes: K.
        label_smoothing: share of the target that all classes get alike.
        mixing: what mixes a training batch, or None.
        pixel_mean, pixel_std: of RGB images in 0..255.

    Raises:
        ValueError: the backbone has other outputs.
    """

    layouts = LAYOUTS
    tasks = ("classification",)
    export_decoder = "classes"

    def __init__(
        self,
        backbone: FocalNet,
        *,
        num_classes: int = 1000,
        label_smoothing: float = 0.1,
        mixing: BatchMixing | None = None,
        pixel_mean: Sequence[float] = PIXEL_MEAN,
        pixel_std: Sequence[float] = PIXEL_STD,
    ):
        super().__init__(num_classes, pixel_mean=pixel_mean, pixel_std=pixel_std)
        last = STAGE_NAMES[len(backbone.depths) - 1]
        if backbone.out_features != (last,):
            raise ValueError(
                f"A classifier takes the last stage of its backbone and nothing else, not "
                f"{list(backbone.out_features)}: set model.backbone.out_features=[{last}]."
            )
        self.backbone = backbone
        self.label_smoothing = label_smoothing
        self.mixing = mixing
        self.weight_of_class: Tensor | None
        self.register_buffer("weight_of_class", None, persistent=False)
        self.head = nn.Linear(backbone.output_shape()[last].channels, num_classes)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def preprocess(self, batched_inputs: Sequence[Mapping[str, Any]]) -> ImageBatch:
        """Images of one size, normalized.

        Raises:
            ValueError: images of different sizes.
        """
        images = self.normalize_and_pad(batched_inputs)
        if len(sizes := set(images.sizes.images)) > 1:
            raise ValueError(
                f"The images of a batch have the sizes (height, width) {some_of(sorted(sizes))}: a classifier needs "
                "one size, as center_crop and ImageNetAugmentation give, or batches of one image."
            )
        return images

    def prepare_targets(self, batched_inputs: Sequence[Mapping[str, Any]], images: ImageBatch) -> Tensor:
        """(B,) classes, the `class_id` of each image.

        Raises:
            ValueError: a class that the model does not have.
        """
        class_ids = training_targets(batched_inputs, "class_id")
        if unknown := [class_id for class_id in class_ids if not 0 <= class_id < self.num_classes]:
            raise ValueError(
                f"Class {unknown[0]} is none of the model's {self.num_classes}, which count from 0: set "
                "model.num_classes to the number of class folders."
            )
        return torch.tensor(class_ids, device=self.device)

    def note_divisors(self, batched_inputs: Sequence[Mapping[str, Any]]) -> None:
        """Number of images."""
        total("images", len(batched_inputs))

    def predict(self, images: ImageBatch, targets: Tensor | None = None) -> ClassifierOutputs:
        """(B, K) logits; with targets (B,) and a model that mixes, of mixed images."""
        if targets is None or self.mixing is None:
            return {"logits": self.run_network(images.tensor)}
        mixed, shares = self.mixing(images.tensor, targets, self.num_classes, self.label_smoothing)
        return {"logits": self.run_network(mixed), "target_shares": shares}

    def run_network(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalized -> (B, K) logits."""
        (features,) = self.backbone(images).values()  # (B, C, H / stride, W / stride)
        return self.head(features.mean((2, 3)))

    def losses(self, outputs: ClassifierOutputs, targets: Tensor) -> dict[str, Tensor]:
        """`loss_class`, a scalar: cross entropy, with label smoothing whether the images are mixed or not."""
        if "target_shares" in outputs:  # smoothed by what mixed them
            loss = self._cross_entropy(outputs["logits"], outputs["target_shares"], 0.0)
        else:
            loss = self._cross_entropy(outputs["logits"], targets, self.label_smoothing)
        return {"loss_class": loss * share("images", len(targets))}

    def _cross_entropy(self, logits: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
        """Mean over images: logits (B, K), targets (B,) classes or (B, K) shares, whose mean weight an image has."""
        if self.weight_of_class is None:
            return F.cross_entropy(logits, targets, label_smoothing=label_smoothing)
        weights = self.weight_of_class.to(logits)
        weights = weights[targets] if targets.ndim == 1 else targets.to(logits) @ weights  # (B,)
        return (weights * F.cross_entropy(logits, targets, label_smoothing=label_smoothing, reduction="none")).mean()

    def export_outputs(self, images: ImageBatch) -> dict[str, Tensor]:
        """`logits` (B, K)."""
        return {"logits": self.run_network(images.tensor)}

    def export_settings(self) -> dict[str, Any]:
        """Images of a batch are all of one size."""
        return {"same_size": True}

    def postprocess(self, outputs: ClassifierOutputs, sizes: ImageSizes) -> list[dict[str, Tensor]]:
        """`scores` (K,) of each image, the logits as float32."""
        return [{"scores": scores} for scores in outputs["logits"].float()]
