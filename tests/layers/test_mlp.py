"""The multi-layer perceptron of the heads."""

import torch

from focalnet_d2.layers.mlp import MLP


def test_mlp_by_hand():
    """Two layers of width one: 2 * relu(3 * x - 1) + 5, no activation after the last."""
    mlp = MLP(1, 1, 1, 2)
    with torch.no_grad():
        for layer, weight, bias in zip(mlp.layers, (3.0, 2.0), (-1.0, 5.0)):
            layer.weight.fill_(weight)
            layer.bias.fill_(bias)
    torch.testing.assert_close(mlp(torch.tensor([[2.0], [-1.0]])), torch.tensor([[15.0], [5.0]]))
    with torch.no_grad():
        mlp.layers[1].bias.fill_(-100.0)
    assert mlp(torch.zeros(1, 1)).item() == -100.0


def test_mlp_names_and_shapes():
    mlp = MLP(6, 10, 4, 3)
    shapes = {name: tuple(value.shape) for name, value in mlp.state_dict().items() if name.endswith("weight")}
    assert shapes == {"layers.0.weight": (10, 6), "layers.1.weight": (10, 10), "layers.2.weight": (4, 10)}
    assert mlp(torch.zeros(2, 3, 6)).shape == (2, 3, 4)
