"""A stem for red, green and blue becomes one for other channels: which outputs stay what they were."""

import pytest
import torch

from focalnet_d2.checkpoint import load_checkpoint
from tests.checkpoint.building import classifier_state, tiny_focalnet

STEM = "patch_embed.proj.weight"


def outputs(model, images):
    with torch.no_grad():
        return model.eval()(images)


def inflated(count: int, places=(), **options):
    torch.manual_seed(0)
    colors = tiny_focalnet(**options)
    model = tiny_focalnet(in_chans=count, **options)
    report = load_checkpoint(model, {"model": colors.state_dict()}, new_channels=places)
    return colors, model, report


@pytest.mark.parametrize("count", [1, 2, 4, 5, 13])
@pytest.mark.parametrize("conv", [False, True])
def test_of_images_whose_channels_are_alike_outputs_stay(count, conv):
    """N equal channels give what three of them give: N times the mean kernel times 3 / N is the sum of the three."""
    colors, model, _ = inflated(count, use_conv_embed=conv)
    gray = torch.randn(2, 1, 32, 32)
    expected, found = outputs(colors, gray.repeat(1, 3, 1, 1)), outputs(model, gray.repeat(1, count, 1, 1))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)


def test_red_green_and_blue_keep_their_kernels_and_the_others_do_not_count():
    colors, model, report = inflated(5, (3, 0, 2))
    assert torch.equal(model.state_dict()[STEM][:, [3, 0, 2]], colors.state_dict()[STEM])
    assert not model.state_dict()[STEM][:, [1, 4]].any()
    images = torch.randn(2, 5, 32, 32)
    expected, found = outputs(colors, images[:, [3, 0, 2]]), outputs(model, images)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)
    assert "red, green and blue keep theirs as channels [3, 0, 2] of 5, the others start at zero" in str(report)


def test_the_report_says_what_became_of_the_stem_in_one_line():
    _, _, report = inflated(5)
    (line,) = [line for line in str(report).splitlines() if "of the stem" in line]
    assert line == "  note: of the stem, each of 5 channels starts with the mean of red, green and blue times 3/5"
    assert STEM in report.resized


def test_nothing_is_changed_where_the_channels_are_as_many():
    colors, model, report = inflated(3)
    assert torch.equal(model.state_dict()[STEM], colors.state_dict()[STEM])
    assert not report.resized


def test_only_a_stem_of_three_channels_grows():
    state = classifier_state(tiny_focalnet(in_chans=4))
    with pytest.raises(ValueError, match="it holds 4 input channels; the model has 5 input channels"):
        load_checkpoint(tiny_focalnet(in_chans=5), state, new_channels=())


def test_nothing_grows_that_was_not_asked_to():
    with pytest.raises(ValueError, match="it holds 3 input channels; the model has 5 input channels"):
        load_checkpoint(tiny_focalnet(in_chans=5), classifier_state(tiny_focalnet()))
