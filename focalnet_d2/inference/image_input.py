"""One image, whatever it comes as, as the 8-bit RGB that training reads (`data/pixels.py` has the rules).

    path, bytes     an image file, turned upright by its EXIF orientation
    Pillow image    the same, decoded
    array           (H, W), (H, W, 1), (H, W, 3) or (H, W, 4): uint8, uint16, or float from 0 to 1; alpha is laid over
                    white
    tensor          the same with the channels first: (1, H, W), (3, H, W) or (4, H, W)

The order of colors can only be told for arrays and tensors; files say their own. Where the network takes other channels
(`data/channels.py`), all of these have all channels of the training files, in their type.
"""

import os

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from focalnet_d2.data.channels import ChannelFormat, ImageFormat
from focalnet_d2.data.image_reading import read_channels, read_image
from focalnet_d2.data.image_sources import (
    InputImage,
    array_channels,
    array_pixels,
    check_channel_order,
    check_shape,
    image_in_memory,
    image_of_channels,
)

from .given_images import image_path

ImageSource = str | os.PathLike | bytes | bytearray | memoryview | Image.Image | np.ndarray | Tensor


def read_input(source: ImageSource, channel_order: str = "RGB", image_format: ImageFormat = "RGB") -> InputImage:
    """An image from a path, the bytes of a file, a Pillow image, an array or a tensor; any shape above.

    Args:
        channel_order: "RGB" or "BGR", of arrays and tensors with colors.
        image_format: what the network takes.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no image, or one whose values have no 8-bit meaning or are other channels; names the
            file or says what it is.
        TypeError: nothing of the above.
    """
    check_channel_order(channel_order)
    if isinstance(source, str | os.PathLike):
        path = image_path(source)
        if isinstance(image_format, ChannelFormat):
            return image_of_channels(read_channels(str(path)), image_format, str(path), path)
        return InputImage(read_image(str(path)), str(path), path)
    if isinstance(source, Tensor):
        return _from_tensor(source, channel_order, image_format)
    return image_in_memory(source, channel_order, image_format)


def _from_tensor(source: Tensor, channel_order: str, image_format: ImageFormat) -> InputImage:
    shape = "of several shapes" if source.is_nested else tuple(source.shape)
    name = f"tensor {str(source.dtype).removeprefix('torch.')} {shape}"
    values = source.detach()
    try:
        array = (values.float() if values.dtype is torch.bfloat16 else values).cpu().resolve_neg().numpy()
    except (
        NotImplementedError,
        TypeError,
        RuntimeError,
    ) as error:  # on no device, sparse, quantized, 8-bit floats, ...
        raise ValueError(f"The {name} holds no plain values: give a dense tensor of uint8 or floats.") from error
    array = array.transpose(1, 2, 0) if array.ndim == 3 else array  # (C, H, W) -> (H, W, C)
    if isinstance(image_format, ChannelFormat):
        return image_of_channels(array_channels(array, name), image_format, name)
    check_shape(array, name, "(3, H, W), or 1 or 4 in place of 3")
    return InputImage(array_pixels(array, channel_order, name), name)
