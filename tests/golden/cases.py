"""Golden cases: where they lie, the rules that make their weights and inputs, and how numbers are compared.

The data beside this file were produced by the official implementations. Weights are not stored: they follow from the
official parameter names by the two rules below, so that a test has to go through the checkpoint loader. Set
`GOLDEN_DIR` to a folder with the same subfolders (`focalnet/`, `dino/`, ...) to check other cases of the same format;
a subfolder that is missing there is taken from the shipped data.
"""

import json
import os
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

SHIPPED = Path(__file__).resolve().parent


def golden_dir(kind: str) -> Path:
    """Folder of `kind` ("focalnet", "dino"): in $GOLDEN_DIR when it is there, else the one beside this file."""
    other = os.environ.get("GOLDEN_DIR")
    if other and (Path(other) / kind).is_dir():
        return Path(other).resolve() / kind
    return SHIPPED / kind


def golden_file(kind: str, name: str) -> Path:
    """A file of `golden_dir(kind)`; the shipped one when the other folder does not have it."""
    path = golden_dir(kind) / name
    return path if path.exists() else SHIPPED / kind / name


def read_json(kind: str, name: str):
    return json.loads(golden_file(kind, name).read_text())


def skip_without(found: bool, what: str) -> None:
    """Skips a test of something that another folder of golden data need not have."""
    if not found:
        pytest.skip(f"{what} is not in the golden data of this run (GOLDEN_DIR).")


@lru_cache(maxsize=4)
def arrays(kind: str, name: str) -> dict[str, np.ndarray]:
    """All arrays of an npz file."""
    with np.load(golden_file(kind, name)) as stored:
        return {key: stored[key] for key in stored.files}


def focalnet_cases(kind: str | None = None) -> list[dict]:
    """Entries of `focalnet/cases.json`, all or those of one kind."""
    return [case for case in read_json("focalnet", "cases.json") if kind in (None, case["kind"])]


def dino_cases(section: str | None = None, layout: str | None = None, kinds=("dino", "stable_dino")) -> list[dict]:
    """Entries of `dino/cases.json` and `stable_dino/cases.json` with their `name` and the `kind` of their folder.

    Those that have `section` ("train") and come in `layout`.
    """
    cases = [
        {"name": name, "kind": kind, **case} for kind in kinds for name, case in read_json(kind, "cases.json").items()
    ]
    return [c for c in cases if section in (None, *c) and layout in (None, c["layout"])]


def dino_case_id(case: dict) -> str:
    """What pytest calls a case of `dino_cases`."""
    return f"{case['kind']}-{case['name']}"


def normal(seed: int, shape) -> np.ndarray:
    """Standard normal numbers, float32: the inputs of the FocalNet cases."""
    return np.random.RandomState(seed).standard_normal(tuple(shape)).astype(np.float32)


def keyed_normal(key: str, shape) -> np.ndarray:
    """Standard normal numbers, float64, that depend on `key` alone."""
    return np.random.RandomState(zlib.crc32(key.encode()) & 0xFFFFFFFF).standard_normal(tuple(shape))


def focalnet_weight(name: str, shape, salt: str = "") -> np.ndarray:
    """Value of an official FocalNet or Mask2Former parameter."""
    return focalnet_value(name, keyed_normal(salt + name, shape)).astype(np.float32)


def focalnet_value(name: str, draw: np.ndarray) -> np.ndarray:
    """The same in float64, of standard normal numbers of its shape."""
    shape = draw.shape
    if "gamma_" in name:
        value = 0.1 * (1 + 0.1 * draw)
    elif name.endswith(("query_feat.weight", "query_embed.weight", "level_embed.weight", "level_embed")):
        value = draw
    elif len(shape) >= 2:
        value = draw / np.sqrt(np.prod(shape[1:]))
        for suffix, factor in (("class_embed.weight", 4.0), ("out_proj.weight", 0.3), ("linear2.weight", 0.5)):
            value = factor * value if name.endswith(suffix) else value
    elif name.endswith(".weight"):
        value = 1 + 0.1 * draw
    else:
        value = 0.1 * draw
    return value


def dino_weight(name: str, shape) -> np.ndarray:
    """Value of an official DINO parameter; `name` is the canonical one of tensors with several names."""
    draw = keyed_normal(name, shape)
    if len(shape) >= 2:
        value = draw / np.sqrt(np.prod(shape[1:]))
    elif name.endswith("sampling_offsets.bias"):
        value = 2.0 * draw
    elif name.endswith("enc_output.bias"):
        value = 0.001 * draw
    elif "class_embed" in name and name.endswith(".bias"):
        value = -3 + 0.1 * draw
    elif "gamma" in name:
        value = 0.1 * (1 + 0.1 * draw)
    elif name.endswith(".weight"):
        value = 1 + 0.1 * draw
    else:
        value = 0.1 * draw
    return value.astype(np.float32)


def dino_image(key: str, height: int, width: int) -> np.ndarray:
    """A normalised image (3, height, width)."""
    return keyed_normal(key, (3, height, width)).astype(np.float32)


def relative_error(ours, golden) -> float:
    """max|ours - golden| / max|golden|; infinite for different shapes or numbers that are not finite."""
    ours, golden = _numbers(ours), _numbers(golden)
    if ours.shape != golden.shape or not np.isfinite(ours).all():
        return float("inf")
    return float(np.abs(ours - golden).max() / max(np.abs(golden).max(), 1e-30)) if golden.size else 0.0


def absolute_error(ours, golden) -> float:
    """max|ours - golden|; equal infinities count as equal, different shapes as infinitely far apart."""
    ours, golden = _numbers(ours), _numbers(golden)
    if ours.shape != golden.shape or np.isnan(ours).any():
        return float("inf")
    with np.errstate(invalid="ignore"):
        gaps = np.where(ours == golden, 0.0, np.abs(ours - golden))
    return float(gaps.max()) if golden.size else 0.0


def l2_error(ours, golden) -> float:
    """|ours - golden| / |golden| in the Euclidean norm."""
    ours, golden = _numbers(ours), _numbers(golden)
    if ours.shape != golden.shape:
        return float("inf")
    return float(np.linalg.norm(ours - golden) / max(np.linalg.norm(golden), 1e-30))


def assert_within(error, pairs: dict, tolerance: float) -> None:
    """Every (ours, golden) of `pairs` {name: pair} has `error(ours, golden) <= tolerance`; all breaches are listed."""
    assert pairs, "no arrays to compare"
    errors = {name: error(ours, golden) for name, (ours, golden) in pairs.items()}
    breaches = {name: value for name, value in errors.items() if not value <= tolerance}
    assert not breaches, f"{len(breaches)} of {len(errors)} beyond {tolerance:g}: {breaches}"


def device() -> torch.device:
    """Where golden tests run: $GOLDEN_DEVICE ("cuda") or the CPU. Convolutions in full float32 there."""
    torch.backends.cudnn.allow_tf32 = False
    return torch.device(os.environ.get("GOLDEN_DEVICE", "cpu"))


def _numbers(values) -> np.ndarray:
    if isinstance(values, Tensor):
        values = values.detach().cpu().double().numpy()
    return np.asarray(values, dtype=np.float64)


def tensor(values, dtype: torch.dtype | None = None) -> Tensor:
    """Tensor of an array; floating-point arrays in `dtype`."""
    made = torch.from_numpy(np.array(values))
    return made.to(dtype) if dtype is not None and made.is_floating_point() else made
