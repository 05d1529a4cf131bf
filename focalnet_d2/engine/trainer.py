"""The training loop: one weight update per iteration, on top of Detectron2's hooks.

Differs from Detectron2's trainers: mixed precision in bf16 or fp16 on any device, accumulation that equals the whole
batch, clipping by the norm of all gradients, and a stop before any weight is touched when a loss is not finite.
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from detectron2.engine import TrainerBase
from detectron2.utils import comm
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grads_with_norm_

from focalnet_d2.config.moved import with_old_log_names
from focalnet_d2.kernels.cpu_matmul import fast_cpu_matmul
from focalnet_d2.utils.atomic_write import write_atomically
from focalnet_d2.utils.text import some_of

from .accumulation import EqualWeights, split_batch
from .distributed import all_gather_object, no_sync
from .precision import autocast
from .sharding import local_shard, total_norm

NAN_REPORT = "nan_batch.json"


class NonFiniteError(FloatingPointError):
    """A loss or a gradient is infinite or not a number; names the terms, the iteration and the files."""


class Trainer(TrainerBase):
    """Trains a model that maps a list of Detectron2 dicts to a dict of named, weighted losses.

    Args:
        model: the model, or its form for several processes (`distributed.wrap_model`), on its device.
        data_loader: endless iterable of lists of dicts.
        optimizer: over the model's parameters.
        device: where the model is; decides the type of autocast.
        amp_dtype: autocast dtype, or None for full precision.
        scaler: scales the loss for float16; by default it does nothing.
        clip_norm: largest L2 norm of all gradients together; 0 does not clip.
        accumulation: number of parts in which a batch goes through the model.
        microbatch_weights: weights of the losses of the parts (see `accumulation.py`).
        output_dir: where the report of a non-finite batch is written.
    """

    def __init__(
        self,
        model: nn.Module,
        data_loader: Iterable[Sequence[dict]],
        optimizer: torch.optim.Optimizer,
        *,
        device: torch.device,
        amp_dtype: torch.dtype | None = None,
        scaler: torch.amp.GradScaler | None = None,
        clip_norm: float = 0.0,
        accumulation: int = 1,
        microbatch_weights: Callable[[Sequence[Sequence[dict]]], list[float]] | None = None,
        output_dir: str | Path = ".",
    ) -> None:
        super().__init__()
        self.model = model.train()
        self.optimizer = optimizer
        self.device = device
        self.amp_dtype = amp_dtype
        self.clip_norm = clip_norm
        self.accumulation = accumulation
        self.microbatch_weights = microbatch_weights or EqualWeights()
        self.output_dir = Path(output_dir)
        self.scaler = scaler or torch.amp.GradScaler(device.type, enabled=False)
        self._batches = iter(data_loader)  # here and not at the first step: starting a loader draws random numbers

    @property
    def network(self) -> nn.Module:
        """The model without its distributed wrapper."""
        return self.model.module if isinstance(self.model, DistributedDataParallel) else self.model

    def run_step(self) -> None:
        """One update: every part forward and backward, then check, clip and step."""
        start = time.perf_counter()
        batch = next(self._batches)
        data_time = time.perf_counter() - start

        parts = split_batch(batch, self.accumulation)
        weights = self.microbatch_weights(parts)
        self.optimizer.zero_grad(set_to_none=True)
        terms = [
            self.forward_backward(part, weight, is_last=index == len(parts) - 1)
            for index, (part, weight) in enumerate(zip(parts, weights))
        ]
        ranks = all_gather_object({"losses": _sum_terms(terms), "data_time": data_time, "files": _files(batch)})
        losses = _mean_over_ranks([rank["losses"] for rank in ranks])
        self.check_losses(losses, ranks)

        self.scaler.unscale_(self.optimizer)
        grad_norm = self.clip_gradients(ranks)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.write_metrics(losses, grad_norm, max(rank["data_time"] for rank in ranks))

    def forward_backward(self, part: list[dict], weight: float, *, is_last: bool) -> dict[str, Tensor]:
        """Losses of a microbatch times its weight, as detached scalars; their gradients join the parameters'."""
        with nullcontext() if is_last else no_sync(self.model), fast_cpu_matmul(self.device):
            with autocast(self.device, self.amp_dtype):
                losses = {name: weight * loss for name, loss in self.model(part).items()}
            total = sum(losses.values())
            if total.requires_grad:
                self.scaler.scale(total).backward()
            self.after_backward()
        return {name: loss.detach() for name, loss in losses.items()}

    def clip_gradients(self, ranks: list[dict]) -> float:
        """Scale the gradients down to `clip_norm`; returns their L2 norm before that."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = total_norm([parameter.grad for parameter in parameters])
        if not math.isfinite(norm) and not self.scaler.is_enabled():  # the scaler skips such a step by itself
            named = {id(parameter): name for name, parameter in self.network.named_parameters()}
            bad = [named[id(p)] for p in parameters if not local_shard(p.grad).isfinite().all()]
            bad = list(dict.fromkeys(name for names in all_gather_object(bad) for name in names))
            self.stop(f"The gradients of {some_of(bad, 8)} are not finite", bad, {}, ranks)
        if self.clip_norm > 0:
            clip_grads_with_norm_(parameters, self.clip_norm, norm)
        return float(norm)

    def check_losses(self, losses: dict[str, float], ranks: list[dict]) -> None:
        """Stop when a loss is not finite on any rank; no weight has been changed by this iteration."""
        bad = [name for name, value in losses.items() if not math.isfinite(value)]
        if bad:
            guilty = [rank for rank in ranks if not all(map(math.isfinite, rank["losses"].values()))]
            verb = "loss term is" if len(bad) == 1 else "loss terms are"
            self.stop(f"The {verb} not finite: {', '.join(bad)}", bad, losses, guilty)

    def stop(self, what: str, terms: list[str], losses: dict[str, float], ranks: list[dict]) -> None:
        """Write the report of the bad batch and raise `NonFiniteError`."""
        files = [name for rank in ranks for name in rank["files"]]
        report = self.output_dir / NAN_REPORT
        if comm.is_main_process():
            values = {name: str(value) for name, value in losses.items()}
            content = {"iteration": self.iter, "terms": terms, "losses": values, "files": files}
            write_atomically(report, json.dumps(content, indent=1) + "\n")
        raise NonFiniteError(
            f"{what}, at iteration {self.iter}, with the files {some_of(files, 8)}. Neither weights nor checkpoints "
            f"were changed; {report} lists the batch."
        )

    def write_metrics(self, losses: dict[str, float], grad_norm: float, data_time: float) -> None:
        """Put the losses (means over ranks), their sum and the step's other numbers into the event storage."""
        self.storage.put_scalars(total_loss=sum(losses.values()), data_time=data_time, **with_old_log_names(losses))
        if math.isfinite(grad_norm):
            self.storage.put_scalar("grad_norm", grad_norm)
        if self.scaler.is_enabled():
            self.storage.put_scalar("loss_scale", self.scaler.get_scale(), smoothing_hint=False)


def _sum_terms(terms: Sequence[dict[str, Tensor]]) -> dict[str, float]:
    """Each term summed over the parts, as numbers; one transfer from the device."""
    names = sorted({name for part in terms for name in part})
    sums = [sum(part[name].float() for part in terms if name in part) for name in names]
    return dict(zip(names, torch.stack(sums).tolist()))


def _mean_over_ranks(ranks: Sequence[dict[str, float]]) -> dict[str, float]:
    names = sorted({name for losses in ranks for name in losses})
    return {name: sum(losses.get(name, 0.0) for losses in ranks) / len(ranks) for name in names}


def _files(batch: Sequence[dict]) -> list[str]:
    return [str(sample.get("file_name", f"image {sample.get('image_id', '?')}")) for sample in batch]
