"""The stem of a FocalNet for red, green and blue becomes one for other channels.

Where nobody says which channels are red, green and blue, each of the N channels gets the mean of the three kernels
times 3 / N. So an image whose normalized channels are all the same gives what the file's network gives for three such
channels. Where somebody does, these three keep their kernels, and the others start at zero: the network gives what the
file's network gives for red, green and blue, whatever the others hold.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .layout import State
from .report import LoadReport

COLORS = 3


def inflate_stem(
    tensors: dict[str, Tensor],
    model_state: State,
    prefix: str | None,
    rgb_places: Sequence[int] | None,
    report: LoadReport,
) -> None:
    """Brings the stem below a prefix from 3 input channels, (D, 3, k, k), to those of the model.

    Nothing is done where both have as many channels, or the file's are not three.

    Args:
        tensors: the file's tensors by the model's names, changed in place.
        prefix: None where the model has no FocalNet.
        rgb_places: where red, green and blue are among the model's channels; () where that is unknown; None where the
            stem is to stay as it is.
        report: gets what was done.
    """
    name = f"{prefix}patch_embed.proj.weight"
    kernels, wanted = tensors.get(name), model_state.get(name)
    if prefix is None or rgb_places is None or kernels is None or wanted is None:
        return
    if kernels.shape[1] != COLORS or wanted.shape[1] == COLORS:
        return
    count = wanted.shape[1]
    if rgb_places:
        tensors[name] = kernels.new_zeros((len(kernels), count, *kernels.shape[2:]))  # (D, N, k, k)
        tensors[name][:, list(rgb_places)] = kernels
        how = f"red, green and blue keep theirs as channels {list(rgb_places)} of {count}, the others start at zero"
    else:
        mean = kernels.to(torch.float32).mean(dim=1, keepdim=True) * (COLORS / count)
        tensors[name] = mean.to(kernels.dtype).repeat(1, count, 1, 1)  # (D, N, k, k)
        how = f"each of {count} channels starts with the mean of red, green and blue times {COLORS}/{count}"
    report.resized[name] = how
    report.notes.append(f"of the stem, {how}")
