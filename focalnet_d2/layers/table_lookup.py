"""Weighted sums of table rows, with a backward pass that does not sort.

`embedding_bag` alone computes the same, but its gradient for the table first sorts all row numbers. The lookup is the
product of a sparse matrix and the table, so that gradient is the product of the transposed matrix, which scipy has.

Shapes: T rows of the table, D columns, S sums, K rows added up in each.
"""

import torch
import torch.nn.functional as F
from scipy.sparse import csc_matrix
from torch import Tensor


class _WeightedRowSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(table, rows, weights)
        return F.embedding_bag(rows, table, per_sample_weights=weights, mode="sum")

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor):
        table, rows, weights = ctx.saved_tensors
        table_grad = weights_grad = None
        if ctx.needs_input_grad[0]:
            table_grad = _transposed_product(rows, weights, grad, len(table))
        if ctx.needs_input_grad[2]:
            with torch.enable_grad():
                leaf = weights.detach().requires_grad_()
                sums = F.embedding_bag(rows, table.detach(), per_sample_weights=leaf, mode="sum")
            (weights_grad,) = torch.autograd.grad(sums, leaf, grad.contiguous())
        return table_grad, None, weights_grad


def _transposed_product(rows: Tensor, weights: Tensor, grad: Tensor, table_length: int) -> Tensor:
    """Adds weight * (S, D) grad to the rows that it came from -> (T, D)."""
    if grad.device.type != "cpu":
        spread = (weights[..., None] * grad[:, None]).flatten(0, 1)  # (S * K, D)
        return grad.new_zeros(table_length, grad.shape[1]).index_add_(0, rows.flatten(), spread)
    starts = torch.arange(0, rows.numel() + 1, rows.shape[1], dtype=rows.dtype)
    columns = (weights.detach().flatten().numpy(), rows.flatten().numpy(), starts.numpy())
    return torch.from_numpy(csc_matrix(columns, shape=(table_length, len(rows))) @ grad.detach().numpy())


def weighted_row_sums(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """Sum of `weights[s, k] * table[rows[s, k]]` over k, differentiable (once) in table and weights.

    Args:
        table: (T, D) float32 or float64.
        rows: (S, K) integers in 0..T-1.
        weights: (S, K) of the table's type.

    Returns:
        (S, D).
    """
    if rows.numel() < 2**31 and len(table) < 2**31:
        rows = rows.to(torch.int32)  # half the memory to read
    if torch.compiler.is_compiling():  # scipy cannot be traced
        return F.embedding_bag(rows, table, per_sample_weights=weights, mode="sum")
    return _WeightedRowSums.apply(table, rows, weights)
