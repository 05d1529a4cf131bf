"""From mapper dicts to a batch of normalised images."""

from collections.abc import Mapping, Sequence

from torch import Tensor

MM_DIVISOR = 32  # mmdetection pads every image, by itself, to a multiple of it


def batch_images(
    batched_inputs: Sequence[Mapping], pixel_mean: Tensor, pixel_std: Tensor, divisor: int = 1
) -> tuple[Tensor, list[tuple[int, int]]]:
    """Normalises images and pads them with zeros, right and below, to one size.

    Args:
        batched_inputs: per image `image` (3, h, w) in 0..255.
        pixel_mean, pixel_std: (3, 1, 1); their type and device are those of the batch.
        divisor: the largest height and width are rounded up to a multiple of it.

    Returns:
        (B, 3, H, W), and each image's (h, w).
    """
    moved = [image["image"].to(pixel_mean.device, non_blocking=True) for image in batched_inputs]  # a byte a colour
    images = [(image.to(pixel_mean) - pixel_mean) / pixel_std for image in moved]
    image_sizes = [tuple(image.shape[-2:]) for image in images]
    height, width = (-(-max(side) // divisor) * divisor for side in zip(*image_sizes, strict=True))
    batch = images[0].new_zeros(len(images), len(pixel_mean), height, width)
    for padded, image, (h, w) in zip(batch, images, image_sizes, strict=True):
        padded[:, :h, :w] = image
    return batch, image_sizes


def wanted_sizes(batched_inputs: Sequence[Mapping], image_sizes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """(height, width) of each result: what the mapper asks for, or the image's own."""
    return [
        (image.get("height", h), image.get("width", w))
        for image, (h, w) in zip(batched_inputs, image_sizes, strict=True)
    ]
