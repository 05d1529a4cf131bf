"""Reference implementation of FocalNet, which takes the weights of a library model.

It follows the paper's equations with channels first: contiguous NCHW maps between the linear layers, ordinary
convolutions, plain `F.linear`.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from focalnet_d2.backbone.focalnet import FocalBlock, FocalModulation, FocalNet


def reference_linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """(..., C_in) -> (..., C_out)."""
    return F.linear(x, layer.weight, layer.bias)


def reference_levels(context: Tensor, gates: Tensor, kernels: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """(B, C, H, W), (B, L, H, W) -> gated sum of the levels (B, C, H, W) and the last level's context."""
    gathered = 0.0
    for level, kernel in enumerate(kernels):
        context = F.gelu(F.conv2d(context, kernel, padding=kernel.shape[-1] // 2, groups=len(kernel)))
        gathered = gathered + context * gates[:, level : level + 1]
    return gathered, context


def reference_modulation(layer: FocalModulation, x: Tensor) -> Tensor:
    """`layer(x)` channels first: (B, H, W, C) -> (B, H, W, C)."""
    levels = layer.focal_level
    mixed = layer.f(x).permute(0, 3, 1, 2).contiguous()
    query, context, gates = mixed.split([layer.dim, layer.dim, levels + 1], dim=1)
    gathered, context = reference_levels(context, gates, [conv.weight for conv, _ in layer.focal_layers])
    gathered = gathered + F.gelu(context.mean(2, keepdim=True).mean(3, keepdim=True)) * gates[:, levels:]
    if layer.normalize:
        gathered = gathered / (levels + 1)
    return layer.dropout(layer.proj(layer.ln((query * layer.h(gathered)).permute(0, 2, 3, 1).contiguous())))


def reference_norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
    """(..., C) -> (..., C)."""
    return F.layer_norm(x, layer.normalized_shape, layer.weight, layer.bias, layer.eps)


def reference_block(block: FocalBlock, x: Tensor) -> Tensor:
    """(B, H, W, C) -> (B, H, W, C), norms before the branches."""
    x = x + reference_modulation(block.modulation, reference_norm(block.norm1, x))
    hidden = F.gelu(reference_linear(block.mlp.fc1, reference_norm(block.norm2, x)))
    return x + reference_linear(block.mlp.fc2, hidden)


def reference_patches(embed: nn.Module, x: Tensor) -> Tensor:
    """(B, C_in, H, W) -> (B, H / stride, W / stride, C)."""
    x = F.conv2d(x, embed.proj.weight, embed.proj.bias, embed.proj.stride)
    batch, channels, height, width = x.shape
    tokens = reference_norm(embed.norm, x.flatten(2).transpose(1, 2))  # (B, N, C)
    return tokens.view(batch, height, width, channels)


def reference_focalnet(network: FocalNet, image: Tensor) -> dict[str, Tensor]:
    """What `network(image)` is, for a network without the flags of the large variants; sides are multiples of 32."""
    x, maps = reference_patches(network.patch_embed, image), {}
    for stage, layer in enumerate(network.layers):
        for block in layer.blocks:
            x = reference_block(block, x)
        norm = getattr(network, f"norm{stage}")
        maps[f"res{stage + 2}"] = reference_norm(norm, x).permute(0, 3, 1, 2).contiguous()
        if layer.downsample is not None:
            x = reference_patches(layer.downsample, x.permute(0, 3, 1, 2).contiguous())
    return maps
