"""The Triton kernels are compiled for two generations of cards, without one."""

import pytest
from torch.torch_version import TorchVersion

triton = pytest.importorskip("triton")

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from focalnet_d2.kernels import deformable_attention_triton as attention  # noqa: E402
from focalnet_d2.kernels import focal_context_triton as context  # noqa: E402

FLOAT32 = (
    "sums",
    "taps",
    "gate_grads",
    "parts",
    "locations",
    "weights",
    "locations_grad",
    "weights_grad",
    "value_grad",
)
NUMBERS = ("rows", "queries", "tokens", "height", "width", "lines", "part", "stride", "gate_stride", "channels")
SIZES = context._tile_sizes(192)
KERNELS = {
    "deformable attention": (attention._forward, dict(HEADS=8, CHANNELS=32, LEVELS=5, POINTS=4, R=8, C=32), 1),
    "deformable attention, backward": (
        attention._backward,
        dict(HEADS=8, CHANNELS=32, LEVELS=5, POINTS=4, R=8, C=32, FOR_VALUE=True, FOR_POINTS=True),
        1,
    ),
    "focal context, last level": (context._forward, dict(K=3, LEVEL=1, LAST=1, KEEP=True, **SIZES), 4),
    "focal context, backward": (context._backward, dict(K=3, LEVEL=0, LEVELS=2, **SIZES), 4),
    "focal context, taps": (context._tap_gradients, dict(K=3, T=16, C=64, STEPS=context._STEPS), 4),
}


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


def type_of(argument: str) -> str:
    if argument in NUMBERS:
        return "i32"
    return "*i32" if argument == "levels" else "*fp32" if argument in FLOAT32 else "*bf16"


def compile_for(capability: int, kernel, constants: dict, warps: int):
    """As a launch on such a card does, for bf16 maps whose memory and channels are multiples of 16."""
    names = kernel.arg_names
    signature = {name: "constexpr" if name in constants else type_of(name) for name in names}
    aligned = [name for name in names if signature[name].startswith("*") or name in ("stride", "channels")]
    source = ASTSource(
        fn=kernel,
        signature=signature,
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name in aligned},
    )
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": warps})


@pytest.mark.skipif("nvidia" not in triton.backends.backends, reason="triton was built without CUDA")
@pytest.mark.skipif(TorchVersion(triton.__version__) < "3.4", reason="the compiler was called in another way")
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("name", KERNELS)
def test_kernels_compile_and_read_sixteen_bytes_at_once(name, capability):
    compiled = compile_for(capability, *KERNELS[name])
    assert compiled.asm["cubin"]
    assert "ld.global.v4.b32" in compiled.asm["ptx"]
