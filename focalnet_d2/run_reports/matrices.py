"""Confusion matrices as tables with colored cells; of very many classes those that are confused most."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

MOST_CLASSES = 20  # in a table
MOST_PAIRS = 15  # in a list of confusions
_STRONG = 0.55  # share of a row from which on the text is white
_RIGHT, _WRONG = "22 163 74", "220 38 38"  # colors of the diagonal and of all else


def confusion_table(
    counts: np.ndarray,
    names: Sequence[str],
    *,
    rest_columns: Mapping[str, np.ndarray],
    rest_rows: Mapping[str, np.ndarray],
    in_percent: bool = False,
) -> str:
    """A table of true classes (rows) and predicted classes (columns), colored by their share of the row.

    Args:
        counts: (K, K) by true and predicted class.
        names: of the K classes.
        rest_columns: (K,) what else became of the true ones; rest_rows: (K,) what else the predicted ones are.
        in_percent: write shares of the row, not numbers.
    """
    wrong = counts.sum(0) + counts.sum(1) - 2 * counts.diagonal()
    wrong = wrong + sum(rest_columns.values()) + sum(rest_rows.values())
    shown: list[int] = np.sort(np.argsort(-wrong, kind="stable")[:MOST_CLASSES]).tolist()
    totals = counts.sum(1) + sum(rest_columns.values())
    heads = "".join(f"<th>{escape(names[k])}</th>" for k in shown)
    heads += "".join(f"<th class={_apart(place)}>{escape(name)}</th>" for place, name in enumerate(rest_columns))
    rows = []
    for i in shown:
        cells = [_cell(counts[i, j], totals[i], _RIGHT if i == j else _WRONG, in_percent=in_percent) for j in shown]
        cells += [_cell(column[i], totals[i], _WRONG, _apart(n)) for n, column in enumerate(rest_columns.values())]
        rows.append(f"<tr><th>{escape(names[i])}</th>{''.join(cells)}</tr>")
    predicted = counts.sum(0) + sum(rest_rows.values())
    for place, (name, row) in enumerate(rest_rows.items()):
        cells = "".join(_cell(row[j], predicted[j], _WRONG) for j in shown)
        empty = "".join(f"<td class={_apart(n)}></td>" for n in range(len(rest_columns)))
        rows.append(f"<tr class={_apart(place)}><th>{escape(name)}</th>{cells}{empty}</tr>")
    table = f"<table><thead><tr><th>true \\ predicted</th>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    left_out = len(names) - len(shown)
    more = f"<p class=note>{left_out} classes with fewer errors are left out.</p>" if left_out else ""
    return f"<div class='scroll matrix'>{table}</div>{more}"


def top_confusions(counts: np.ndarray, names: Sequence[str]) -> list[tuple[str, str, int]]:
    """The most frequent pairs of a true and another predicted class, of (K, K), with their number."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]
    pairs = zip(*(axis.tolist() for axis in np.unravel_index(order, wrong.shape)))
    return [(str(names[i]), str(names[j]), int(wrong[i, j])) for i, j in pairs if wrong[i, j]]


def _apart(place: int) -> str:
    return "apart" if place == 0 else "rest"


def _cell(count: int, total: int, color: str, kind: str = "", *, in_percent: bool = False) -> str:
    share = count / total if total else 0.0
    if not count:
        return f"<td class='{kind}'></td>"
    strong = "strong" if share > _STRONG else ""
    style = f"background:rgb({color} / {0.08 + 0.92 * share:.2f})"
    text, title = (f"{share:.1%}", f"{count:,}") if in_percent else (f"{count:,}", f"{share:.0%}")
    return f"<td class='{kind} {strong}' style='{style}' title='{title}'>{text}</td>"
