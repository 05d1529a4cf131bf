"""Windows of an image, means where they overlap, and results in bounded memory."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from focalnet_d2.modeling.upernet.sliding_window import WindowInference


def infer(logits, inference=None, *, image_size, output_size):
    """The result for windows whose logits are given, or are cut out of those of the image."""
    inference = inference or WindowInference()
    windows = inference.windows(image_size)
    if torch.is_tensor(logits):
        logits = [logits[:, rows, columns] for rows, columns in windows]
    return inference(logits, windows, image_size=image_size, output_size=output_size)


def spans(inference, length):
    return [(rows.start, rows.stop) for rows, _ in inference.windows((length, 1))]


@pytest.mark.parametrize(
    ("window", "stride", "length", "expected"),
    [
        (0, 0, 700, [(0, 700)]),
        (512, 341, 300, [(0, 300)]),
        (512, 341, 512, [(0, 512)]),
        (512, 341, 513, [(0, 512), (1, 513)]),
        (512, 341, 853, [(0, 512), (341, 853)]),
        (512, 341, 1000, [(0, 512), (341, 853), (488, 1000)]),
        (4, 4, 10, [(0, 4), (4, 8), (6, 10)]),
    ],
)
def test_windows_worked_out_by_hand(window, stride, length, expected):
    assert spans(WindowInference(window=window, stride=stride), length) == expected


@given(window=st.integers(1, 40), share=st.floats(0.01, 1), length=st.integers(1, 200))
def test_windows_cover_the_image_without_gaps(window, share, length):
    found = spans(WindowInference(window=window, stride=max(1, int(share * window))), length)
    assert found[0][0] == 0
    assert found[-1][1] == length
    assert all(end - start == min(window, length) for start, end in found)
    assert all(a < c <= b for (a, b), (c, _) in pairwise(found))


def test_windows_go_row_by_row():
    windows = WindowInference(window=4, stride=2).windows((4, 6))
    assert windows == [(slice(0, 4), slice(0, 4)), (slice(0, 4), slice(2, 6))]


@pytest.mark.parametrize("stride", [0, -1, 9])
def test_windows_with_gaps_are_refused(stride):
    with pytest.raises(ValueError, match=rf"stride={stride} must be from 1 to the window's 8 pixels"):
        WindowInference(window=8, stride=stride)


def test_overlap_is_the_mean_of_the_windows_by_hand():
    """Two windows of 2 pixels on a row of 3; logits are constant in each, and the middle has the mean."""
    logits = [torch.tensor([[[2.0]], [[0.0]]]), torch.tensor([[[0.0]], [[4.0]]])]  # (K, 1, 1)
    found = infer(logits, WindowInference(window=2, stride=1), image_size=(1, 3), output_size=(1, 3))
    expected = torch.tensor([[2.0, 1.0, 0.0], [0.0, 2.0, 4.0]]).softmax(0)
    torch.testing.assert_close(found[:, 0], expected)


def test_equal_logits_in_all_windows_are_those_of_the_image():
    logits = torch.randn(3, 9, 14, dtype=torch.float64)
    sizes = dict(image_size=(9, 14), output_size=(20, 11))
    sliding = infer(logits, WindowInference(window=5, stride=3), **sizes)
    torch.testing.assert_close(sliding, infer(logits, **sizes))


def test_logits_are_resized_to_the_input_then_to_the_result_then_made_probabilities():
    logits = torch.randn(5, 4, 6)
    found = infer([logits], image_size=(15, 22), output_size=(31, 40))
    at_input = F.interpolate(logits[None], size=(15, 22), mode="bilinear", align_corners=False)
    expected = F.interpolate(at_input, size=(31, 40), mode="bilinear", align_corners=False)[0].softmax(0)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.sum(0), torch.ones(31, 40))


@pytest.mark.parametrize("chunk_bytes", [1, 4 * 30 * 2, 2**26])
def test_chunks_change_nothing(chunk_bytes):
    logits = torch.randn(7, 5, 6)
    sizes = dict(image_size=(5, 6), output_size=(4, 9))
    found = infer([logits], WindowInference(chunk_bytes=chunk_bytes), **sizes)
    torch.testing.assert_close(found, infer([logits], **sizes), rtol=0, atol=1e-7)


@pytest.mark.parametrize("chunk_bytes", [1, 4 * 36 * 3, 2**26])
def test_large_results_are_the_best_classes(chunk_bytes):
    logits = torch.randn(8, 5, 6)
    logits[5] = logits[2]  # the first of equal ones counts
    sizes = dict(image_size=(5, 6), output_size=(4, 9))
    classes = infer([logits], WindowInference(dense_bytes=8 * 36 * 4 - 1, chunk_bytes=chunk_bytes), **sizes)
    assert (classes.dtype, classes.shape) == (torch.int16, (4, 9))
    assert torch.equal(classes.long(), infer([logits], WindowInference(dense_bytes=8 * 36 * 4), **sizes).argmax(0))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_probabilities_are_at_least_float32(dtype):
    found = infer([torch.zeros(2, 1, 1, dtype=dtype)], image_size=(1, 1), output_size=(1, 1))
    assert found.dtype == torch.promote_types(dtype, torch.float32)
