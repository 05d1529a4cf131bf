"""Checks of the machine: its devices, and which implementation of a computation each of them takes."""

import os
import platform
import sys
from pathlib import Path

from focalnet_d2.utils.thread_choice import chosen, decide
from focalnet_d2.utils.waiting_threads import is_watched

from .check import FAILS, FALLBACK, OK, Check


def check_cpu() -> list[Check]:
    """The processor, and whether it has bf16 instructions."""
    import torch

    torch.ones(2, 2, dtype=torch.bfloat16) @ torch.ones(2, 2, dtype=torch.bfloat16)
    name, features = cpu_description()
    native = sorted({"avx512_bf16", "amx_bf16", "bf16"} & features)
    bf16 = f"bf16 by {', '.join(native)}" if native else "bf16 works, but slower than float32"
    return [Check("cpu", OK, f"{name}, {os.cpu_count()} logical cores; {bf16}")]


def check_threads() -> list[Check]:
    """What this process may use, with how many threads a command line therefore computes, and how they wait."""
    choice = chosen() or decide()  # before torch is loaded
    import torch

    waiting = "; threads that wait sleep while other processes want the cores" if is_watched() else ""
    return [Check("threads", OK, f"{choice}; torch uses {torch.get_num_threads()}{waiting}")]


def cpu_description(cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, set[str]]:
    """Name and instruction sets of the processor; no instruction sets where the system does not list them."""
    name, features = platform.processor() or platform.machine(), set()
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        elif key.strip() in ("flags", "Features"):
            features = set(value.split())
    return name, features


def check_cuda() -> list[Check]:
    """Every CUDA device with its memory, a kernel that really runs on it, and bf16."""
    import torch

    if torch.cuda.is_available():
        return [check_cuda_device(index) for index in range(torch.cuda.device_count())]
    if torch.version.cuda is None:
        reason, fix = "torch is built without CUDA", "with an NVIDIA GPU: install a CUDA build of torch"
    else:
        reason = f"torch is built for CUDA {torch.version.cuda}, but no device is visible"
        fix = "with an NVIDIA GPU: update its driver, look at CUDA_VISIBLE_DEVICES"
    return [Check("cuda", FALLBACK, f"{reason}: everything runs without it", fix)]


def check_cuda_device(index: int) -> Check:
    """One CUDA device."""
    import torch

    about = torch.cuda.get_device_properties(index)
    detail = f"{about.name}, {about.total_memory / 2**30:.0f} GiB, compute {about.major}.{about.minor}"
    try:
        torch.ones(1, device=f"cuda:{index}").add(1).item()
    except RuntimeError as error:
        fix = "install a torch build for this GPU, or hide the GPU with CUDA_VISIBLE_DEVICES="
        return Check(f"cuda:{index}", FAILS, f"{detail}: {str(error).splitlines()[0]}", fix)
    bf16 = "bf16" if about.major >= 8 else "no bf16 instructions, train.amp=auto takes fp16"
    return Check(f"cuda:{index}", OK, f"{detail}, CUDA {torch.version.cuda}, {bf16}")


def check_mps() -> list[Check]:
    """Apple's GPU; nothing to say on other systems."""
    import torch

    if sys.platform != "darwin":
        return []
    if not torch.backends.mps.is_available():
        return [Check("mps", FALLBACK, "not usable: everything runs on the CPU", "needs Apple silicon")]
    return [Check("mps", OK, "usable; set PYTORCH_ENABLE_MPS_FALLBACK=1 for operators that it lacks")]


def check_cpu_matmul() -> list[Check]:
    """The library that multiplies float32 matrices on the CPU in training and evaluation."""
    from focalnet_d2.kernels.cpu_matmul import choice

    return [Check("matrix products, cpu", OK, choice().reason)]


def check_implementations() -> list[Check]:
    """The implementation of deformable attention and of the focal context that each usable device takes."""
    import torch

    from focalnet_d2.kernels.deformable_attention import DEFORMABLE_ATTENTION
    from focalnet_d2.kernels.focal_context import FOCAL_CONTEXT

    usable = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return [
        Check(f"{computation.name}, {device}", OK, computation.report(device))
        for computation in (DEFORMABLE_ATTENTION, FOCAL_CONTEXT)
        for device, there in usable.items()
        if there
    ]


def check_triton() -> list[Check]:
    """Whether CUDA takes the Triton kernels, and why not; nothing to say without CUDA."""
    import torch

    from focalnet_d2.kernels.deformable_attention import DEFORMABLE_ATTENTION
    from focalnet_d2.kernels.dispatch import UNPROVEN
    from focalnet_d2.kernels.focal_context import FOCAL_CONTEXT

    if not torch.cuda.is_available():
        return []
    reasons = {one.name: one.named("triton").why_not("cuda") for one in (DEFORMABLE_ATTENTION, FOCAL_CONTEXT)}
    if reason := next(filter(None, reasons.values()), ""):
        fix = "none is needed; python -m focalnet_d2.kernels.gpu_check checks the kernels on this card"
        return [Check("triton", FALLBACK, reason, fix)]
    asked = f"{UNPROVEN['triton']}=1: " if "triton" in UNPROVEN else ""
    return [Check("triton", OK, f"{asked}{' and '.join(reasons)} take their Triton kernels")]
