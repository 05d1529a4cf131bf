"""Which implementation a call takes, why not the others, and when CUDA takes the Triton kernels."""

import importlib
import pkgutil
import sys
from functools import cache

import pytest
import torch

import focalnet_d2.kernels
from focalnet_d2.kernels import dispatch
from focalnet_d2.kernels.deformable_attention import DEFORMABLE_ATTENTION
from focalnet_d2.kernels.dispatch import HALF_AND_SINGLE, Computation, Implementation
from focalnet_d2.kernels.focal_context import FOCAL_CONTEXT

MODULES = [one.name for one in pkgutil.iter_modules(focalnet_d2.kernels.__path__) if not one.name.endswith("_triton")]
COMPUTATIONS = {
    computation.name: computation
    for module in MODULES
    for computation in vars(importlib.import_module(f"focalnet_d2.kernels.{module}")).values()
    if isinstance(computation, Computation)
}


def returns(text: str):
    return lambda *arguments: text


def three(**first) -> Computation:
    """On a CPU in float32 "fast" for even numbers, then "narrow"; everywhere "plain"."""
    return Computation(
        "adding",
        (
            Implementation(
                "fast", returns("fast"), "by magic", ("cpu",), (torch.float32,), lambda number: number % 2 == 0, **first
            ),
            Implementation("narrow", returns("narrow"), "with care", ("cpu",), (torch.float32,)),
            Implementation("plain", returns("plain"), "as ever"),
        ),
    )


def taken(computation: Computation, *call) -> str:
    return computation.choose(*call).compute()


def test_the_first_that_serves_device_type_and_arguments_is_taken():
    adding = three()
    assert taken(adding, "cpu", torch.float32, 2) == "fast"
    assert taken(adding, "cpu", torch.float32, 3) == "narrow"
    assert taken(adding, "cpu", torch.float64, 2) == "plain"
    assert taken(adding, "cuda", torch.float32, 2) == "plain"
    assert [one.name for one in adding.available("cpu")] == ["fast", "narrow", "plain"]
    assert [one.name for one in adding.available("cuda")] == ["plain"]


def test_what_is_missing_here_is_neither_taken_nor_found_by_name():
    adding = three(unavailable_reason=lambda: "no magic")
    assert taken(adding, "cpu", torch.float32, 2) == "narrow"
    with pytest.raises(ValueError, match=r"^Adding has no implementation 'fast' here: no magic\.$"):
        adding.named("fast")
    with pytest.raises(ValueError, match=r"^Adding has no implementation 'slow'; choose one of fast, narrow, plain\.$"):
        adding.named("slow")


def test_one_line_says_what_is_taken_and_what_is_missing():
    adding = three(unavailable_reason=lambda: "no magic")
    assert adding.report("cpu") == "narrow (with care); other forms: plain; not fast: no magic"
    assert adding.report("cuda") == "plain (as ever); other forms: none; not fast: no magic"


def test_only_one_is_taken_inside_and_the_choice_is_back_afterwards():
    adding = three()
    with adding.only("plain"):
        assert taken(adding, "cpu", torch.float32, 2) == "plain"
        with pytest.raises(KeyError), adding.only("fast"):
            raise KeyError(taken(adding, "cuda", torch.float64, 3))
        assert taken(adding, "cpu", torch.float32, 2) == "plain"
    assert taken(adding, "cpu", torch.float32, 2) == "fast"


@pytest.mark.parametrize("name", COMPUTATIONS)
def test_every_computation_has_implementations_that_differ_and_one_that_serves_everything(name):
    *others, last = COMPUTATIONS[name].implementations
    assert others
    assert len({one.name for one in (*others, last)}) == len(others) + 1
    assert (last.devices, last.dtypes, last.suits, last.try_out) == ((), (), None, None)
    assert last.unavailable_reason() == ""
    for device_type in ("cpu", "cuda", "mps"):
        for dtype in (*HALF_AND_SINGLE, torch.float64):
            assert last in COMPUTATIONS[name].available(device_type, dtype)


def test_all_computations_are_found():
    assert len(COMPUTATIONS) >= 9


with_triton = pytest.mark.parametrize(
    ("computation", "otherwise"),
    [(DEFORMABLE_ATTENTION, "grid_sample"), (FOCAL_CONTEXT, "plain")],
    ids=["deformable attention", "focal context"],
)


@pytest.fixture
def untried(monkeypatch):
    """No choice in the environment and nothing tried out yet."""
    monkeypatch.delenv("FOCALNET_D2_TRITON", raising=False)
    monkeypatch.setattr(dispatch, "_failure", cache(dispatch._failure.__wrapped__))


def first(computation: Computation, dtype: torch.dtype, device_type: str = "cuda") -> str:
    return computation.available(device_type, dtype)[0].name


@with_triton
@pytest.mark.usefixtures("untried")
def test_triton_waits_to_be_asked_for_until_a_card_has_run_it(computation, otherwise, monkeypatch):
    assert {first(computation, dtype) for dtype in HALF_AND_SINGLE} == {otherwise}
    reason = "the Triton kernels were not yet run on a card: FOCALNET_D2_TRITON=1 takes them"
    assert computation.named("triton").why_not("cuda") == reason
    monkeypatch.setattr(dispatch, "_failure", returns(""))
    monkeypatch.delitem(dispatch.UNPROVEN, "triton")
    assert {first(computation, dtype) for dtype in HALF_AND_SINGLE} == {"triton"}


@with_triton
@pytest.mark.usefixtures("untried")
def test_triton_is_taken_on_cuda_when_asked_for_and_able(computation, otherwise, monkeypatch):
    monkeypatch.setenv("FOCALNET_D2_TRITON", "1")
    monkeypatch.setattr(dispatch, "_failure", returns(""))
    assert computation.named("triton").why_not("cuda") == ""
    assert {first(computation, dtype) for dtype in HALF_AND_SINGLE} == {"triton"}
    assert first(computation, torch.float64) == otherwise
    assert first(computation, torch.float32, "cpu") != "triton"
    assert first(computation, torch.float32, "mps") == otherwise


@with_triton
@pytest.mark.usefixtures("untried")
def test_without_triton_another_implementation_is_taken(computation, otherwise, monkeypatch):
    monkeypatch.setenv("FOCALNET_D2_TRITON", "1")
    monkeypatch.setitem(sys.modules, "triton", None)  # the import fails
    for module in ("deformable_attention_triton", "focal_context_triton"):
        monkeypatch.delitem(sys.modules, f"focalnet_d2.kernels.{module}", raising=False)
    assert first(computation, torch.bfloat16) == otherwise
    assert "do not run: ModuleNotFoundError: import of triton" in computation.named("triton").why_not("cuda")


@with_triton
@pytest.mark.usefixtures("untried")
@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there")
def test_a_failure_to_start_is_a_reason(computation, otherwise, monkeypatch):
    pytest.importorskip("triton")
    monkeypatch.setenv("FOCALNET_D2_TRITON", "1")
    assert first(computation, torch.bfloat16) == otherwise
    assert computation.named("triton").why_not("cuda").startswith("the Triton kernels do not run: ")


@pytest.mark.usefixtures("untried")
def test_a_choice_that_needs_a_trial_breaks_no_graph():
    """The trial runs while `torch.compile` traces, and its result is a constant of the graph."""
    tried = []
    computation = Computation(
        "doubling",
        (
            Implementation("new", lambda x: x + x, devices=("cpu",), try_out=tried.append),
            Implementation("old", lambda x: x * 3),
        ),
    )
    compiled = torch.compile(lambda x: computation.choose("cpu", x.dtype).compute(x), fullgraph=True, backend="eager")
    assert compiled(torch.ones(2)).tolist() == [2.0, 2.0]
    assert tried == ["cpu"]
