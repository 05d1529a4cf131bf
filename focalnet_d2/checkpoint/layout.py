"""Key tables: how the names of another code base become ours.

A pattern matches a whole name. In it `#` stands for a number, `<a|b>` for one of the words, `*` for any rest; in the
target each of them takes the next thing of its kind that the pattern found (an empty `<>` for a word). The first rule
that matches a name decides about it; a name that no rule matches is unexpected. Nothing is matched by its end. Files
are written by the same tables, read backwards.
"""

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor, nn

State = Mapping[str, Tensor]
_TOKEN = re.compile(r"#|\*|<([^<>]*)>")


@cache
def _expression_of(pattern: str) -> re.Pattern:
    parts, end = [], 0
    for token in _TOKEN.finditer(pattern):
        words = "|".join(map(re.escape, (token.group(1) or "").split("|")))
        parts += [re.escape(pattern[end : token.start()])]
        parts += [{"#": r"(\d+)", "*": r"(.+)"}.get(token.group(), f"({words})")]
        end = token.end()
    return re.compile("".join(parts) + re.escape(pattern[end:]))


@dataclass(frozen=True)
class Rule:
    """One line of a key table; made by `rename`, `merge` and `drop`."""

    pattern: str
    target: str | None
    reason: str = ""
    is_copy: bool = False

    @cached_property
    def _expression(self) -> re.Pattern:
        return _expression_of(self.pattern)

    def matches(self, name: str) -> bool:
        return self._expression.fullmatch(name) is not None

    def apply(self, name: str) -> str | None:
        """Our name for a name that matches; None if the rule drops it."""
        if self.target is None:
            return None
        found = {"#": [], "*": [], "<": []}
        groups = self._expression.fullmatch(name).groups()
        for token, text in zip(_TOKEN.finditer(self.pattern), groups, strict=True):
            found[token.group()[0]].append(text)
        return _TOKEN.sub(lambda token: found[token.group()[0]].pop(0), self.target)

    def inverse(self) -> "Rule | None":
        """The rule from our names to those of the file; None if it drops them or the target forgets a number."""
        if self.target is None or _kinds(self.pattern) != _kinds(self.target):
            return None
        words = iter(token.group() for token in _TOKEN.finditer(self.pattern) if token.group(1) is not None)
        pattern = _TOKEN.sub(lambda token: token.group() if token.group(1) is None else next(words), self.target)
        return replace(self, pattern=pattern, target=self.pattern)

    def within(self, file_prefix: str, model_prefix: str) -> "Rule":
        """The same rule for names below a prefix on either side."""
        target = None if self.target is None else model_prefix + self.target
        return replace(self, pattern=file_prefix + self.pattern, target=target)


def _kinds(pattern: str) -> list[str]:
    return sorted(token.group()[0] for token in _TOKEN.finditer(pattern))


def rename(pattern: str, target: str | None = None) -> Rule:
    """Names that become `target`, or stay as they are."""
    return Rule(pattern, pattern if target is None else target)


def merge(pattern: str, target: str, otherwise: str) -> Rule:
    """Names under which a file holds one and the same tensor several times; `otherwise`: what to do if it does not."""
    return Rule(pattern, target, otherwise, is_copy=True)


def drop(pattern: str, reason: str) -> Rule:
    """Names that are left out, and why."""
    return Rule(pattern, None, reason)


@dataclass
class Renamed:
    """What a key table made of a file.

    Args:
        tensors: our name -> tensor.
        origin: our name -> name in the file.
        skipped: name in the file -> why it was left out.
        unexpected: names in the file that the table does not know.
        conflicts: pairs of names in the file that should hold one tensor and do not, and what to do about it.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    unexpected: list[str] = field(default_factory=list)
    conflicts: list[tuple[str, str, str]] = field(default_factory=list)


def apply_table(rules: Sequence[Rule], state: State) -> Renamed:
    """Renames a state dict by the first rule that matches each of its names."""
    result = Renamed()
    for name, tensor in state.items():
        rule = next((rule for rule in rules if rule.matches(name)), None)
        if rule is None:
            result.unexpected.append(name)
            continue
        target = rule.apply(name)
        if target is None:
            result.skipped[name] = rule.reason
        elif target not in result.tensors:
            result.tensors[target], result.origin[target] = tensor, name
        else:
            result.skipped[name] = f"the same tensor as {result.origin[target]}"
            if not same_tensor(tensor, result.tensors[target]):
                result.conflicts.append((result.origin[target], name, rule.reason or "keep one of them"))
    return result


def same_tensor(a: Tensor, b: Tensor) -> bool:
    """Equal shape and, unless one has no values (meta device), equal values."""
    if a.shape != b.shape:
        return False
    return a.is_meta or b.is_meta or torch.equal(a, b)


@dataclass(frozen=True)
class ArchitectureCheck:
    """Something a state dict in our names tells about its model, and how to say it.

    Args:
        of: state dict -> value, or None if the names it looks at are missing.
        text: the value in a sentence, `{}` in its place.
        override: what to type to give the model the value of the file, `{}` in its place.
        fits: (value of the file, value of the model) -> whether the file can be loaded.
        show: how to write the value.
        usual: the value that a report need not mention.
    """

    of: Callable[[State], Any]
    text: str
    override: str = ""
    fits: Callable[[Any, Any], bool] = operator.eq
    show: Callable[[Any], Any] = lambda value: value
    usual: Any = None

    def say(self, value: Any) -> str:
        """The value in a sentence."""
        return self.text.format(self.show(value))


@dataclass(frozen=True)
class RequiredSetting:
    """Something that no shape shows and that the weights were trained with.

    Args:
        path: attribute of the model, which is also the key of its recipe below `model.`.
        value: what the weights need, or None when no source settles it.
        reason: what there is to know about an unsettled one.
    """

    path: str
    value: Any
    reason: str = "the file does not say what it was trained with"


@dataclass(frozen=True)
class ClassRows:
    """Which tensors have a row for every class.

    Args:
        patterns: their names in our model.
        names: number of rows in the file -> name of each row's class (None: a row without class), or None: unknown.
        selections: (rows in the file, classes of the model) -> the rows of a file with the model's classes.
        extra_rows: rows behind those of the classes, such as the one for no object; whatever becomes of the classes,
            the model takes them over.
        blocks: names in our model of tensors with another number of rows for each class, and no extra rows -> that
            number; the rows of a class stand together.
    """

    patterns: tuple[str, ...]
    names: Callable[[int], Sequence[str | None] | None] = lambda rows: None
    selections: Mapping[tuple[int, int], Sequence[int]] = field(default_factory=dict)
    extra_rows: int = 0
    blocks: Mapping[str, int] = field(default_factory=dict)

    def keys(self, state: State) -> list[str]:
        rules = [Rule(pattern, None) for pattern in self.patterns]
        return [name for name in state if any(rule.matches(name) for rule in rules)]

    def block_sizes(self, state: State) -> dict[str, int]:
        """Rows of a class in each of the tensors that `blocks` names."""
        rules = [(Rule(pattern, None), rows) for pattern, rows in self.blocks.items()]
        return {name: rows for name in state for rule, rows in rules if rule.matches(name)}

    def count(self, state: State) -> int:
        """Classes that the rows are for; 0 without any rows."""
        rows = next((state[name].shape[0] for name in self.keys(state)), self.extra_rows)
        return rows - self.extra_rows


@dataclass(frozen=True)
class Layout:
    """One code base's way to save a model.

    Args:
        name: what messages call it.
        recognize: (names in the file, names in the model) -> whether the file has this layout.
        rules: (model, names in the file) -> key table; without names, the table of the file to write from the model.
        checks: what to compare first, so that a mismatch is named by its cause.
        settings: (model, renamed state, metadata of the file) -> what the weights need beyond shapes.
        prepare: changes the renamed state in place where the layout stores something differently; name -> what.
        fill: adds to the renamed state what the file lacks and the model starts with: (model, state) -> name and what.
        classes: the tensors with a row for every class.
        backbone_only: the file fills the FocalNet alone, with growth of kernels and levels; heads stay fresh.
        recorded_settings: attributes of the model that our own files note down.
        restore: the inverse of `prepare` for a file to write: (model, its tensors, its class names or None) changes
            the tensors in place and says in words what it did.
        constants: model -> what such a file holds beside the model's tensors, by the file's names.
        container: entry of a `.pth` file that holds the weights; None: they are the file.
    """

    name: str
    recognize: Callable[[Sequence[str], State], bool]
    rules: Callable[[nn.Module, Sequence[str]], Sequence[Rule]]
    checks: tuple[ArchitectureCheck, ...] = ()
    settings: Callable[[nn.Module, State, Mapping[str, Any]], Sequence[RequiredSetting]] = lambda *_: ()
    prepare: Callable[[dict[str, Tensor]], dict[str, str]] = lambda _: {}
    fill: Callable[[Any, dict[str, Tensor]], dict[str, str]] = lambda *_: {}
    classes: ClassRows | None = None
    backbone_only: bool = False
    recorded_settings: tuple[str, ...] = ()
    restore: Callable[[nn.Module, dict[str, Tensor], Sequence[str] | None], list[str]] = lambda *_: []
    constants: Callable[[nn.Module], dict[str, Tensor]] = lambda _: {}
    container: str | None = "model"

    def describe(self, state: State) -> list[str]:
        """What shapes tell about a renamed state in words, without what is usual."""
        return [check.say(value) for check in self.checks if (value := check.of(state)) not in (None, check.usual)]


def holds(names: Sequence[str], *patterns: str) -> bool:
    """Whether every pattern matches at least one name."""
    rules = [Rule(pattern, None) for pattern in patterns]
    return all(any(rule.matches(name) for name in names) for rule in rules)


def length_of(name: str, axis: int = 0) -> Callable[[State], int | None]:
    """For a check: the length of a tensor's axis; None without it."""
    return lambda state: state[name].shape[axis] if name in state and state[name].ndim > axis else None


def count_of(prefix: str) -> Callable[[State], int | None]:
    """For a check: how many modules are numbered below a prefix; None without any."""
    return lambda state: count_numbers(state, prefix) or None


def count_numbers(names: Iterable[str], prefix: str) -> int:
    """How many different numbers follow a prefix and a dot."""
    start = prefix + "."
    return len({name.removeprefix(start).partition(".")[0] for name in names if name.startswith(start)})
