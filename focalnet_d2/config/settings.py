"""Which values a setting takes: its types, range and choices, from `SETTINGS`, an annotation or what it replaces."""

import inspect
import math
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin

from detectron2.utils.registry import locate
from omegaconf import DictConfig, ListConfig

from .nodes import children, raw_value, target_name

AMP_MODES = ("off", "auto", "bf16", "fp16")
PARALLEL_MODES = ("ddp", "fsdp")
_NUMBER = frozenset({int, float})
_C_INT = 2**31
_WORDS = {bool: "True or False", int: "a whole number", float: "a number", str: "a text", list: "a list",
          dict: "a group of settings", NoneType: "null"}  # fmt: skip
_KNOWN_PACKAGES = ("focalnet_d2", "dino", "mask2former", "detectron2", "fvcore", "torch")


@dataclass(frozen=True)
class Setting:
    """Values that a setting takes.

    Attributes:
        kinds: types as `kind` names them; where float stands, int does, too.
        at_least, below: range of a number; NaN is in no range.
        choices: all values, where there are few.
        length: of a list.
    """

    kinds: frozenset[type]
    at_least: float = -math.inf
    below: float | None = None
    choices: tuple[Any, ...] = ()
    length: int | None = None

    def accepts(self, value: Any) -> bool:
        """Whether the setting takes this value."""
        if self.choices:
            return any(value == choice and kind(value) is kind(choice) for choice in self.choices)
        if not self.has_type_of(value):
            return False
        if kind(value) is list and self.length not in (None, len(value)):
            return False
        return kind(value) not in _NUMBER or (value >= self.at_least and (self.below is None or value < self.below))

    def has_type_of(self, value: Any) -> bool:
        """Whether the value has one of the types."""
        return kind(value) in self.kinds or (kind(value) is int and float in self.kinds)

    def also(self, *kinds: type) -> "Setting":
        """The same setting, which takes further types."""
        return replace(self, kinds=self.kinds | set(kinds), choices=())

    def __str__(self) -> str:
        if self.choices:
            named = [choice for choice in self.choices if choice is not False]  # an alias that nobody types
            return f"one of {', '.join('null' if choice is None else str(choice) for choice in named)}"
        shown = [name for name in _WORDS if name in self.kinds and not (name is int and float in self.kinds)]
        of_length = "" if self.length is None else f" of {self.length}"
        words = " or ".join(_WORDS[name] + (of_length if name is list else "") for name in shown)
        low = f" of at least {self.at_least:.10g}" if self.at_least > -math.inf else ""
        return f"{words}{low}" + (f" and below {self.below:.10g}" if self.below not in (None, math.inf) else "")


def _whole(at_least: int, below: int = _C_INT) -> Setting:
    return Setting(frozenset({int}), at_least, below)


def _finite(at_least: float = 0.0, below: float = math.inf) -> Setting:
    return Setting(_NUMBER, at_least, below)


def _one_of(*choices: Any) -> Setting:
    return Setting(frozenset(map(kind, choices)), choices=choices)


_FLAG, _TEXT, _GROUP = Setting(frozenset({bool})), Setting(frozenset({str})), Setting(frozenset({dict}))


def kind(value: Any) -> type:
    """The type of a value, containers of OmegaConf as dict and list, anything else that YAML lacks as object."""
    if isinstance(value, DictConfig | ListConfig) and value._is_none():
        return NoneType
    if isinstance(value, dict | DictConfig):
        return dict
    if isinstance(value, list | tuple | ListConfig):
        return list
    return next((known for known in (bool, int, float, str, NoneType) if isinstance(value, known)), object)


# Groups that every run builds.
BUILT = ("model", "optimizer", "lr_multiplier", *(f"dataloader.{name}" for name in ("train", "test", "evaluator")))
# Settings that recipes may lack.
OPTIONAL = (
    *("train.weights_entry", "train.allow_nonfinite"),
    *("train.epochs", "train.eval_epochs", "train.checkpoint_epochs", "train.warmup_epochs", "train.warmup"),
    *("train.patience", "train.validation_loss", "train.validation_loss_images"),
    *("train.freeze", "train.class_weights", "train.report", "train.batch", "train.sample_predictions"),
    "train.also_with_nms",
)
# Settings that no constructor checks before something is built. Others are checked by the annotations of what they are
# arguments of.
SETTINGS: dict[str, Setting] = {
    **dict.fromkeys((*BUILT, "dataloader", "train", "train.ema"), _GROUP),
    **dict.fromkeys((f"dataloader.{name}.dataset" for name in ("train", "test")), _GROUP),
    **dict.fromkeys((f"dataloader.{name}.mapper" for name in ("train", "test")), _GROUP.also(object)),
    "train.init_checkpoint": _TEXT.also(NoneType),
    "train.weights_entry": _TEXT,
    "train.allow_nonfinite": _FLAG,
    "train.new_classes": _FLAG,
    "train.keep_settings": _FLAG,
    "train.backbone_only": _FLAG,
    "train.output_dir": _TEXT,
    "train.device": _TEXT,
    "train.seed": _whole(0),
    "train.epochs": _finite(),
    "train.max_iter": _whole(1),
    "train.warmup_epochs": _finite(),
    "train.warmup": _whole(0).also(NoneType),
    "train.amp": _one_of(*AMP_MODES, False),  # YAML reads a bare off as false
    "train.ema.enabled": _FLAG,
    "train.ema.decay": _finite(0, 1),
    "train.clip_norm": _finite(),
    "train.freeze": Setting(frozenset({list})),
    "train.class_weights": Setting(frozenset({str, list, dict, NoneType})),
    "train.parallel": _one_of(*PARALLEL_MODES),
    "train.batch": Setting(frozenset({str, int, float, NoneType})),  # see `memory_size.check_batch`
    "train.accumulation": _whole(1),
    "train.microbatch_weights": _GROUP.also(NoneType),
    "train.checkpoint_epochs": _finite(),
    "train.checkpoint_period": _whole(0),
    "train.keep_checkpoints": _whole(0),
    "train.eval_epochs": _finite(),
    "train.eval_period": _whole(0),
    "train.best_metric": _TEXT,
    "train.patience": _whole(0),
    "train.validation_loss": _FLAG,
    "train.validation_loss_images": _whole(0),
    "train.also_with_nms": _finite(0, 1),
    "train.test_time_augmentation": _GROUP,
    "train.test_time_augmentation.enabled": _FLAG,
    "train.test_time_augmentation.wrapper": _GROUP.also(NoneType),
    "train.log_period": _whole(1),
    "train.loggers": Setting(frozenset({list})),
    "train.report": _FLAG,
    "train.sample_predictions": _whole(0),
    "train.skip_nonfinite": _whole(0),
    "optimizer.lr": _finite(),
    "optimizer.weight_decay": _finite(),
    "dataloader.train.total_batch_size": _whole(1),
    "dataloader.train.num_workers": _whole(0),
    "dataloader.test.batch_size": _whole(1),
    "dataloader.test.num_workers": _whole(0),
    "data": _GROUP,
    **dict.fromkeys((f"data.{name}" for name in ("root", "layout", "train", "val", "test", "split_groups")), _TEXT),
    "data.val_share": _finite(0, 1),
    "data.split_seed": _whole(0),
    "data.rename": _GROUP,
    "data.merge": _GROUP,
    "data.drop": Setting(frozenset({list})),
    "data.channels": _whole(1).also(list, NoneType),
    **dict.fromkeys((f"data.{name}" for name in ("rgb", "mean", "std")), Setting(frozenset({list}))),
    **dict.fromkeys(("data.found", "data.found_channels"), _GROUP.also(NoneType)),
}


def setting_of(key: str, parent: Any, name: str, present: Any) -> Setting | None:
    """What the setting `key` takes; None where nothing tells.

    Args:
        parent: the group or list in which it stands, by `name`.
        present: the value that stands there, None where there is none.
    """
    if key in SETTINGS:
        return SETTINGS[key]
    annotated = arguments(known_target(parent)).get(name)
    replaced = replacing(present)
    if annotated is None:
        numeric = replaced is not None and replaced.kinds & {int, float, list}
        return replaced.also(int, float, list) if replaced and numeric and target_name(parent) else replaced
    if replaced is None or annotated.has_type_of(present):
        return annotated
    return annotated.also(kind(present))  # a value that works tells more than an annotation


def replacing(present: Any) -> Setting | None:
    """What may take the place of a value when nothing but the value is known."""
    here = kind(present)
    if here in (NoneType, object):
        return None
    kinds = _NUMBER if here in _NUMBER else frozenset({here})
    return Setting(kinds if here in (bool, int, float) else kinds | {NoneType})


def known_target(node: Any) -> Callable[..., Any] | None:
    """The callable that a group builds; one that is only named is imported from well-known packages alone."""
    target = raw_value(dict(children(node)).get("_target_"))
    if isinstance(target, str):
        return located(target) if target.partition(".")[0] in _KNOWN_PACKAGES else None
    return target if callable(target) else None


def located(name: str) -> Callable[..., Any] | None:
    """The callable of a full name; None where there is none."""
    try:
        return locate(name)
    except Exception:  # whoever builds it says what is wrong
        return None


def is_argument(target: Callable[..., Any], name: str) -> bool:
    """Whether `name` is a keyword argument of a callable, or one that it hands on to its base class."""
    try:
        parameters = [inspect.signature(one).parameters.get(name) for one in (target, *_constructors(target))]
    except (TypeError, ValueError):
        return False
    takes = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return name != "self" and any(parameter is not None and parameter.kind in takes for parameter in parameters)


def _constructors(target: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Those of a class whose arguments it takes: of its base classes, too, as long as each takes `**any` for them."""
    for base in (one for one in getattr(target, "__mro__", ()) if "__init__" in vars(one)):
        yield base.__init__
        parameters = inspect.signature(base.__init__).parameters.values()
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
            return


@cache
def arguments(target: Callable[..., Any] | None) -> dict[str, Setting]:
    """What the arguments of a callable take, those whose annotation consists of plain types and literals."""
    if target is None:
        return {}
    try:
        hints = _hints(target)
    except Exception:  # names that exist for type checkers alone
        return {}
    settings = {name: annotated(hint) for name, hint in hints.items() if name != "return"}
    return {name: setting for name, setting in settings.items() if setting is not None}


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    """Annotations by argument; those of a base class count, too, where a constructor takes `**any` for it."""
    if not inspect.isclass(target):
        return typing.get_type_hints(target)
    hints: dict[str, Any] = {}
    for constructor in _constructors(target):
        hints = {**typing.get_type_hints(constructor), **hints}
    return hints


def annotated(annotation: Any) -> Setting | None:
    """What an argument takes by its annotation; None where a part of it is no plain type or literal."""
    parts = get_args(annotation) if get_origin(annotation) in (typing.Union, UnionType) else (annotation,)
    choices = [choice for part in parts if get_origin(part) is Literal for choice in get_args(part)]
    kinds = [_annotated_kind(part) for part in parts if get_origin(part) is not Literal]
    if None in kinds:
        return None
    types = frozenset(found for found in kinds if found is not None)
    if choices and types <= {NoneType}:
        return _one_of(*choices, *([None] if types else []))
    lengths = {_length(part) for part in parts if _annotated_kind(part) is list}
    return Setting(types | {kind(choice) for choice in choices}, length=lengths.pop() if len(lengths) == 1 else None)


def _length(part: Any) -> int | None:
    """2 for `tuple[float, float]`; None for what may have any length."""
    elements = get_args(part)
    return len(elements) if get_origin(part) is tuple and elements and Ellipsis not in elements else None


def _annotated_kind(part: Any) -> type | None:
    if part in _WORDS:
        return part
    base = get_origin(part) or part
    if not inspect.isclass(base) or base is object:
        return None
    if issubclass(base, Mapping):
        return dict
    return (
        list if base in (list, tuple) or (base.__module__ == "collections.abc" and issubclass(base, Iterable)) else None
    )
