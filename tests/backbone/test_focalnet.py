"""FocalNet: reference values of the official code, sizes, outputs, and the switches of training."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.backbone.focalnet import FocalModulation, FocalNet
from focalnet_d2.backbone.variants import FOCALNET_VARIANTS
from tests.golden.reference import assert_summary, fill_module, reference_input

TINY = dict(embed_dim=8, depths=(1, 1, 2, 1), focal_levels=(2, 2, 2, 2), focal_windows=(3, 3, 3, 3))
LARGE_FLAGS = dict(use_conv_embed=True, use_postln=True, use_layerscale=True)
REFERENCE = {
    "plain": (
        dict(focal_levels=(3, 3, 3, 3)),
        {
            "res2": (-0.007384, 0.843018, 0.787529, 1.466413),
            "res3": (-0.001460, 0.815703, 0.035073, 0.353220),
            "res4": (-0.000233, 0.805226, -1.286013, 0.338865),
            "res5": (-0.001540, 0.820782, 0.376391, -0.240710),
        },
    ),
    "large_fl4": (
        dict(focal_levels=(4, 4, 4, 4), normalize_modulator=True, **LARGE_FLAGS),
        {
            "res2": (0.005049, 0.841947, -1.298759, 0.947424),
            "res3": (0.007586, 0.827473, -0.798966, 1.229769),
            "res4": (-0.003756, 0.788773, -2.361605, -0.342497),
            "res5": (0.009400, 0.812033, -1.588013, 1.209204),
        },
    ),
    "huge": (
        dict(focal_levels=(3, 3, 3, 3), use_postln_in_modulation=True, **LARGE_FLAGS),
        {
            "res2": (-0.010779, 0.802945, -1.330180, 0.681906),
            "res3": (-0.005881, 0.803264, -0.203291, -0.514770),
            "res4": (-0.005839, 0.816214, -1.188720, 0.762600),
            "res5": (-0.003385, 0.803200, 0.247819, 0.456385),
        },
    ),
    "mmdet_stem": (
        dict(focal_levels=(3, 3, 3, 3), use_conv_embed=True, stem_padding=3),
        {
            "res2": (-0.006044, 0.815988, -1.392991, 2.834484),
            "res5": (0.001182, 0.803234, -0.382953, -0.292738),
        },
    ),
}
LOGITS = {
    "plain": (-0.09111, -0.180385, -0.163782, 0.330759, -0.15581, -0.256892, 0.497083),
    "huge": (0.588693, 0.753177, 0.005117, -0.023949, -0.756824, -1.158544, -0.598744),
}
# Parameters of the backbone with its four output norms.
PARAMETERS = {
    "tiny_srf": 27_659_460,
    "tiny_lrf": 27_880_272,
    "small_srf": 49_123_560,
    "small_lrf": 49_574_784,
    "base_srf": 87_124_936,
    "base_lrf": 87_726_560,
    "large_fl3": 205_566_432,
    "large_fl4": 205_746_936,
    "xlarge_fl3": 364_036_704,
    "xlarge_fl4": 364_277_368,
    "huge_fl3": 683_752_352,
    "huge_fl4": 686_465_592,
    "tiny_iso": 5_880_280 - 193_000,  # the count is published with a head of 1000 classes
    "small_iso": 22_376_344 - 385_000,
    "base_iso": 87_237_400 - 769_000,
}
# The same with every first window six larger, as detection trains tiny, small and base.
PARAMETERS_LARGER_WINDOWS = {
    "tiny_srf": 28_401_348,
    "tiny_lrf": 29_152_080,
    "small_srf": 50_639_592,
    "small_lrf": 52_173_696,
    "base_srf": 89_146_312,
    "base_lrf": 91_191_776,
}


def tiny(**changes) -> FocalNet:
    torch.manual_seed(0)
    return FocalNet(**{**TINY, **changes})


def wake_layer_scale(model: FocalNet) -> FocalNet:
    """Layer scales of one, so that the branches of the blocks matter."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "gamma_" in name:
                parameter.fill_(1.0)
    return model


def count(model) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("settings_", "expected"),
    [
        (dict(focal_level=3, focal_window=3), (0.003591, 0.052137, -0.024528, 0.006190)),
        (dict(focal_level=2, focal_window=9), (0.004117, 0.050956, -0.039783, 0.000953)),
        (
            dict(focal_level=4, focal_window=3, normalize=True),
            (0.003904, 0.050657, -0.029156, 0.010770),
        ),
        (
            dict(focal_level=3, focal_window=3, use_postln=True),
            (0.007617, 0.424569, 0.259094, -0.397379),
        ),
    ],
    ids=("levels_3", "window_9", "normalised", "post_norm"),
)
def test_focal_modulation_reference_values(settings_, expected):
    modulation = fill_module(FocalModulation(16, **settings_)).eval()
    assert_summary(modulation(reference_input(2, 9, 11, 16)), expected)


@pytest.mark.parametrize("name", REFERENCE)
def test_backbone_reference_values(name):
    settings_, expected = REFERENCE[name]
    model = FocalNet(embed_dim=16, depths=(1, 1, 2, 1), focal_windows=(3, 3, 3, 3), **settings_).eval()
    outputs = fill_module(model)(reference_input(1, 3, 65, 97))
    assert {k: tuple(v.shape) for k, v in outputs.items()} == {
        "res2": (1, 16, 17, 25),
        "res3": (1, 32, 9, 13),
        "res4": (1, 64, 5, 7),
        "res5": (1, 128, 3, 4),
    }
    for feature, summary in expected.items():
        assert_summary(outputs[feature], summary)


@pytest.mark.parametrize("name", LOGITS)
def test_classification_reference_logits(name):
    """The classifier's final norm is our last output norm; pooling and a linear head follow."""
    settings_, _ = REFERENCE[name]
    model = FocalNet(
        embed_dim=16, depths=(1, 1, 2, 1), focal_windows=(3, 3, 3, 3), out_features=("res5",), **settings_
    ).eval()
    fill_module(model, rename=lambda key: key.replace("norm3.", "norm.") if key.startswith("norm3") else key)
    head = fill_module(torch.nn.Linear(128, 7), rename=lambda key: f"head.{key}")
    logits = head(model(reference_input(1, 3, 64, 96))["res5"].mean((2, 3)))
    torch.testing.assert_close(logits[0], torch.tensor(LOGITS[name]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts_of_the_published_variants(name):
    with torch.device("meta"):
        assert count(FocalNet(**FOCALNET_VARIANTS[name])) == PARAMETERS[name]


@pytest.mark.parametrize("name", PARAMETERS_LARGER_WINDOWS)
def test_parameter_counts_with_the_windows_of_detection(name):
    kwargs = FOCALNET_VARIANTS[name]
    windows = tuple(window + 6 for window in kwargs["focal_windows"])
    with torch.device("meta"):
        assert count(FocalNet(**{**kwargs, "focal_windows": windows})) == PARAMETERS_LARGER_WINDOWS[name]


@pytest.mark.parametrize("name", sorted(FOCALNET_VARIANTS))
def test_every_variant_builds_and_announces_its_shapes(name):
    kwargs = FOCALNET_VARIANTS[name]
    with torch.device("meta"):
        model = FocalNet(**kwargs)
        outputs = model(torch.empty(1, 3, 70, 50, device="meta"))
    for index, (feature, shape) in enumerate(model.output_shape().items()):
        assert shape.channels == outputs[feature].shape[1] == kwargs["embed_dim"] * 2**index
        assert shape.stride == kwargs.get("patch_size", 4) * 2**index
        assert outputs[feature].shape[2:] == (-(-70 // shape.stride), -(-50 // shape.stride))


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 70), width=st.integers(1, 70), conv=st.booleans())
def test_any_size_works_and_sizes_round_up(height, width, conv):
    outputs = tiny(use_conv_embed=conv).eval()(torch.zeros(1, 3, height, width))
    rows, columns = -(-height // 4), -(-width // 4)
    for feature in ("res2", "res3", "res4", "res5"):
        assert outputs[feature].shape[2:] == (rows, columns)
        rows, columns = -(-rows // 2), -(-columns // 2)


@pytest.mark.parametrize("size", range(1, 5))
def test_any_subset_of_outputs_gives_the_same_features(size):
    images, everything = torch.randn(1, 3, 37, 50), tiny().eval()
    expected = everything(images)
    for names in itertools.combinations(("res2", "res3", "res4", "res5"), size):
        model = tiny(out_features=names).eval()
        wanted = set(model.state_dict())
        assert wanted <= set(everything.state_dict())
        assert {key for key in wanted if key.startswith("norm")} == {
            f"norm{int(name[3]) - 2}.{kind}" for name in names for kind in ("weight", "bias")
        }
        model.load_state_dict({key: everything.state_dict()[key] for key in wanted})
        outputs = model(images)
        assert tuple(outputs) == names == tuple(model.output_shape())
        for name in names:
            torch.testing.assert_close(outputs[name], expected[name], atol=0, rtol=0)


def test_unknown_output_is_refused_by_name():
    with pytest.raises(ValueError, match="res9"):
        tiny(out_features=("res2", "res9"))


@pytest.mark.parametrize("channels", [1, 4, 7])
def test_any_number_of_input_channels(channels):
    model = tiny(in_chans=channels).eval()
    assert model(torch.randn(2, channels, 33, 20))["res2"].shape == (2, 8, 9, 5)


def test_lists_are_as_good_as_tuples():
    """LazyConfig hands over lists."""
    model = tiny(depths=[1, 1, 2, 1], focal_levels=[2, 3, 1, 2], focal_windows=[9, 7, 5, 3], out_features=["res3"])
    assert set(model(torch.randn(1, 3, 32, 32))) == {"res3"}
    kernel = model.state_dict()["layers.1.blocks.0.modulation.focal_layers.2.0.weight"].shape[-1]
    assert kernel == 7 + 2 * 2


def test_batch_equals_single_images():
    model, images = tiny(**LARGE_FLAGS).eval(), torch.randn(3, 3, 41, 50)
    wake_layer_scale(model)
    batch = model(images)
    for index in range(3):
        for name, feature in model(images[index : index + 1]).items():
            torch.testing.assert_close(batch[name][index : index + 1], feature, atol=1e-5, rtol=1e-5)


def test_padding_to_the_patch_size_is_padding_with_zeros():
    model, images = tiny(use_conv_embed=True).eval(), torch.randn(1, 3, 33, 45)
    padded = torch.nn.functional.pad(images, (0, 3, 0, 3))
    for name, feature in model(images).items():
        torch.testing.assert_close(feature, model(padded)[name], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("flags", [{}, {**LARGE_FLAGS, "normalize_modulator": True}], ids=("plain", "large"))
def test_gradient_reaches_every_parameter(flags):
    model = wake_layer_scale(tiny(**flags)).train()
    sum(feature.square().sum() for feature in model(torch.randn(2, 3, 64, 64)).values()).backward()
    lost = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # A bias in front of a layer norm that sees one constant shift would be lost; FocalNet has none of those.
    assert not lost


@pytest.mark.parametrize("flags", [{}, LARGE_FLAGS], ids=("plain", "large"))
def test_activation_checkpointing_changes_nothing(flags):
    images, results = torch.randn(2, 3, 40, 33), []
    for use_checkpoint in (False, True):
        model = wake_layer_scale(tiny(use_checkpoint=use_checkpoint, drop_path_rate=0.3, **flags)).train()
        torch.manual_seed(1)
        outputs = model(images)
        sum(feature.square().sum() for feature in outputs.values()).backward()
        results.append((outputs, {n: p.grad for n, p in model.named_parameters()}))
    (plain, plain_grads), (saved, saved_grads) = results
    for name in plain:
        torch.testing.assert_close(plain[name], saved[name])
    for name in plain_grads:
        torch.testing.assert_close(plain_grads[name], saved_grads[name])


def test_activation_checkpointing_does_recompute_blocks():
    """With it on, a block of a training step runs twice."""
    model, calls = tiny(use_checkpoint=True).train(), []
    model.layers[0].blocks[0].register_forward_pre_hook(lambda *_: calls.append(1))
    model.layers[0].blocks[0].modulation.register_forward_pre_hook(lambda *_: calls.append(1))
    sum(feature.sum() for feature in model(torch.randn(1, 3, 32, 32)).values()).backward()
    assert len(calls) >= 3


def frozen_names(model) -> set[str]:
    return {name for name, parameter in model.named_parameters() if not parameter.requires_grad}


@pytest.mark.parametrize("stages", [-1, 0, 1, 2, 3, 4])
def test_frozen_stages(stages):
    """0 and 1 freeze the stem; from 2 on also stages 0 .. stages - 2."""
    model = tiny(frozen_stages=stages, drop_path_rate=0.5).train()
    prefixes = () if stages < 0 else ("patch_embed.", *(f"layers.{i}." for i in range(max(stages - 1, 0))))
    expected = {name for name, _ in model.named_parameters() if prefixes and name.startswith(prefixes)}
    assert frozen_names(model) == expected
    assert model.patch_embed.training == (stages < 0)
    for index, layer in enumerate(model.layers):
        assert layer.training == (stages - 1 <= index)


def test_train_and_eval_return_the_model():
    model = tiny(frozen_stages=2)
    assert model.train() is model
    assert model.eval() is model
    assert model.train().training


def drop_path_rates(model) -> list[float]:
    return [block.drop_path.p for layer in model.layers for block in layer.blocks]


def test_drop_path_grows_linearly_over_all_blocks():
    assert drop_path_rates(tiny(drop_path_rate=0.4)) == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert drop_path_rates(tiny(drop_path_rate=0.4, depths=(2, 1, 1, 1))) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_drop_path_acts_in_training_only():
    images, model = torch.randn(4, 3, 32, 32), tiny(drop_path_rate=0.9)
    torch.manual_seed(0)
    first = model.train()(images)["res5"]
    assert not torch.equal(first, model(images)["res5"])
    model.eval()
    torch.testing.assert_close(model(images)["res5"], model(images)["res5"], atol=0, rtol=0)
    torch.testing.assert_close(model(images)["res5"], tiny().eval()(images)["res5"])


def test_fresh_weights():
    """Linear layers: deviation 0.02, cut at two deviations on the scale of the draw, zero bias; norms: one and zero."""
    state = tiny(embed_dim=32, use_layerscale=True, layerscale_value=1e-4).state_dict()
    weight = state["layers.2.blocks.0.mlp.fc1.weight"]
    assert weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not state["layers.2.blocks.0.mlp.fc1.bias"].any()
    assert state["norm2.weight"].eq(1).all()
    assert not state["norm2.bias"].any()
    assert state["layers.0.blocks.0.gamma_1"].eq(1e-4).all()


def test_settings_can_be_read_back():
    settings_ = dict(
        embed_dim=8,
        depths=(1, 1, 1, 1),
        focal_levels=(4, 3, 2, 1),
        focal_windows=(3, 5, 7, 9),
        use_conv_embed=True,
        stem_padding=3,
        use_postln=True,
        use_postln_in_modulation=True,
        use_layerscale=True,
        normalize_modulator=True,
        out_features=("res4", "res5"),
    )
    model = FocalNet(**settings_)
    assert {name: getattr(model, name) for name in settings_} == settings_


def test_normalizing_divides_the_context_by_the_number_of_levels():
    """The flag has no parameters; with it off, a modulator `h` of 1/(L+1) times the weight gives the same."""
    on, off = tiny(normalize_modulator=True).eval(), tiny().eval()
    state = off.state_dict()
    scaled = {k: v / 3 if k.endswith("modulation.h.weight") else v for k, v in state.items()}
    on.load_state_dict(state)
    off.load_state_dict(scaled)
    images = torch.randn(1, 3, 40, 40)
    torch.testing.assert_close(on(images)["res5"], off(images)["res5"], atol=1e-5, rtol=1e-5)


def test_runs_in_bfloat16_autocast():
    model, images = wake_layer_scale(tiny(**LARGE_FLAGS)).eval(), torch.randn(1, 3, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        low = model(images)
    for name, feature in model(images).items():
        assert (low[name].float() - feature).abs().mean() < 0.03
