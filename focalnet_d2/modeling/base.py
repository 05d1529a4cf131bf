"""The contract of all models: `preprocess` -> `predict` -> `losses` in training, `postprocess` in evaluation.

`ImageModel.forward` is written once for all of them. A model says its tasks, the layouts of the files that fill it, and
its outputs as a `TypedDict`. What counts FLOPs, exports, predicts or evaluates goes through these methods and knows no
model by name.

Shapes: B images, H x W pixels of the padded batch.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from focalnet_d2.checkpoint.layout import Layout
from focalnet_d2.utils.step_totals import HEIGHT, WIDTH, StepTotals, largest

PIXEL_MEAN, PIXEL_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # ImageNet's, RGB in 0..255
MM_DIVISOR = 32  # mmdetection pads every image, by itself, to a multiple of it

Size = tuple[int, int]  # height, width
Task = Literal["bbox", "segm", "panoptic", "sem_seg", "classification"]


class ImageSizes(NamedTuple):
    """Sizes of a batch, each (height, width).

    Attributes:
        padded: of the batch.
        images: of each image in it, without padding.
        outputs: of each image's result.
    """

    padded: Size
    images: list[Size]
    outputs: list[Size]


class ImageBatch(NamedTuple):
    """Images as the network gets them, and the way back to where they came from.

    Attributes:
        tensor: (B, C, H, W) normalized, zeros where there is no image.
        padding_mask: (B, H, W) bool, True = padding.
        sizes: of the images and of their results.
    """

    tensor: Tensor
    padding_mask: Tensor
    sizes: ImageSizes

    @classmethod
    def without_padding(cls, tensor: Tensor) -> "ImageBatch":
        """Images (B, C, H, W) that are normalized already and fill the batch."""
        size = (tensor.shape[-2], tensor.shape[-1])
        mask = torch.zeros(len(tensor), *size, dtype=torch.bool, device=tensor.device)
        return cls(tensor, mask, ImageSizes(size, [size] * len(tensor), [size] * len(tensor)))


class ImageModel(nn.Module):
    """Base of the detectors, the segmenters and the classifier.

    Args:
        num_classes: classes K.
        pixel_mean, pixel_std: of RGB images in 0..255, or of the C channels of others.

    Raises:
        ValueError: mean and std are not as many finite numbers, or a std is not positive.

    Attributes:
        layouts: of the published files that fill the model, and of its own.
        tasks: what it is evaluated on, the main one first.
        export_decoder: the module of `focalnet_d2/export/decoding/` that makes results of `export_outputs`.
        class_weights: what `weigh_classes` was given last, which no checkpoint of the model holds; None before.
    """

    layouts: ClassVar[tuple[Layout, ...]]
    tasks: tuple[Task, ...]
    export_decoder: ClassVar[str]
    class_weights: Sequence[float] | None = None
    num_classes: int
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, num_classes: int, *, pixel_mean: Sequence[float], pixel_std: Sequence[float]):
        super().__init__()
        check_pixel_statistics(pixel_mean, pixel_std)
        self.num_classes = num_classes
        self.register_buffer("pixel_mean", torch.tensor(list(pixel_mean)).view(-1, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(list(pixel_std)).view(-1, 1, 1), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the model lives, and where its inputs are brought."""
        return self.pixel_mean.device

    def forward(self, batched_inputs: Sequence[Mapping[str, Any]]) -> dict[str, Tensor] | list[dict[str, Any]]:
        """Detectron2's interface: mapper dicts -> weighted losses in training, results in evaluation.

        Args:
            batched_inputs: per image `image` (C, h, w), RGB in 0..255 or other channels; in training what
                `prepare_targets` reads; in evaluation `height` and `width` of the result, by default the image's own.

        Returns:
            Scalars by name, or a dict for each image.

        Raises:
            ValueError: an input that the model cannot take; the message says what to change.
        """
        images = self.preprocess(batched_inputs)
        if self.training:
            targets = self.prepare_targets(batched_inputs, images)
            return self.losses(self.predict(images, targets), targets)
        return self.postprocess(self.infer(images), images.sizes)

    def note_totals(self, parts: Sequence[Sequence[Mapping[str, Any]]], totals: StepTotals) -> None:
        """Notes what the parts of a training batch must know of each other, so that their losses are the batch's.

        Every part is padded to the largest image of all, and its losses are divided by the numbers of all.

        Args:
            parts: mapper dicts of each part, as `forward` takes them.
            totals: new ones.

        Raises:
            ValueError: an input that the model cannot take.
        """
        for part in parts:
            for image in part:
                check_image(image, len(self.pixel_mean))
            with totals.noting_part():
                note_sides([image["image"] for image in part])
        for part in parts:
            with totals.noting_part():
                self.note_divisors(part)

    def note_divisors(self, batched_inputs: Sequence[Mapping[str, Any]]) -> None:
        """Asks for every number that the losses of these images ask `focalnet_d2.utils.step_totals` for.

        A whole pass through the model, which models avoid that know these numbers from the targets.
        """
        self(batched_inputs)

    def weigh_classes(self, weights: Sequence[float]) -> None:
        """Multiplies the class loss of what is trained on class k by weights[k]; background keeps its weight.

        Raises:
            ValueError: another number of weights than classes.
        """
        if len(weights) != self.num_classes:
            raise ValueError(f"There are {len(weights)} weights of classes for {self.num_classes} classes.")
        self.class_weights = list(weights)
        alike = all(weight == 1 for weight in weights)
        for module in self.modules():
            if hasattr(module, "weight_of_class"):
                cast(Any, module).weight_of_class = None if alike else self.pixel_mean.new_tensor(list(weights))

    def preprocess(self, batched_inputs: Sequence[Mapping[str, Any]]) -> ImageBatch:
        """Images of mapper dicts, normalized and padded to the largest height and width of the batch."""
        return self.normalize_and_pad(batched_inputs)

    def prepare_targets(self, batched_inputs: Sequence[Mapping[str, Any]], images: ImageBatch) -> Any:
        """What `losses` compares the outputs with, on the model's device."""
        raise NotImplementedError(f"{type(self).__name__} cannot be trained.")

    def predict(self, images: ImageBatch, targets: Any = None) -> Any:
        """The network: images -> outputs, a `TypedDict` of the model; `targets` are given in training only."""
        raise NotImplementedError(f"{type(self).__name__} has no predict.")

    def infer(self, images: ImageBatch) -> Any:
        """Outputs for `postprocess`: `predict`, unless a model sees an image in parts."""
        return self.predict(images)

    def losses(self, outputs: Any, targets: Any) -> dict[str, Tensor]:
        """Weighted losses, scalars by name; the names are the same for every batch."""
        raise NotImplementedError(f"{type(self).__name__} cannot be trained.")

    def postprocess(self, outputs: Any, sizes: ImageSizes) -> list[dict[str, Any]]:
        """The results of each image at its output size, named as Detectron2's evaluators expect them."""
        raise NotImplementedError(f"{type(self).__name__} has no postprocess.")

    def static_forward(self, images: ImageBatch) -> Any:
        """The part of the network whose shapes follow from those of the images alone; FLOPs are counted in it."""
        return self.predict(images)

    def export_forward(self, images: Tensor, image_sizes: Tensor) -> dict[str, Tensor]:
        """The model as a function of tensors, which exported graphs hold; it is the same for all models.

        Args:
            images: (B, C, H, W), RGB in 0..255 or other channels; what is right of and below an image is not looked at.
            image_sizes: (B, 2) int64, (height, width) of each image in it.

        Returns:
            What `export_outputs` says, tensors by name.
        """
        height, width = images.shape[-2], images.shape[-1]
        below = torch.arange(height, device=images.device) >= image_sizes[:, :1]  # (B, H)
        beside = torch.arange(width, device=images.device) >= image_sizes[:, 1:]  # (B, W)
        padding_mask = below[:, :, None] | beside[:, None]  # (B, H, W)
        normalized = ((images - self.pixel_mean) / self.pixel_std).masked_fill(padding_mask[:, None], 0.0)
        return self.export_outputs(ImageBatch(normalized, padding_mask, ImageSizes((height, width), [], [])))

    def export_outputs(self, images: ImageBatch) -> dict[str, Tensor]:
        """(B, C, H, W) -> tensors (B, ...) by name, of which `export_decoder` makes results.

        Only operators that other runtimes have are called, and no shape depends on the values of a tensor. The sizes of
        the single images are missing in `images`: where an image ends is in its `padding_mask` alone.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot be exported.")

    def export_settings(self) -> dict[str, Any]:
        """Plain values that `export_decoder` needs beside the tensors: thresholds, numbers of results, ..."""
        raise NotImplementedError(f"{type(self).__name__} cannot be exported.")

    def normalize_and_pad(self, batched_inputs: Sequence[Mapping[str, Any]], divisor: int = 1) -> ImageBatch:
        """Normalizes images and pads them with zeros, right and below, to one size.

        Args:
            batched_inputs: per image `image` (C, h, w) in 0..255, and perhaps `height` and `width` of its result.
            divisor: the largest height and width are rounded up to a multiple of it.
        """
        tensor, image_sizes = batch_images(batched_inputs, self.pixel_mean, self.pixel_std, divisor)
        padding_mask = torch.ones(len(tensor), *tensor.shape[-2:], dtype=torch.bool, device=tensor.device)
        for mask, (h, w) in zip(padding_mask, image_sizes, strict=True):
            mask[:h, :w] = False
        padded = (tensor.shape[-2], tensor.shape[-1])
        return ImageBatch(tensor, padding_mask, ImageSizes(padded, image_sizes, output_sizes(batched_inputs)))


def check_pixel_statistics(pixel_mean: Sequence[float], pixel_std: Sequence[float]) -> None:
    """Raises ValueError unless both are finite numbers, as many as each other, those of `pixel_std` above 0."""
    for name, values in (("pixel_mean", pixel_mean), ("pixel_std", pixel_std)):
        if not values or not all(map(math.isfinite, values)):
            raise ValueError(f"{name} is {list(values)}: it must be a finite number for each channel of the images.")
    if len(pixel_mean) != len(pixel_std):
        raise ValueError(
            f"pixel_mean is {list(pixel_mean)} and pixel_std {list(pixel_std)}: both must be numbers for each channel "
            "of the images, which are three of red, green and blue."
        )
    if min(pixel_std) <= 0:
        raise ValueError(f"pixel_std is {list(pixel_std)}: pixels are divided by it, so it must be above 0.")


def batch_images(
    batched_inputs: Sequence[Mapping[str, Any]], pixel_mean: Tensor, pixel_std: Tensor, divisor: int = 1
) -> tuple[Tensor, list[Size]]:
    """Normalizes images and pads them with zeros, right and below, to one size.

    Args:
        batched_inputs: per image `image` (C, h, w).
        pixel_mean, pixel_std: (C, 1, 1); their type and device are those of the batch.
        divisor: the largest height and width are rounded up to a multiple of it.

    Returns:
        (B, C, H, W), and each image's (h, w).

    Raises:
        ValueError: no images, or something else than dicts with images of this shape.
    """
    if isinstance(batched_inputs, Mapping | str) or len(batched_inputs) == 0:
        raise ValueError(
            "A model takes a list with a dict for each image, at least one: [{'image': (3, H, W) in 0..255}]."
        )
    for image in batched_inputs:
        check_image(image, len(pixel_mean))
    moved = [image["image"].to(pixel_mean.device, non_blocking=True) for image in batched_inputs]  # a byte a color
    images = [(image.to(pixel_mean) - pixel_mean) / pixel_std for image in moved]
    image_sizes = [(image.shape[-2], image.shape[-1]) for image in images]
    height, width = (-(-side // divisor) * divisor for side in note_sides(images))
    batch = images[0].new_zeros(len(images), len(pixel_mean), height, width)
    for padded, image, (h, w) in zip(batch, images, image_sizes, strict=True):
        padded[:, :h, :w] = image
    return batch, image_sizes


def note_sides(images: Sequence[Tensor]) -> tuple[int, int]:
    """The largest height and width of images (C, h, w), where a batch goes through in parts those of the whole."""
    sizes = [image.shape[-2:] for image in images]
    return largest(HEIGHT, max(h for h, _ in sizes)), largest(WIDTH, max(w for _, w in sizes))


def check_image(sample: Any, channels: int) -> None:
    """Raises ValueError unless an input is a dict with `image` (channels, h, w), a tensor that is not empty."""
    wanted = f"A model takes dicts with a tensor `image` ({channels}, H, W)" + " in 0..255" * (channels == 3)
    image = sample.get("image") if isinstance(sample, Mapping) else None
    if not isinstance(image, Tensor):
        raise ValueError(f"{wanted}, and not a {type(sample if image is None else image).__name__}.")
    if image.ndim != 3 or len(image) != channels or not image.numel():
        raise ValueError(f"{wanted}, and not one of shape {tuple(image.shape)}: permute(2, 0, 1) turns (H, W, C).")


def training_targets(batched_inputs: Sequence[Mapping[str, Any]], key: str) -> list[Any]:
    """What each input of a training step holds under `key`.

    Raises:
        ValueError: an input has none, as those that a model predicts from.
    """
    if any(sample.get(key) is None for sample in batched_inputs):
        raise ValueError(
            f"A model in training needs `{key}` in the dict of each image, as the training mappers write it: call "
            "model.eval() to predict without."
        )
    return [sample[key] for sample in batched_inputs]


def image_limits(padding_mask: Tensor) -> Tensor:
    """The largest XYXY coordinates within each image: (B, H, W) bool, True = padding -> (B, 1, 4)."""
    height, width = (~padding_mask[:, :, 0]).sum(1), (~padding_mask[:, 0]).sum(1)  # (B,)
    return torch.stack([width, height, width, height], dim=1)[:, None].float()


def output_sizes(batched_inputs: Sequence[Mapping[str, Any]]) -> list[Size]:
    """(height, width) of each result: what the mapper asks for, or the image's own."""
    return [
        (image.get("height", image["image"].shape[-2]), image.get("width", image["image"].shape[-1]))
        for image in batched_inputs
    ]
