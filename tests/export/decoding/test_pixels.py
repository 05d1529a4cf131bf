"""What exported UPerNets decode, beside torch's post-processing."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.export.decoding.pixels import decode, decode_windows, windows
from focalnet_d2.export.result import Sizes
from focalnet_d2.modeling.upernet.sliding_window import WindowInference

SIDES = st.integers(1, 60)


def window_logits(parts, classes: int, seed: int) -> list[torch.Tensor]:
    """(K, h/4, w/4) of each window."""
    draws = torch.Generator().manual_seed(seed)
    sides = [(-(-(bottom - top) // 4), -(-(right - left) // 4)) for top, left, bottom, right in parts]
    return [torch.randn(classes, *size, generator=draws) for size in sides]


@given(image=st.tuples(SIDES, SIDES), window=st.integers(1, 40), share=st.floats(0.1, 1))
def test_windows_are_those_of_torch(image, window, share):
    stride = max(1, int(window * share))
    wanted = WindowInference(window=window, stride=stride).windows(image)
    found = windows(image, {"window": window, "stride": stride})
    assert [(slice(top, bottom), slice(left, right)) for top, left, bottom, right in found] == wanted


@settings(max_examples=50)
@given(
    image=st.tuples(SIDES, SIDES), output=st.tuples(SIDES, SIDES), same=st.booleans(),
    window=st.sampled_from([0, 16, 33]), classes=st.integers(1, 6), seed=st.integers(0, 10**6),
)  # fmt: skip
def test_maps_are_those_of_torch(image, output, same, window, classes, seed):
    output = image if same else output
    about = {"window": window, "stride": 11}
    parts = windows(image, about)
    logits = window_logits(parts, classes, seed)
    inference = WindowInference(**about)
    scores = inference(logits, inference.windows(image), image_size=image, output_size=output)
    outputs = [{"logits": one.numpy()} for one in logits]
    found = decode_windows(outputs, parts, about, Sizes(image, image, output))["semantic_map"]
    assert found.dtype == np.int32
    assert found.shape == output
    wrong = found != scores.argmax(0).numpy()
    best = scores.topk(min(2, classes), dim=0).values
    assert not (wrong & ((best[0] - best[-1]).numpy() > 1e-5)).any()
    if len(parts) == 1:
        alone = decode(outputs[0], about, Sizes(image, image, output))["semantic_map"]
        np.testing.assert_array_equal(alone, found)


def test_the_first_of_equal_classes_is_taken():
    about = {"window": 0, "stride": 0}
    equal = {"logits": np.zeros((3, 2, 2), np.float16)}
    assert not decode(equal, about, Sizes((8, 8), (8, 8), (5, 5)))["semantic_map"].any()


def test_only_windows_that_leave_no_gap_cover_the_image():
    covered = np.zeros((50, 70), int)
    for top, left, bottom, right in windows((50, 70), {"window": 32, "stride": 20}):
        covered[top:bottom, left:right] += 1
    assert covered.min() == 1
    assert covered.max() == 4
