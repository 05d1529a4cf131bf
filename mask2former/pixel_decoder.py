"""Mask2Former's pixel decoder: deformable attention over the coarse maps, and one step up to stride 4.

Source: arXiv:2112.01527, section 3.2.1; padding takes part like any other pixel. Under automatic mixed precision in
float16 it computes in float32 as published, in bfloat16, whose range is that of float32, in bfloat16. All maps have
their channels last in memory, as the backbone has them.

Shapes: B images, C channels, E channels of the mask features, N tokens of all levels.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import cast

import fvcore.nn.weight_init as weight_init
import torch
import torch.nn.functional as F
from detectron2.layers import Conv2d, ShapeSpec
from torch import Tensor, nn

from focalnet_d2.kernels.linear import pointwise
from focalnet_d2.layers.deformable_encoder import DeformableEncoder, flatten_levels, split_levels
from focalnet_d2.layers.position_encoding import SinePositionEncoding
from focalnet_d2.layers.projection import by_stride, fill_projection


class PixelDecoder(nn.Module):
    """From backbone features to a pyramid for the queries and features that masks are read from.

    All maps but the finest go through the encoder, coarse to fine; the finest is added to the last of them.

    Args:
        input_shape: channels and stride of the backbone's maps.
        position_embedding: encoding of cells, C features.
        encoder: deformable layers of width C with one level for each map but the finest.
        dim: channels C, a multiple of 32.
        mask_dim: channels E.

    Raises:
        ValueError: the number of maps does not fit the encoder.
    """

    def __init__(
        self,
        input_shape: dict[str, ShapeSpec],
        *,
        position_embedding: SinePositionEncoding,
        encoder: DeformableEncoder,
        dim: int = 256,
        mask_dim: int = 256,
    ):
        super().__init__()
        (self.finest, finest_shape), *finer_first = by_stride(input_shape)
        coarse = finer_first[::-1]
        self.in_features = [name for name, _ in coarse]
        if len(coarse) != encoder.num_levels:
            raise ValueError(
                f"The backbone returns {sorted(input_shape)}, of which all but the finest go to the encoder, but "
                f"pixel_decoder.encoder.num_levels is {encoder.num_levels}: set one to fit the other."
            )
        self.dim = dim
        self.position_embedding = position_embedding
        self.encoder = encoder
        self.level_embed = nn.Parameter(torch.randn(len(coarse), dim))
        projections = [nn.Conv2d(shape.channels, dim, kernel_size=1) for _, shape in coarse]
        self.input_proj = nn.ModuleList(nn.Sequential(conv, nn.GroupNorm(32, dim)) for conv in projections)
        for conv in projections:
            fill_projection(conv)
        self.lateral = Conv2d(finest_shape.channels, dim, kernel_size=1, bias=False, norm=nn.GroupNorm(32, dim))
        self.smooth = Conv2d(
            dim, dim, kernel_size=3, padding=1, bias=False, norm=nn.GroupNorm(32, dim), activation=F.relu
        )
        self.mask_features = Conv2d(dim, mask_dim, kernel_size=1)
        for conv in (self.lateral, self.smooth, self.mask_features):
            weight_init.c2_xavier_fill(conv)

    def forward(self, features: dict[str, Tensor]) -> tuple[Tensor, list[Tensor]]:
        """{res2: (B, ., H/4, W/4), ...} -> mask features (B, E, H/4, W/4), and maps (B, C, ., .), coarse to fine."""
        with self._precision() as dtype:
            features = {name: feature.to(dtype) for name, feature in features.items()}
            maps = self.encode([features[name] for name in self.in_features])
            lateral = self.lateral.norm(pointwise(self.lateral, features[self.finest]))
            upsampled = F.interpolate(maps[-1], size=lateral.shape[-2:], mode="bilinear", align_corners=False)
            return pointwise(self.mask_features, self.smooth(lateral + upsampled)), maps

    @contextmanager
    def _precision(self) -> Iterator[torch.dtype]:
        """Automatic mixed precision is on inside only if it is bfloat16's; gives the type of the maps."""
        device_type = self.level_embed.device.type
        wide = torch.promote_types(self.level_embed.dtype, torch.float32)
        if not torch.is_autocast_enabled(device_type):  # an exported graph shall hold no region of it
            yield wide
        elif torch.get_autocast_dtype(device_type) is torch.bfloat16:
            yield torch.bfloat16
        else:
            with torch.autocast(device_type, enabled=False):
                yield wide

    def encode(self, sources: list[Tensor]) -> list[Tensor]:
        """Lets the cells of all levels exchange what they hold: L maps (B, ., H_l, W_l) -> L maps (B, C, H_l, W_l)."""
        projections = cast(Iterable[tuple[nn.Conv2d, nn.GroupNorm]], self.input_proj)
        projected = [norm(pointwise(conv, source)) for (conv, norm), source in zip(projections, sources, strict=True)]
        spatial_shapes = [tuple(level.shape[-2:]) for level in projected]
        positions = [
            (self.position_embedding.of_size(shape, embed) + embed.view(-1, 1, 1)).to(projected[0].dtype)
            for shape, embed in zip(spatial_shapes, self.level_embed, strict=True)
        ]
        valid_ratios = projected[0].new_ones(projected[0].shape[0], len(projected), 2)
        memory = self.encoder(flatten_levels(projected), flatten_levels(positions), spatial_shapes, valid_ratios)
        return [map_.permute(0, 3, 1, 2) for map_ in split_levels(memory, spatial_shapes)]  # channels last in memory
