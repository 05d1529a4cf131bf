"""Weights, gradients and optimizer state cut into one part a process (FSDP2, `torch.distributed.fsdp.fully_shard`).

The numbers are those of DistributedDataParallel: every rank computes with whole weights in their own type, gathered
shortly before their use, and autocast narrows them as it does elsewhere. What activation checkpointing recomputes as
one (a FocalNet block, an encoder or decoder layer) is gathered and freed as one, too; the rest stays whole during a
step. Files hold whole, plain tensors under the usual names, so they load in a run of any kind.

Sharded tensors are known by their method `full_tensor`: to import their class takes seconds.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any

import torch
from detectron2.utils import comm
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.utils import get_total_norm


def shard_model(model: nn.Module, device: torch.device) -> nn.Module:
    """Cuts the parameters of a model in place, those of the first rank; all ranks must call it.

    Args:
        model: the same on every rank but for its values, on `device`.
        device: cpu or cuda.

    Raises:
        ValueError: a torch without what this needs.
    """
    fully_shard = _load_fully_shard()
    mesh = dist.init_device_mesh(device.type, (dist.get_world_size(),))
    for tensor in (*model.parameters(), *model.buffers()):
        first = tensor.detach().contiguous()
        dist.broadcast(first, src=0)
        tensor.detach().copy_(first)
    units = [fully_shard(module, mesh=mesh, reshard_after_forward=True) for module in recomputed_modules(model)]
    fully_shard(model, mesh=mesh, reshard_after_forward=False)
    for earlier, unit in zip((model, *units), units):
        # By itself it would go back over all calls so far, of which a rank without test images has others.
        unit.set_modules_to_backward_prefetch([earlier])
    return model


def _load_fully_shard() -> Any:
    try:
        from torch.distributed.fsdp import FSDPModule, fully_shard  # older torch has none

        known = hasattr(FSDPModule, "set_reshard_after_forward")
    except ImportError:
        known = False
    if not known:
        raise ValueError(
            f"train.parallel=fsdp needs torch.distributed.fsdp.fully_shard of a newer torch than {torch.__version__}: "
            "update torch, or set train.parallel=ddp."
        )
    return fully_shard


def recomputed_modules(model: nn.Module) -> Iterator[nn.Module]:
    """The layers that activation checkpointing can recompute, each as one (`layers/recompute.py`)."""
    for module in model.modules():
        if hasattr(module, "use_checkpoint"):
            for layers in module.children():
                if isinstance(layers, nn.ModuleList):
                    yield from layers


def sharded_units(model: nn.Module) -> list[nn.Module]:
    """What `fully_shard` was called with; empty if the model is whole."""
    return [module for module in model.modules() if hasattr(module, "set_reshard_after_forward")]


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """Every rank has whole weights inside and may run the model as often as it likes; all ranks must enter it."""
    units = sharded_units(model)
    for unit in units:
        unit.set_reshard_after_forward(False, recurse=False)
        unit.unshard()
    try:
        yield
    finally:
        for unit in units:
            unit.reshard()
            unit.set_reshard_after_forward(unit is not model, recurse=False)


def is_sharded(value: Any) -> bool:
    """Whether this is a tensor of which each rank has a part."""
    return hasattr(value, "full_tensor")


def local_shard(tensor: Tensor) -> Tensor:
    """What this rank has of a tensor of any shape; a tensor that is not sharded comes back as it is."""
    return tensor.to_local() if is_sharded(tensor) else tensor


def full_tensor(state: Any) -> Any:
    """A state dict with whole tensors: on the main process those that were cut are joined, on the CPU.

    All ranks must call it; the others get what no file is to be written from.
    """
    if isinstance(state, Mapping):
        return {name: full_tensor(value) for name, value in state.items()}
    if not is_sharded(state):
        return state
    joined = state.full_tensor()
    return joined.cpu() if comm.is_main_process() else None


def shard_like(value: Any, like: Any) -> Any:
    """A whole tensor cut as `like` is, if that is and their shapes agree; all ranks must call it with the same."""
    if not is_sharded(like) or not isinstance(value, Tensor) or value.shape != like.shape:
        return value
    from torch.distributed.tensor import distribute_tensor  # older torch has none

    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)


def shard_state_dict(state: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a state dict, of any shape, sharded as those of the same names are."""
    return {name: shard_like(value, like.get(name)) for name, value in state.items()}


def shard_optimizer_state_dict(state: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """An optimizer's state dict with whole tensors -> one whose tensors are cut as their parameters."""
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    owner = dict(zip(numbers, parameters))
    moments = {
        number: {name: shard_like(value, owner.get(number)) for name, value in values.items()}
        for number, values in state["state"].items()
    }
    groups = [
        {**group, "foreach": own["foreach"]} if "foreach" in own else group  # goes with the tensors, not with the file
        for group, own in zip_longest(state["param_groups"], optimizer.param_groups, fillvalue={})
    ]
    return {**state, "state": moments, "param_groups": groups}


def total_norm(tensors: list[Tensor]) -> Tensor:
    """L2 norm of all tensors together, of any shape: a scalar, the same on all ranks where they are sharded."""
    norm = get_total_norm([local_shard(tensor) for tensor in tensors])
    if any(map(is_sharded, tensors)):
        square = norm**2
        dist.all_reduce(square)
        norm = square.sqrt()
    return norm
