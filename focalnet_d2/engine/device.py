"""Choice of the device and of the number format that autocast uses on it."""

import torch

from focalnet_d2.config.settings import AMP_MODES


def resolve_device(device: str = "auto", local_rank: int = 0) -> torch.device:
    """The device of this process: `auto` takes cuda, then mps, then cpu; `cuda` means the one of `local_rank`.

    Raises:
        ValueError: a name that torch does not know, or cuda where there is none.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"Unknown device '{device}': use auto, cpu, cuda, cuda:N or mps.") from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"Device '{device}' was asked for, but torch sees no CUDA device: take cpu or auto.")
    if resolved.type == "cuda" and resolved.index is None:
        return torch.device("cuda", local_rank)
    return resolved


def resolve_amp(mode: str, device: torch.device, *, training: bool) -> torch.dtype | None:
    """The autocast dtype for `train.amp`, or None for full precision.

    `bf16` and `fp16` are for training and evaluation alike. `auto` trains in bf16 on a CUDA device that has it, in fp16
    (with loss scaling) on an older one, in full precision elsewhere, and evaluates in full precision everywhere, as the
    published numbers were.

    Raises:
        ValueError: an unknown mode, or fp16 without CUDA.
    """
    if mode is False or mode == "off":  # YAML and hydra read a bare off as false
        return None
    if mode == "auto":
        if device.type != "cuda" or not training:
            return None
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if mode == "bf16":
        return torch.bfloat16
    if mode == "fp16":
        if device.type != "cuda":
            raise ValueError(f"train.amp=fp16 needs a CUDA device, this run is on {device}: use bf16 or off.")
        return torch.float16
    raise ValueError(f"train.amp is '{mode}': it must be one of {', '.join(AMP_MODES)}.")
