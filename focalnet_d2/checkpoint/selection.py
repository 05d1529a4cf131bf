"""Taking the weights of a checkpoint out of whatever a training program wrapped them in."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from focalnet_d2.utils.text import counted, some_of

UNNAMED = "(a dictionary)"  # what messages call a checkpoint that was not read from a file
TRAINED = ("model", "state_dict", "teacher", "params", "net")
AVERAGED = ("ema_model", "ema_state_dict", "model_ema", "state_dict_ema", "params_ema")
# What data parallel, Lightning, detrex and compiled models put before every name, and wrappers of single modules that
# may stand anywhere in a name.
PREFIXES = ("module.", "model.", "visual.")
WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
_MODELS = ("student", "teacher", "model", "ema", "model_ema", "ema_model")  # where one file has the names of several
_COUNTERS = ("n_averaged", "steps")  # beside the names of averaged weights


@dataclass
class Weights:
    """The weights of a checkpoint, taken out of whatever they were wrapped in.

    Args:
        source: what messages call the checkpoint: its path.
        tensors: name in the file, without prefixes -> tensor.
        metadata: what our own files say about themselves; empty for others.
        skipped: entries beside the tensors -> why they were left out.
        taken: from which entry of the file, and without which prefixes of the names, in words; "" for all of it.
    """

    source: str
    tensors: dict[str, Tensor]
    metadata: dict[str, Any] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    taken: str = ""


def select_weights(
    content: Mapping[str, Any],
    source: str = UNNAMED,
    *,
    ema: bool = False,
    entry: str = "",
    model_names: Collection[str] = (),
) -> Weights:
    """The weights in the content of a file, without container and without prefixes that all names share.

    Containers are the entries `TRAINED`, where there is none the averaged weights of `AVERAGED`, and a bare dictionary.
    The `PREFIXES` of all names and the `WRAPPERS` within them are removed in any order. Arrays become tensors.

    Args:
        ema: take the averaged weights.
        entry: the entry to take, or what the names to take begin with, where a file holds several.
        model_names: names of the model to fill; the prefixes that they have themselves stay.

    Raises:
        ValueError: there is no tensor, or no such entry; several entries may be meant; a name or the metadata is odd; a
            tensor is sparse or quantized.
    """
    path, inside = _find_container(content, source, ema, entry)
    tensors, skipped = _tensors_of(inside, source)
    if not tensors:
        held = some_of(content, 5) or "nothing"
        raise ValueError(f"The checkpoint {source} holds no weights; it holds {held}{_remedy(content)}.")
    if entry and path[:1] != [entry]:
        tensors = _below(entry, tensors, source, model_names)
    _refuse_several_models(tensors, source)
    skipped |= _split_counters(tensors)
    tensors, removed = _without_prefixes(tensors, model_names, source)
    skipped = {_plain(name, removed): reason for name, reason in skipped.items()}
    metadata = _check_metadata(content.get("metadata"), source)
    return Weights(source, tensors, metadata, skipped, _in_words(path, removed, _others(content, path)))


# The entry


def _held(content: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    return [name for name in names if isinstance(content.get(name), Mapping) and content[name]]


def _find_container(
    content: Mapping[str, Any], source: str, ema: bool, entry: str
) -> tuple[list[str], Mapping[str, Any]]:
    """The keys that lead to the dictionary of weights, and that dictionary."""
    trained, averaged = _held(content, TRAINED), _held(content, AVERAGED)
    if ema and not averaged:
        held = some_of(content, 5) or "nothing"
        raise ValueError(
            f"The checkpoint {source} holds no averaged weights (ema_model); it holds {held}{_remedy(content)}."
        )
    found = [entry] if _held(content, [entry]) else averaged if ema else trained or averaged
    path, inside = [], content
    while found:
        path.append(_the_one(found, source))
        inside = inside[path[-1]]
        found = [] if any(map(_is_array, inside.values())) else _held(inside, TRAINED)
    return path, inside


def _remedy(content: Mapping[str, Any]) -> str:
    """How to take the tensors of entries that are not looked into; "" if there are none."""
    known = (*TRAINED, *AVERAGED)
    inside = {name: value for name, value in content.items() if isinstance(value, Mapping) and name not in known}
    names = [name for name, value in inside.items() if any(map(_is_array, value.values())) or _held(value, TRAINED)]
    return f", with tensors in {' and '.join(names)}: {how_to_choose(names[0])}" if names else ""


def how_to_choose(entry: str) -> str:
    """What to set for the weights of an entry, or for names that begin with it."""
    return f"set train.weights_entry={entry} (in Python entry=, on command lines without a recipe --entry)"


def _the_one(names: list[str], source: str) -> str:
    if len(names) > 1:
        raise ValueError(
            f"The checkpoint {source} holds weights under {' and '.join(names)}: {how_to_choose(names[0])}, or the "
            "other."
        )
    return names[0]


def _others(content: Mapping[str, Any], path: list[str]) -> list[str]:
    return [name for name in _held(content, (*TRAINED, *AVERAGED)) if path and name != path[0]]


def _in_words(path: list[str], removed: list[str], others: list[str]) -> str:
    words = [f"from its entry {'.'.join(path)}"] if path else []
    words += [f"not {' or '.join(others)}"] if others else []
    words += [f"without {', '.join(removed)} in the names"] if removed else []
    return ", ".join(words)


# Its names and tensors


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor | np.ndarray)


def _tensors_of(inside: Mapping[Any, Any], source: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors by name, and why the other entries are left out."""
    tensors, skipped = {}, {}
    for name, value in inside.items():
        if _is_array(value) and not (isinstance(name, str) and name):
            raise ValueError(f"The checkpoint {source} holds a tensor under {name!r}, which is no name.")
        value = _as_tensor(value) if isinstance(value, np.ndarray) else value
        if isinstance(value, Tensor):
            tensors[name] = value
        else:
            skipped[str(name)] = f"a {type(value).__name__}, not a tensor"
    odd = [f"{name} ({kind})" for name, value in tensors.items() if (kind := _odd_kind(value))]
    if odd:
        raise ValueError(
            f"The checkpoint {source} holds tensors that no model here can take: {counted(odd)}; save them as dense "
            "floating-point tensors."
        )
    return tensors, skipped


def _as_tensor(array: np.ndarray) -> Tensor | np.ndarray:
    """In the byte order of this machine; the array itself if it holds no numbers of torch."""
    try:
        return torch.as_tensor(np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(array.shape))
    except TypeError:
        return array


def _odd_kind(tensor: Tensor) -> str:
    if tensor.is_quantized:
        return "quantized"
    if tensor.is_nested:
        return "nested"
    return "" if tensor.layout == torch.strided else "sparse"


def _below(word: str, tensors: dict[str, Tensor], source: str, model_names: Collection[str]) -> dict[str, Tensor]:
    """The tensors whose names, or those without prefixes, begin with a word and a dot, without these."""
    start = f"{word}."
    for named in (tensors, _without_prefixes(tensors, model_names, source)[0]):
        if found := {name.removeprefix(start): value for name, value in named.items() if name.startswith(start)}:
            return found
    raise ValueError(f"The checkpoint {source} has no entry {word!r}, and no names that begin with {start!r}.")


def _refuse_several_models(tensors: Mapping[str, Tensor], source: str) -> None:
    words = {name.partition(".")[0] for name in tensors}
    if len(words) > 1 and words <= set(_MODELS):
        _the_one(sorted(words), source)


def _split_counters(tensors: dict[str, Tensor]) -> dict[str, str]:
    """Removes what counts the steps of an average, where it stands beside the average's names."""
    counters = [name for name in _COUNTERS if name in tensors and tensors[name].numel() == 1]
    if not all(name in counters or name.startswith("module.") for name in tensors):
        return {}
    for name in counters:
        del tensors[name]
    return dict.fromkeys(counters, "a counter of the averaging")


def _without_prefixes(
    tensors: dict[str, Tensor], model_names: Collection[str], source: str
) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors by their plain names, and what was removed from these."""
    names, removed = {name: name for name in tensors}, []  # name in the file -> plain name
    for wrapper in WRAPPERS:
        if any(wrapper in name for name in names) and not any(wrapper in name for name in model_names):
            names = {name: plain.replace(wrapper, "") for name, plain in names.items()}
            removed.append(wrapper)
    strange = [prefix for prefix in PREFIXES if not (model_names and all(n.startswith(prefix) for n in model_names))]
    while prefix := next((p for p in strange if all(plain.startswith(p) for plain in names.values())), None):
        names = {name: plain.removeprefix(prefix) for name, plain in names.items()}
        removed.append(prefix)
    plain_tensors: dict[str, Tensor] = {}
    for name, plain in names.items():
        if not plain or plain in plain_tensors:
            raise ValueError(
                f"The checkpoint {source} holds the odd name {name!r}: without {', '.join(removed)} nothing is left of "
                "it, or a name that is there twice."
            )
        plain_tensors[plain] = tensors[name]
    return plain_tensors, removed


def _plain(name: str, removed: list[str]) -> str:
    """A name of something else than a tensor, as the names of the tensors beside it became."""
    for part in removed:
        name = name.replace(part, "") if part in WRAPPERS else name.removeprefix(part)
    return name


def _check_metadata(metadata: Any, source: str) -> dict[str, Any]:
    """What our own files note; other programs may note what they like.

    Raises:
        ValueError: an entry that is read here is of another kind.
    """
    if not isinstance(metadata, Mapping):
        return {}
    names = metadata.get("thing_classes")
    wrong = [
        *(["thing_classes"] if not (names is None or _is_list_of_names(names)) else []),
        *(["settings"] if not isinstance(metadata.get("settings", {}), Mapping) else []),
        *(["model"] if not isinstance(metadata.get("model"), str | None) else []),
    ]
    if wrong or not all(isinstance(name, str) for name in metadata):
        raise ValueError(
            f"The metadata of the checkpoint {source} is odd ({some_of(wrong) or 'a name that is no text'}): it is "
            "damaged, or was not written by this project; save the weights without it."
        )
    return dict(metadata)


def _is_list_of_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)
