"""Batch norms whose statistics are those of all processes, on devices for which torch has none."""

import torch
import torch.nn.functional as F
from fvcore.nn.distributed import differentiable_all_reduce
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class SyncBatchNormAnywhere(_BatchNorm):
    """`nn.SyncBatchNorm`, which runs on GPUs only, in torch's own operators: the same results on any device.

    Differs from Detectron2's `NaiveSyncBatchNorm`: every value weighs the same whatever the sizes of the images of a
    process are, and the running variance is the unbiased one, as in torch.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, ...) -> the same shape; all processes must call it in training."""
        if not self.training:
            running, is_local = (self.running_mean, self.running_var), self.running_mean is None
            return F.batch_norm(input, *running, self.weight, self.bias, is_local, 0.0, self.eps)
        wide = input.to(torch.promote_types(input.dtype, torch.float32)).transpose(0, 1)  # (C, N, ...)
        values = wide.flatten(1)  # (C, values of this process)
        own = values.new_full((1,), values.shape[1])
        *sums, count = differentiable_all_reduce(torch.cat([values.sum(1), own])).split([len(values), 1])
        mean = sums[0] / count  # (C,)
        centered = values - mean[:, None]
        variance = differentiable_all_reduce(centered.square().sum(1)) / count  # (C,)
        self._note(mean.detach(), variance.detach() * count / (count - 1).clamp(min=1))
        normed = centered * torch.rsqrt(variance + self.eps)[:, None]
        if self.weight is not None:
            normed = normed * self.weight[:, None] + self.bias[:, None]
        return normed.view(wide.shape).transpose(0, 1).to(input.dtype)

    @torch.no_grad()
    def _note(self, mean: Tensor, variance: Tensor) -> None:
        """Add the statistics of a batch to the running ones."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions will do."""


def synchronize_anywhere(model: nn.Module) -> None:
    """Let the synchronized batch norms of a model run on any device, in place: parameters, buffers and hooks stay."""
    for module in model.modules():
        if isinstance(module, nn.SyncBatchNorm):
            module.__class__ = SyncBatchNormAnywhere  # type: ignore[assignment]
