"""Multi-scale deformable attention: all implementations compute the same sums and gradients, for any shape."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.kernels.deformable_attention import DEFORMABLE_ATTENTION, deformable_attention
from focalnet_d2.layers.deformable_attention import MultiScaleDeformableAttention

IMPLEMENTATIONS = [one.name for one in DEFORMABLE_ATTENTION.available("cpu", torch.float64)]
each_implementation = pytest.mark.parametrize("implementation", IMPLEMENTATIONS)


def by_definition(value, spatial_shapes, locations, weights):
    """The sum written out: one point after the other, four texels each, zeros outside."""
    batch, _, heads, channels = value.shape
    queries, levels, points = locations.shape[1], len(spatial_shapes), locations.shape[4]
    result = value.new_zeros(batch, queries, heads, channels)
    start = 0
    for level, (height, width) in enumerate(spatial_shapes):
        for b, q, m, p in torch.cartesian_prod(*(torch.arange(n) for n in (batch, queries, heads, points))).tolist():
            x = float(locations[b, q, m, level, p, 0]) * width - 0.5
            y = float(locations[b, q, m, level, p, 1]) * height - 0.5
            for row in (math.floor(y), math.floor(y) + 1):
                for column in (math.floor(x), math.floor(x) + 1):
                    if 0 <= row < height and 0 <= column < width:
                        share = (1 - abs(y - row)) * (1 - abs(x - column)) * weights[b, q, m, level, p]
                        result[b, q, m] += share * value[b, start + row * width + column, m]
        start += height * width
    assert levels == locations.shape[3]
    return result.flatten(2)


def inputs_for(spatial_shapes, seed=0, *, batch=2, queries=3, heads=2, channels=4, points=2, dtype=torch.float64):
    """Random values, locations from a little outside on one side to a little outside on the other, weights."""
    draws = torch.Generator().manual_seed(seed)
    tokens, levels = sum(h * w for h, w in spatial_shapes), len(spatial_shapes)
    value = torch.randn(batch, tokens, heads, channels, generator=draws, dtype=dtype)
    locations = torch.rand(batch, queries, heads, levels, points, 2, generator=draws, dtype=dtype) * 1.4 - 0.2
    weights = torch.rand(batch, queries, heads, levels, points, generator=draws, dtype=dtype)
    return value, spatial_shapes, locations, weights


@each_implementation
def test_one_query_by_hand(implementation):
    """A 2 x 2 map: the middle is the mean, a texel's centre is its value, a corner of the map a quarter of it."""
    value = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1, 1)
    points = torch.tensor([[0.5, 0.5], [0.25, 0.75], [0.0, 0.0], [0.5, 0.25], [7.0, -3.0]])
    weights = torch.tensor([1.0, 10.0, 100.0, 1000.0, 1e4])
    for point, weight, expected in zip(points, weights, (2.5, 3.0, 0.25, 1.5, 0.0), strict=True):
        place, share = point.view(1, 1, 1, 1, 1, 2), weight.view(1, 1, 1, 1, 1)
        found = deformable_attention(value, [(2, 2)], place, share, implementation)
        assert found.item() == pytest.approx(expected * weight.item())


@each_implementation
@pytest.mark.parametrize("shapes", [[(1, 1)], [(3, 2), (1, 4)], [(5, 3), (2, 2), (1, 1)]])
def test_equals_the_definition(implementation, shapes):
    arguments = inputs_for(shapes)
    torch.testing.assert_close(deformable_attention(*arguments, implementation), by_definition(*arguments))


@each_implementation
def test_gradients(implementation):
    """Away from texel borders, where the sum has a kink."""
    value, shapes, locations, weights = inputs_for([(3, 4), (2, 1)], batch=1, queries=2, channels=2)
    arguments = [x.requires_grad_() for x in (value, locations, weights)]

    def attend(value, locations, weights):
        return deformable_attention(value, shapes, locations, weights, implementation)

    assert torch.autograd.gradcheck(attend, arguments, eps=1e-6, atol=1e-7)


special = st.sampled_from([0.0, 1.0, 0.5, -0.5, 1.5, 1 / 3, -40.0, 40.0, 1e6, -1e6, 1e-30])


@settings(max_examples=30, deadline=None)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 7), st.integers(1, 7)), min_size=1, max_size=5),
    batch=st.integers(1, 3),
    queries=st.integers(1, 5),
    heads=st.integers(1, 4),
    channels=st.sampled_from([1, 3, 8]),
    points=st.integers(1, 4),
    places=st.lists(st.tuples(special, special), max_size=4),
    seed=st.integers(0, 1000),
)
def test_all_implementations_agree(shapes, batch, queries, heads, channels, points, places, seed):
    """Outputs and gradients; some points on texel centres, on borders, far outside."""
    sizes = dict(batch=batch, queries=queries, heads=heads, channels=channels, points=points)
    value, shapes, locations, weights = inputs_for(shapes, seed, **sizes)
    flat = locations.view(-1, 2)
    for index, place in enumerate(places):
        flat[(7 * index) % len(flat)] = torch.tensor(place, dtype=flat.dtype)
    center = torch.tensor([0.5 / shapes[0][1], 0.5 / shapes[0][0]], dtype=flat.dtype)
    locations[0, 0, 0, 0, 0] = center
    upstream = torch.randn(batch, queries, heads * channels, generator=torch.Generator().manual_seed(seed)).double()
    results = []
    for implementation in IMPLEMENTATIONS:
        leaves = [x.clone().requires_grad_() for x in (value, locations, weights)]
        output = deformable_attention(leaves[0], shapes, leaves[1], leaves[2], implementation)
        output.backward(upstream)
        results.append((output.detach(), *(leaf.grad for leaf in leaves)))
    for other in results[1:]:
        for name, first, second in zip(("output", "value", "locations", "weights"), results[0], other, strict=True):
            assert first.isfinite().all(), name
            torch.testing.assert_close(
                first, second, atol=1e-9, rtol=1e-9, msg=lambda text, name=name: f"{name}: {text}"
            )


@each_implementation
def test_points_far_outside_read_zeros_and_have_no_gradient(implementation):
    value, shapes, locations, weights = inputs_for([(3, 3), (2, 2)])
    locations = (torch.sign(locations) * 1e6).requires_grad_()
    output = deformable_attention(value, shapes, locations, weights, implementation)
    output.sum().backward()
    assert not output.any()
    assert not locations.grad.any()


@each_implementation
def test_permuting_queries_permutes_the_output(implementation):
    value, shapes, locations, weights = inputs_for([(4, 5), (2, 3)], queries=6)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    output = deformable_attention(value, shapes, locations, weights, implementation)
    permuted = deformable_attention(value, shapes, locations[:, order], weights[:, order], implementation)
    torch.testing.assert_close(permuted, output[:, order], atol=0, rtol=0)


@each_implementation
def test_batch_equals_single(implementation):
    value, shapes, locations, weights = inputs_for([(4, 5), (2, 3)], batch=3)
    output = deformable_attention(value, shapes, locations, weights, implementation)
    for b in range(3):
        one = slice(b, b + 1)
        torch.testing.assert_close(
            deformable_attention(value[one], shapes, locations[one], weights[one], implementation), output[one]
        )


@each_implementation
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(implementation, dtype):
    """The result is the float32 result of the same numbers, rounded once."""
    value, shapes, locations, weights = inputs_for([(6, 6), (3, 3)], queries=8, points=4, dtype=torch.float32)
    low = value.to(dtype), shapes, locations, weights.to(dtype)
    expected = deformable_attention(low[0].float(), shapes, locations, low[3].float(), implementation)
    with torch.autocast("cpu", torch.bfloat16):
        output = deformable_attention(*low, implementation)
    assert output.dtype == dtype
    torch.testing.assert_close(output, expected.to(dtype), atol=0, rtol=0)


def test_unknown_implementation_and_wrong_sizes_are_refused():
    arguments = inputs_for([(2, 2)])
    with pytest.raises(ValueError, match="quantum"):
        deformable_attention(*arguments, "quantum")
    with pytest.raises(ValueError, match="12 tokens|make 4"):
        deformable_attention(arguments[0], [(3, 4)], *arguments[2:])


def module_and_inputs(levels=((4, 5), (2, 3)), queries=7, dtype=torch.float32):
    torch.manual_seed(0)
    attention = MultiScaleDeformableAttention(32, num_levels=len(levels), num_heads=4, num_points=2)
    torch.nn.init.normal_(attention.sampling_offsets.weight, std=0.1)
    torch.nn.init.normal_(attention.attention_weights.weight, std=0.1)
    query = torch.randn(2, queries, 32)
    reference = torch.rand(2, queries, len(levels), 4)
    memory = torch.randn(2, sum(h * w for h, w in levels), 32)
    attention, *tensors = (x.to(dtype) for x in (attention, query, reference, memory))
    return attention, *tensors, list(levels)


@pytest.mark.parametrize("coordinates", [2, 4])
def test_module_in_autocast_stays_close_and_finite(coordinates):
    attention, query, reference, memory, shapes = module_and_inputs()
    reference = reference[..., :coordinates]
    expected = attention(query, reference, memory, shapes)
    with torch.autocast("cpu", torch.bfloat16):
        output = attention(query, reference, memory, shapes)
    output.float().sum().backward()
    assert (output.float() - expected).abs().mean() < 0.02 * expected.abs().mean()
    assert all(parameter.grad.isfinite().all() for parameter in attention.parameters())


def test_module_weights_sum_to_one_over_levels_and_points():
    """A constant memory is returned unchanged by projections that do nothing, as long as points stay inside."""
    attention, query, reference, memory, shapes = module_and_inputs(dtype=torch.float64)
    torch.nn.init.zeros_(attention.sampling_offsets.weight)
    torch.nn.init.zeros_(attention.sampling_offsets.bias)
    for projection in (attention.value_proj, attention.output_proj):
        torch.nn.init.eye_(projection.weight)
        torch.nn.init.zeros_(projection.bias)
    output = attention(query, torch.full_like(reference, 0.5)[..., :2], torch.ones_like(memory), shapes)
    torch.testing.assert_close(output, torch.ones_like(output))


def test_padding_is_read_as_zeros_even_where_it_holds_garbage():
    attention, query, reference, memory, shapes = module_and_inputs()
    mask = torch.zeros(memory.shape[:2], dtype=torch.bool)
    mask[:, 3::4] = True
    noised = memory.masked_fill(mask[..., None], 1e4)
    first, second = (attention(query, reference, tokens, shapes, mask) for tokens in (memory, noised))
    torch.testing.assert_close(first, second)


def test_box_references_scale_offsets_by_half_the_box_over_the_points():
    """A box of zero size reads its centre; a point reference with zero offsets reads the same."""
    attention, query, reference, memory, shapes = module_and_inputs()
    reference[..., 2:] = 0
    boxes = attention(query, reference, memory, shapes)
    torch.nn.init.zeros_(attention.sampling_offsets.weight)
    torch.nn.init.zeros_(attention.sampling_offsets.bias)
    torch.testing.assert_close(boxes, attention(query, reference[..., :2], memory, shapes))


def test_fresh_module_looks_in_all_directions():
    """Heads start in equally spaced directions, points at growing distances, all with equal weight."""
    attention = MultiScaleDeformableAttention(32, num_levels=2, num_heads=4, num_points=3)
    offsets = attention.sampling_offsets.bias.view(4, 2, 3, 2)
    directions = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    expected = directions[:, None, None] * torch.tensor([1.0, 2.0, 3.0]).view(1, 1, 3, 1)
    torch.testing.assert_close(offsets, expected.expand(4, 2, 3, 2), atol=1e-6, rtol=0)
    assert not attention.sampling_offsets.weight.any()
    assert not attention.attention_weights.weight.any()


def test_dim_must_be_a_multiple_of_the_heads():
    with pytest.raises(ValueError, match="30"):
        MultiScaleDeformableAttention(30, num_heads=8)


@each_implementation
def test_a_location_that_is_no_number_spoils_its_query_only(implementation):
    value, shapes, locations, weights = inputs_for([(4, 5), (2, 3)], queries=3)
    expected = deformable_attention(value, shapes, locations, weights, implementation)
    locations[:, 1, 0, 0, 0, 0] = torch.nan
    output = deformable_attention(value, shapes, locations, weights, implementation)
    torch.testing.assert_close(output[:, ::2], expected[:, ::2], atol=0, rtol=0)
    assert output[:, 1].isnan().any() or implementation == "grid_sample"
