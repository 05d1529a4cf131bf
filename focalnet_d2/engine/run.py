"""From a recipe to a run: folder and log, model, weights, trainer with its hooks, evaluation."""

import logging
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from detectron2.engine.hooks import LRScheduler
from detectron2.evaluation import DatasetEvaluators
from detectron2.solver import LRMultiplier
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from detectron2.utils.logger import setup_logger
from omegaconf import DictConfig
from torch import nn

from focalnet_d2.checkpoint import load_checkpoint
from focalnet_d2.config.building import build
from focalnet_d2.config.lazy import recipe_to_yaml
from focalnet_d2.config.recipe_files import RUN_RECIPE
from focalnet_d2.kernels.malloc import keep_freed_memory
from focalnet_d2.utils.atomic_write import write_atomically

from .channel_filling import channel_format
from .checkpointing import RunState, class_names, describe_run, resume_run
from .class_weights import weigh_classes
from .device import resolve_amp, resolve_device
from .distributed import local_rank, on_main_process, wrap_model
from .evaluation_loop import run_evaluation
from .freezing import freeze
from .hooks import BestCheckpoint, EMAHook, Evaluation, MetricsWriter, PeriodicCheckpoint
from .loggers import make_loggers
from .metrics import METRICS, MetricsFile, is_evaluated
from .own_data import class_changes
from .pictures import FirstBatchPicture, Pictures, SamplePredictions, make_studio
from .preflight import RunData, check_tasks, read_data
from .progress import ProgressPrinter, StepTimer, TrainingBar
from .rng import set_rng_state
from .sharding import gathered
from .timetable import Timetable, build_schedule
from .trainer import Trainer
from .validation_loss import ValidationLoss
from .watched_metric import VALIDATION

WITH_NMS = "with_nms"  # folder of the second evaluation
LOGGERS = ("focalnet_d2", "dino", "mask2former", "detectron2", "fvcore")

logger = logging.getLogger(__name__)


def start_run(recipe: DictConfig) -> Path:
    """Make the output folder and the log, seed this rank; returns the folder.

    The process is the run's from here on: it also keeps its freed memory (see `kernels/malloc.py`).
    """
    keep_freed_memory()
    folder, rank = Path(recipe.train.output_dir), comm.get_rank()
    folder.mkdir(parents=True, exist_ok=True)
    for name in LOGGERS:
        logging.getLogger(name).handlers.clear()
        setup_logger.cache_clear()
        setup_logger(str(folder), distributed_rank=rank, name=name)
    seed_all_rng(recipe.train.seed + rank)
    return folder


def write_recipe(recipe: DictConfig) -> None:
    """Write `recipe.yaml` into the output folder."""
    write_atomically(Path(recipe.train.output_dir) / RUN_RECIPE, recipe_to_yaml(recipe))


def build_model(recipe: DictConfig) -> nn.Module:
    """The recipe's model on the device of this process."""
    device = resolve_device(recipe.train.device, local_rank())
    if device.type == "cuda":
        torch.cuda.set_device(device)
    model = build(recipe.model, "model").to(device)
    count = sum(parameter.numel() for parameter in model.parameters())
    logger.info("%s with %.1f million parameters on %s", type(model).__name__, count / 1e6, device)
    return model


def load_initial_weights(model: nn.Module, recipe: DictConfig, *, to_train: bool) -> None:
    """Load `train.init_checkpoint`, any known layout, and log what was loaded; an empty one leaves random weights.

    Args:
        to_train: the model will be trained, so a backbone alone will do, `train.backbone_only` may take no more than
            that, `train.new_classes` may leave class rows fresh and `train.keep_settings` may differ from the file's;
            to evaluate, all of it must come from the file, and `train.other_class_names` says what becomes of a file
            that records other class names than the test data has.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, or does not fit the model.
    """
    train = recipe.train
    if not train.init_checkpoint:
        logger.warning("train.init_checkpoint is empty: the weights are random.")
        return
    new_classes = to_train and train.new_classes
    loader = recipe.dataloader.train if to_train else recipe.dataloader.test
    channels = channel_format(recipe) if to_train else None
    report = load_checkpoint(
        model,
        train.init_checkpoint,
        new_classes=new_classes,
        keep_settings=to_train and train.keep_settings,
        backbone_only=to_train and train.backbone_only,
        class_names=class_names(loader, read=new_classes),
        entry=train.get("weights_entry", ""),
        allow_nonfinite=train.get("allow_nonfinite", False),
        complete=not to_train,
        other_class_names="by_name" if to_train else train.get("other_class_names", "refuse"),
        class_changes=class_changes(recipe),
        new_channels=channels and channels.rgb_places,
    )
    logger.info("%s", report)


def evaluate(
    model: nn.Module, recipe: DictConfig, data: RunData, samples: SamplePredictions | None = None
) -> dict[str, Any]:
    """Score the model on the recipe's test data; the numbers also go to `results.json`.

    Args:
        samples: also sees the predictions.

    Raises:
        ValueError: `train.test_time_augmentation` is enabled and the recipe has none.
    """
    loader, augmentation = recipe.dataloader.test, recipe.train.test_time_augmentation
    if augmentation.enabled:
        if augmentation.wrapper is None:
            raise ValueError("train.test_time_augmentation.enabled is True, but this recipe has no wrapper for it.")
        model = build(augmentation.wrapper, "train.test_time_augmentation.wrapper", model=model)
        loader = loader.copy()
        loader.mapper.augmentations = []  # the wrapper resizes images, and from their full size
    images, folder = build(loader, "dataloader.test", dataset=data.test), Path(recipe.train.output_dir)
    evaluator = data.evaluator if samples is None else DatasetEvaluators([samples, data.evaluator])
    try:
        return run_evaluation(model, images, evaluator, folder, recipe.train.amp)
    finally:
        data.evaluator.reset()  # which forgets the predictions; the training goes on without them in memory


def evaluate_suppressed(model: nn.Module, recipe: DictConfig) -> dict[str, Any]:
    """The same with suppression of boxes of a class at the IoU `train.also_with_nms`, into a folder in the run's.

    Returns:
        As `evaluate`, with `_wnms` behind the names of tasks (Stable-DINO's name).
    """
    recipe = recipe.copy()
    recipe.train.output_dir = str(Path(recipe.train.output_dir) / WITH_NMS)
    model.nms_threshold, usual = recipe.train.also_with_nms, model.nms_threshold
    logger.info("Once more, with suppression at IoU %g, into %s:", model.nms_threshold, recipe.train.output_dir)
    try:
        results = evaluate(model, recipe, read_data(recipe, to_train=False))
    finally:
        model.nms_threshold = usual
    return {f"{task}_wnms": numbers for task, numbers in results.items()}


def build_trainer(
    model: nn.Module,
    recipe: DictConfig,
    *,
    resume: bool,
    data: RunData | None = None,
    description: dict[str, Any] | None = None,
    pictures: Pictures | None = None,
) -> tuple[Trainer, int]:
    """The trainer with all hooks and the iteration to start with.

    Args:
        model: with its initial weights, from `build_model`.
        recipe: all of it is used.
        resume: go on from the last checkpoint in `train.output_dir`.
        data: of `read_data` with this recipe, if it was read before.
        description: of `describe_run`, which every checkpoint gets as it is when that is written.
        pictures: draws the first batch, and predictions of every evaluation.

    Raises:
        RecipeError: the model does not predict what is evaluated.
    """
    data = data or read_data(recipe, to_train=True)
    timetable = cast(Timetable, data.timetable)
    check_tasks(model, data.evaluator)
    train, folder = recipe.train, Path(recipe.train.output_dir)
    device = resolve_device(train.device, local_rank())
    freeze(model, train.get("freeze", ()))
    weigh_classes(model, recipe, data)
    wrapped = wrap_model(model, device, train.parallel)
    optimizer = build(recipe.optimizer, "optimizer", model=model)
    scheduler = LRMultiplier(optimizer, build_schedule(recipe, timetable.warmup), timetable.max_iter)
    averaged = EMAHook(model, train.ema.decay) if train.ema.enabled else None
    settings = step_settings(recipe, device)
    state = RunState(
        model,
        optimizer=optimizer,
        scheduler=scheduler,
        scaler=settings["scaler"],
        averaged=averaged,
        description=describe_run(recipe, model) if description is None else description,
    )
    start, rng_state = resume_run(folder, state, recipe) if resume else (0, None)
    trainer = Trainer(
        wrapped,
        build(recipe.dataloader.train, "dataloader.train", dataset=data.train, start_iteration=start),
        optimizer,
        device=device,
        clip_norm=train.clip_norm,
        output_dir=folder,
        skip_nonfinite=train.skip_nonfinite,
        state=state,
        **settings,
    )
    if rng_state is not None:
        set_rng_state(rng_state)  # last: building things draws random numbers
    trainer.register_hooks(_hooks(model, recipe, data, optimizer, scheduler, averaged, state, start, pictures))
    return trainer, start


def step_settings(recipe: DictConfig, device: torch.device) -> dict[str, Any]:
    """What decides the losses and gradients of a training step beside model and batch, as arguments of `Trainer`."""
    amp_dtype = resolve_amp(recipe.train.amp, device, training=True)
    return {
        "amp_dtype": amp_dtype,
        "scaler": torch.amp.GradScaler(device.type, enabled=amp_dtype is torch.float16),
        "accumulation": recipe.train.accumulation,
        "microbatch_weights": build(recipe.train.microbatch_weights, "train.microbatch_weights"),
    }


def _hooks(
    model: nn.Module,
    recipe: DictConfig,
    data: RunData,
    optimizer: torch.optim.Optimizer,
    scheduler: LRMultiplier,
    averaged: EMAHook | None,
    state: RunState,
    start: int,
    pictures: Pictures | None,
) -> list:
    """Hooks in the order in which they run: a checkpoint comes before the evaluation of the same iteration."""
    train, folder, timetable = recipe.train, Path(recipe.train.output_dir), cast(Timetable, data.timetable)

    validation_loss = ValidationLoss(recipe, data.test) if train.get("validation_loss") else None
    studio = make_studio(pictures, recipe)
    samples = SamplePredictions(studio, data.test, recipe) if studio and train.get("sample_predictions") else None

    def evaluate_run() -> dict[str, Any]:
        with nullcontext() if averaged is None else averaged.swapped_in(), gathered(model):
            results = evaluate(model, recipe, data, samples)
            return results if validation_loss is None else {**results, VALIDATION: validation_loss(model)}

    was_evaluated = on_main_process(lambda: is_evaluated(folder / METRICS, start))
    evaluation = Evaluation(evaluate_run, timetable.eval_period, was_interrupted=not was_evaluated)
    counted = timetable.epoch if timetable.epochs else None
    hooks = [
        StepTimer(timetable.batch),
        LRScheduler(optimizer, scheduler),
        TrainingBar(counted, timetable.batch),
        FirstBatchPicture(studio) if studio else None,
        averaged,
        PeriodicCheckpoint(state, folder, timetable.checkpoint_period, train.keep_checkpoints),
        evaluation,
        BestCheckpoint(evaluation, train.best_metric, state, folder, patience=train.get("patience", 0)),
    ]
    if comm.is_main_process():
        others = [
            ProgressPrinter(train.max_iter, counted, timetable.batch),
            *make_loggers(recipe, state.description.get("metadata", {}).get("run", "")),
        ]
        hooks.append(MetricsWriter(MetricsFile(folder / METRICS), others, train.log_period, evaluation))
    return hooks
