"""The training loop: one weight update per iteration, on top of Detectron2's hooks.

Differs from Detectron2's trainers: mixed precision in bf16 or fp16 on any device, accumulation that equals the whole
batch, clipping by the norm of all gradients, a stop before any weight is touched when a loss is not finite, and a stop
between two steps when a signal asks for it.
"""

import json
import logging
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

import torch
from detectron2.engine import TrainerBase
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grads_with_norm_

from focalnet_d2.config.moved import with_old_log_names
from focalnet_d2.kernels.cpu_matmul import fast_cpu_matmul
from focalnet_d2.utils.atomic_write import write_atomically
from focalnet_d2.utils.stop_signals import RunStopped, StopSignals, requested, signal_name
from focalnet_d2.utils.text import some_of

from .accumulation import Accumulation, MicrobatchWeights, ModelTotals, without_trace
from .checkpointing import RunState, SkipCount, distrust_checkpoint
from .distributed import all_gather_object, no_sync
from .metrics import SKIPPED
from .nonfinite import NonFiniteError, NonFiniteStep, StepRecorder, sample_name
from .precision import autocast
from .sharding import local_shard, total_norm

NAN_REPORT = "nan_batch.json"

logger = logging.getLogger(__name__)


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
        microbatch_weights: factors of the losses of the parts, by default `ModelTotals` (see `accumulation.py`).
        output_dir: where the report of a non-finite batch is written.
        skip_nonfinite: steps in a row that may be left out because a loss or a gradient is not finite.
        state: of the run, for what is kept of such a step; counts those that were left out.
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
        microbatch_weights: MicrobatchWeights | None = None,
        output_dir: str | Path = ".",
        skip_nonfinite: int = 0,
        state: RunState | None = None,
    ) -> None:
        super().__init__()
        self.model = model.train()
        self.optimizer = optimizer
        self.device = device
        self.amp_dtype = amp_dtype
        self.clip_norm = clip_norm
        self.accumulation = Accumulation(
            self.network,
            parts=accumulation,
            weights=microbatch_weights or ModelTotals(),
            device=device,
            amp_dtype=amp_dtype,
        )
        self.output_dir = Path(output_dir)
        self.scaler = scaler or torch.amp.GradScaler(device.type, enabled=False)
        self.skip_nonfinite = skip_nonfinite
        self.skips = SkipCount() if state is None else state.skips
        self.skipped = False  # whether the present step is left out
        self._recorder = StepRecorder(self.network, state, self.output_dir)
        self.stop_signal = 0  # of any rank
        self.done = 0  # finished iterations
        self.ends_early = False  # a hook of all ranks has made the step before the next one the last
        self._stopped_in = ""
        self._last_part: list[dict] = []
        self._batches = iter(data_loader)  # here and not at the first step: starting a loader draws random numbers

    @property
    def network(self) -> nn.Module:
        """The model without its distributed wrapper."""
        return self.model.module if isinstance(self.model, DistributedDataParallel) else self.model

    def train(self, start_iter: int, max_iter: int) -> None:
        """Train from `start_iter` finished iterations to `max_iter` of them.

        Raises:
            RunStopped: a signal asked for it; the hooks of the present step have run, and a checkpoint holds it.
        """
        self.iter = self.start_iter = self.done = start_iter
        self.max_iter = max_iter
        with EventStorage(start_iter) as self.storage, StopSignals():
            try:
                self._train()
            except (NonFiniteError, OSError, RunStopped, ValueError) as error:
                logger.info("The training ends: %s", error)
                raise
            except Exception:
                logger.exception("The training ends with an error:")
                raise

    def _train(self) -> None:
        try:
            with self._noting_stop():
                self.before_train()
            if not self.stop_signal:
                self._run_steps()
        finally:
            self.after_train()
        if self.stop_signal:
            comm.synchronize()  # the main process has written its files
            message = f"Stopped by {signal_name(self.stop_signal)} {self._stopped_in}after {self.done} iterations"
            raise RunStopped(self.stop_signal, f"{message}; --resume goes on in {self.output_dir}.")

    def _run_steps(self) -> None:
        for iteration in range(self.start_iter, self.max_iter):
            if self.ends_early:
                self.max_iter = iteration
                break
            self.iter = iteration
            self.before_step()
            self.run_step()
            self.done = iteration + 1
            with self._noting_stop():
                self.after_step()
            if self.stop_signal:
                self.before_stop()
                return
        self.iter = max(self.start_iter, self.max_iter)  # says to `after_train` that the training is complete

    def before_stop(self) -> None:
        """Hooks that have a method of this name save what has not been saved."""
        self._call_hooks("before_stop")

    def _call_hooks(self, name: str, *arguments: Any) -> None:
        """Call a method that only some of the hooks have."""
        for hook in self._hooks:
            if (method := getattr(hook, name, None)) is not None:
                method(*arguments)

    def after_train(self) -> None:
        """Hooks end their work, all of them, also if a signal stops one, an evaluation perhaps."""
        self.storage.iter = self.iter
        for hook in self._hooks:
            with self._noting_stop():
                hook.after_train()

    @contextmanager
    def _noting_stop(self) -> Iterator[None]:
        """What a signal ends inside, such as an evaluation, is made up for by the resumed run."""
        try:
            yield
        except RunStopped as stopped:
            self.stop_signal = stopped.signum
            self._stopped_in = "in the evaluation "

    def run_step(self) -> None:
        """One update: every part forward and backward, then check, clip and step, or leave the step out."""
        start = time.perf_counter()
        batch = next(self._batches)
        data_time = time.perf_counter() - start

        if self.iter == self.start_iter:
            self._call_hooks("first_batch", batch)
        self._recorder.begin(batch)
        own_losses, last_part = self.compute_gradients(batch)
        ranks = all_gather_object(
            {
                "losses": own_losses,
                "data_time": data_time,
                "files": [*map(sample_name, batch)],
                "signal": requested(),
            }
        )
        self.stop_signal = max(rank["signal"] for rank in ranks)
        losses = _mean_over_ranks([rank["losses"] for rank in ranks])
        data_time = max(rank["data_time"] for rank in ranks)
        try:
            self.check_losses(losses, ranks)
            self.scaler.unscale_(self.optimizer)
            grad_norm = self.clip_gradients(ranks)
        except NonFiniteStep as step:
            self.skip(step, own_losses)
            self.storage.put_scalar("data_time", data_time)
            self.storage.put_scalar(SKIPPED, self.skips.total, smoothing_hint=False)
            return
        self._last_part = last_part
        self.skipped, self.skips.in_row = False, 0
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.write_metrics(losses, grad_norm, data_time)

    def compute_gradients(self, batch: Sequence[dict]) -> tuple[dict[str, float], list[dict]]:
        """Every part forward and backward; returns this rank's losses and the last part."""
        self.optimizer.zero_grad(set_to_none=True)
        with self.accumulation.step(batch) as parts:
            terms = [
                self.forward_backward(part, weight, is_last=index == len(parts) - 1)
                for index, (part, weight) in enumerate(parts)
            ]
        return _sum_terms(terms), parts[-1][0]

    def forward_backward(self, part: list[dict], weight: float, *, is_last: bool) -> dict[str, Tensor]:
        """Losses of a microbatch times its weight, as detached scalars; their gradients join the parameters'."""
        with nullcontext() if is_last else no_sync(self.model), fast_cpu_matmul(self.device):
            losses = self._compute_losses(part, weight)
            total = sum(losses.values())
            if total.requires_grad:
                self.scaler.scale(total).backward()
            self.after_backward()
        return {name: loss.detach() for name, loss in losses.items()}

    def _compute_losses(self, part: list[dict], weight: float = 1.0) -> dict[str, Tensor]:
        with autocast(self.device, self.amp_dtype):
            return {name: weight * loss for name, loss in self.model(part).items()}

    def check_weights(self) -> None:
        """Stop unless the weights after this step give finite losses; all ranks must call it.

        One more forward pass, over the last part of the batch, which leaves no trace.
        """
        if not self._last_part:  # every step since the start was left out
            return
        self._recorder.begin(self._last_part)
        with without_trace(self.network):
            terms = self.compute_losses(self._last_part)
        ranks = all_gather_object({"losses": terms, "files": [*map(sample_name, self._last_part)]})
        bad, guilty = _not_finite(_mean_over_ranks([rank["losses"] for rank in ranks]), ranks)
        if bad:
            what = f"The step of iteration {self.iter} left weights whose losses are not finite: {', '.join(bad)}"
            step = NonFiniteStep(what, bad, guilty, {}, is_loss=False)
            kept = self._recorder.write(step, self.iter + 1, terms, is_check=True)
            self.stop(step, f"These weights are not saved. {kept}")

    @torch.no_grad()
    def compute_losses(self, part: list[dict]) -> dict[str, float]:
        """This rank's losses of a part; draws random numbers and may change buffers."""
        with EventStorage(self.iter), fast_cpu_matmul(self.device):
            return _sum_terms([self._compute_losses(part)])

    def clip_gradients(self, ranks: list[dict]) -> float:
        """Scale the gradients down to `clip_norm`; returns their L2 norm before that."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = total_norm([parameter.grad for parameter in parameters])
        if not math.isfinite(norm) and not self.scaler.is_enabled():  # the scaler skips such a step by itself
            named = {id(parameter): name for name, parameter in self.network.named_parameters()}
            bad = [named[id(p)] for p in parameters if not local_shard(p.grad).isfinite().all()]
            bad = list(dict.fromkeys(name for names in all_gather_object(bad) for name in names))
            what = f"The gradients of {some_of(bad, 8)} are not finite, at iteration {self.iter}"
            raise NonFiniteStep(what, bad, ranks, {}, is_loss=False)
        if self.clip_norm > 0:
            clip_grads_with_norm_(parameters, self.clip_norm, norm)
        return float(norm)

    def check_losses(self, losses: dict[str, float], ranks: list[dict]) -> None:
        """Raise `NonFiniteStep` when a loss is not finite on any rank; no weight was changed by this iteration."""
        bad, guilty = _not_finite(losses, ranks)
        if bad:
            verb = "loss term is" if len(bad) == 1 else "loss terms are"
            what = f"The {verb} not finite: {', '.join(bad)}, at iteration {self.iter}"
            raise NonFiniteStep(what, bad, guilty, losses, is_loss=True)

    def skip(self, step: NonFiniteStep, own_losses: dict[str, float]) -> None:
        """Leave the present step out: nothing but the number of iterations and random states has changed.

        Raises:
            NonFiniteError: so many before it were left out that the run ends.
        """
        self.skips.in_row += 1
        if self.skips.in_row > self.skip_nonfinite:
            kept = self._recorder.write(step, self.iter, own_losses)
            about = self._distrust() if step.is_loss and comm.is_main_process() else ""
            self.stop(step, f"This iteration has changed no weight. {all_gather_object(about)[0]} {kept}")
        kept = self._recorder.write(step, self.iter, own_losses) if self._recorder.is_worth_keeping() else ""
        self._recorder.restore_buffers()
        self.optimizer.zero_grad(set_to_none=True)
        self.skipped, self.skips.total = True, self.skips.total + 1
        count = f"{self.skips.in_row} in a row, of train.skip_nonfinite={self.skip_nonfinite}"
        files = some_of(step.files, 8)
        logger.warning("%s, with the files %s. The step is left out (%s). %s", step.what, files, count, kept)

    def _distrust(self) -> str:
        """Set aside the checkpoints whose weights this row of steps began with; what became of the last one."""
        first = self.iter - self.skips.in_row + 1
        return [distrust_checkpoint(self.output_dir, done) for done in range(self.iter, first - 1, -1)][-1]

    def stop(self, step: NonFiniteStep, state: str) -> NoReturn:
        """Write the report of the bad batch and raise `NonFiniteError`.

        Args:
            state: sentences about what has become of the weights and the checkpoints.
        """
        report = self.output_dir / NAN_REPORT
        if comm.is_main_process():
            values = {name: str(value) for name, value in step.losses.items()}
            content = {"iteration": self.iter, "terms": step.terms, "losses": values, "files": step.files}
            write_atomically(report, json.dumps(content, indent=1) + "\n")
        state = " ".join(state.split())
        raise NonFiniteError(f"{step.what}, with the files {some_of(step.files, 8)}. {state} {report} lists the batch.")

    def write_metrics(self, losses: dict[str, float], grad_norm: float, data_time: float) -> None:
        """Put the losses (means over ranks), their sum and the step's other numbers into the event storage."""
        self.storage.put_scalars(total_loss=sum(losses.values()), data_time=data_time, **with_old_log_names(losses))
        if math.isfinite(grad_norm):
            self.storage.put_scalar("grad_norm", grad_norm)
        if self.skips.total:
            self.storage.put_scalar(SKIPPED, self.skips.total, smoothing_hint=False)
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


def _not_finite(losses: dict[str, float], ranks: list[dict]) -> tuple[list[str], list[dict]]:
    """Names of the mean losses that are not finite, and the ranks whose losses are not."""
    bad = [name for name, value in losses.items() if not math.isfinite(value)]
    return bad, [rank for rank in ranks if not all(map(math.isfinite, rank["losses"].values()))]
