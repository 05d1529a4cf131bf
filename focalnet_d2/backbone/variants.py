"""Sizes and flags of the published FocalNets (arXiv:2203.11926, tables 1 to 3, 17, and the released files).

`srf` and `lrf` have 2 and 3 focal levels; `fl3` and `fl4` are the large networks with 3 and 4. `deeper` are the deeper
and thinner networks of table 3, `iso` the isotropic ones with a single stage. Dense tasks enlarge `focal_windows`.
"""

SIZE_LETTERS = {"tiny": "T", "small": "S", "base": "B", "large": "L", "xlarge": "XL", "huge": "H"}  # of the paper


def _four_stages(embed_dim: int, depths: tuple[int, ...], level: int, window: int = 3, **flags) -> dict:
    return dict(embed_dim=embed_dim, depths=depths, focal_levels=(level,) * 4, focal_windows=(window,) * 4, **flags)


def _isotropic(embed_dim: int, **flags) -> dict:
    return dict(
        embed_dim=embed_dim, depths=(12,), focal_levels=(3,), focal_windows=(3,), patch_size=16,
        out_features=("res2",), **flags,
    )  # fmt: skip


_SHALLOW, _DEEP = (2, 2, 6, 2), (2, 2, 18, 2)
_LARGE = dict(use_conv_embed=True, use_postln=True, use_layerscale=True)
_HUGE = dict(**_LARGE, use_postln_in_modulation=True)

# The released yaml of xlarge_fl4 does not normalise the modulator, FocalNet-DINO's builder does: no source settles it.
FOCALNET_VARIANTS: dict[str, dict] = {
    "tiny_srf": _four_stages(96, _SHALLOW, 2),
    "tiny_lrf": _four_stages(96, _SHALLOW, 3),
    "small_srf": _four_stages(96, _DEEP, 2),
    "small_lrf": _four_stages(96, _DEEP, 3),
    "base_srf": _four_stages(128, _DEEP, 2),
    "base_lrf": _four_stages(128, _DEEP, 3),
    "large_fl3": _four_stages(192, _DEEP, 3, window=5, **_LARGE),
    "large_fl4": _four_stages(192, _DEEP, 4, **_LARGE, normalize_modulator=True),
    "xlarge_fl3": _four_stages(256, _DEEP, 3, window=5, **_LARGE),
    "xlarge_fl4": _four_stages(256, _DEEP, 4, **_LARGE),
    "huge_fl3": _four_stages(352, _DEEP, 3, **_HUGE),
    "huge_fl4": _four_stages(352, _DEEP, 4, **_HUGE),
    "tiny_deeper_srf": _four_stages(64, (3, 3, 16, 3), 2),
    "tiny_deeper_lrf": _four_stages(64, (3, 3, 16, 3), 3),
    "small_deeper_srf": _four_stages(64, (4, 4, 28, 4), 2),
    "small_deeper_lrf": _four_stages(64, (4, 4, 28, 4), 3),
    "base_deeper_srf": _four_stages(96, (4, 4, 28, 4), 2),
    "base_deeper_lrf": _four_stages(96, (4, 4, 28, 4), 3),
    "tiny_iso": _isotropic(192),
    "small_iso": _isotropic(384),
    "base_iso": _isotropic(768, use_postln=True, use_layerscale=True),
}
