"""Rows of tokens that stand for padding, as zeros."""

from torch import Tensor

from .dispatch import Computation, Implementation, makes_graph


def _as_they_are(tokens: Tensor, padding_mask: Tensor) -> Tensor:
    """(B, N, C), (B, N) bool of no padding -> (B, N, C)."""
    return tokens


def _filled(tokens: Tensor, padding_mask: Tensor) -> Tensor:
    """(B, N, C), (B, N) bool -> (B, N, C)."""
    return tokens.masked_fill(padding_mask[..., None], 0.0)


def _has_none(padding_mask: Tensor) -> bool:
    """Whether nothing is padding, where looking costs no wait and no graph is made of it."""
    return type(padding_mask) is Tensor and not makes_graph() and not bool(padding_mask.any())


ZERO_PADDING = Computation(
    "zeros for padding",
    (
        Implementation("none", _as_they_are, "no copy without padding", devices=("cpu",), suits=_has_none),
        Implementation("filled", _filled, "a copy with zeros"),
    ),
)


def zero_padding(tokens: Tensor, padding_mask: Tensor) -> Tensor:
    """Tokens with zeros in place of padding; the tokens themselves where there is none.

    Args:
        tokens: (B, N, C).
        padding_mask: (B, N) bool, True = padding.

    Returns:
        (B, N, C).
    """
    return ZERO_PADDING.choose(tokens.device.type, tokens.dtype, padding_mask).compute(tokens, padding_mask)
