"""Image classification with a FocalNet (Focal Modulation Networks, arXiv:2203.11926, section 4.1).

The published network takes an image as it is: rows and columns that do not fill a patch are cut off. Here as in dense
tasks they are filled up with zeros, so features differ at sizes that are no multiple of the backbone's stride (32;
16 for the isotropic networks). All published sizes are multiples.

Shapes: B images, H x W pixels, K classes, C channels.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focalnet_d2.backbone.focalnet import STAGE_NAMES, FocalNet

from ..base import PIXEL_MEAN, PIXEL_STD, ImageModel
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
            raise ValueError(f"mixup {mixup} and cutmix {cutmix} mix nothing: set model.mixing=null instead")
        self.options = dict(mixup_alpha=mixup, cutmix_alpha=cutmix, prob=prob, switch_prob=switch_prob)

    def __call__(
        self, images: Tensor, classes: Tensor, num_classes: int, label_smoothing: float
    ) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) and (B,) -> mixed images, and the share of each class (B, K). Draws from numpy's generator.

        Raises:
            ImportError: timm is not installed.
            ValueError: an odd number of images.
        """
        try:
            from timm.data import Mixup
        except ImportError as error:
            raise ImportError(
                "mixup and CutMix need timm: pip install focalnet-d2[classification], or set model.mixing=null"
            ) from error
        if len(images) % 2:
            raise ValueError(
                f"a batch of {len(images)} images cannot be mixed in pairs: set dataloader.train.total_batch_size to "
                "an even number of images for each process and part of train.accumulation, or model.mixing=null"
            )
        return Mixup(**self.options, label_smoothing=label_smoothing, num_classes=num_classes)(images, classes)


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
                f"a classifier takes the last stage of its backbone and nothing else, not "
                f"{list(backbone.out_features)}: set model.backbone.out_features=[{last}]"
            )
        self.backbone = backbone
        self.label_smoothing = label_smoothing
        self.mixing = mixing
        self.head = nn.Linear(backbone.output_shape()[last].channels, num_classes)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, batched_inputs: Sequence[Mapping]) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Detectron2's interface: mapper dicts -> loss in training, results in evaluation.

        Args:
            batched_inputs: per image `image` (3, H, W) RGB in 0..255, all of one size, and in training `class_id`.

        Returns:
            `{"loss_class"}`; in evaluation per image `scores` (K,), the logits as float32.

        Raises:
            ValueError: images of different sizes, or a class that the model does not have.
        """
        images = self.preprocess(batched_inputs)
        if self.training:
            return {"loss_class": self.loss(images, self.classes(batched_inputs))}
        return [{"scores": scores} for scores in self.predict(images).float()]

    def preprocess(self, batched_inputs: Sequence[Mapping]) -> Tensor:
        """(B, 3, H, W), normalised."""
        images, sizes = self.batch(batched_inputs)
        if len(set(sizes)) > 1:
            raise ValueError(
                f"the images of a batch have the sizes (height, width) {sorted(set(sizes))[:3]}: a classifier needs "
                "one size, as center_crop and ImageNetAugmentation give, or batches of one image"
            )
        return images

    def classes(self, batched_inputs: Sequence[Mapping]) -> Tensor:
        """(B,) classes of the images."""
        class_ids = [image["class_id"] for image in batched_inputs]
        if unknown := [class_id for class_id in class_ids if not 0 <= class_id < self.num_classes]:
            raise ValueError(
                f"class {unknown[0]} is none of the model's {self.num_classes}, which count from 0: set "
                "model.num_classes to the number of class folders"
            )
        return torch.tensor(class_ids, device=self.device)

    def predict(self, images: Tensor) -> Tensor:
        """The network: (B, 3, H, W) normalised -> (B, K) logits."""
        (features,) = self.backbone(images).values()  # (B, C, H / stride, W / stride)
        return self.head(features.mean((2, 3)))

    def loss(self, images: Tensor, classes: Tensor) -> Tensor:
        """Cross entropy of the batch, mixed if the model mixes; label smoothing in either case."""
        if self.mixing is None:
            return F.cross_entropy(self.predict(images), classes, label_smoothing=self.label_smoothing)
        images, shares = self.mixing(images, classes, self.num_classes, self.label_smoothing)
        return F.cross_entropy(self.predict(images), shares)
