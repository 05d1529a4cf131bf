"""The parts of a page that stands alone: its frame, tiles, figures and tables. Text is escaped, cells are markup."""

from collections.abc import Iterable, Sequence
from html import escape

from .page_style import STYLE

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_NUMBER = "<td class='number"  # how a cell of a number begins


def html_page(title: str, body: str, *, script: str, style: str = "") -> str:
    """A page that asks for nothing else: all but its own styles, pictures and script is forbidden.

    Args:
        title: plain text; body: markup.
        script: what it runs; style: what it needs besides the style of all pages.
    """
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style></head><body>"
        f"{body}<script>{script}</script></body></html>\n"
    )


def tiles(numbers: Iterable[tuple[str, str, str]]) -> str:
    """Numbers that stand out: what is written large, what it is, and a class of the style."""
    cells = "".join(
        f"<div class='tile {kind}'><b>{escape(large)}</b>{escape(what)}</div>" for large, what, kind in numbers
    )
    return f"<div class=tiles>{cells}</div>"


def figure(title: str, content: str, note: str = "") -> str:
    """Markup with a plain title above and a plain note below."""
    below = f"<p class=note>{escape(note)}</p>" if note else ""
    return f"<figure><figcaption>{escape(title)}</figcaption>{content}{below}</figure>"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, kind: str = "", is_sorted: bool = False) -> str:
    """A table that scrolls by itself.

    Args:
        heads: plain text above the columns.
        rows: whole cells: `text_cell`, `number_cell` and others.
        kind: classes of the style.
        is_sorted: a click on a head sorts it.
    """
    rows = list(rows)
    numbers = [cell.startswith(_NUMBER) for cell in (rows[0] if rows else ())] + [False] * len(heads)
    shown = [f"<button>{escape(head)}</button>" if is_sorted else escape(head) for head in heads]
    cells = (f"<th class={'number' if is_number else 'text'}>{head}</th>" for head, is_number in zip(shown, numbers))
    above = f"<thead><tr>{''.join(cells)}</tr></thead>" if heads else ""
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    sorting = "sorted" if is_sorted else "still"
    return f"<div class='scroll {kind}'><table class={sorting}>{above}<tbody>{body}</tbody></table></div>"


def text_cell(text: str) -> str:
    """A cell of plain text."""
    return f"<td>{escape(text)}</td>"


def number_cell(value: float | None, digits: int = 2, kind: str = "", more: str = "") -> str:
    """A cell of a number with perhaps some markup behind it, which sorts as the number; a dash where there is none."""
    if value is None or value != value:
        return f"{_NUMBER} {kind}' data-value=-1>–</td>"
    text = f"{value:,}" if isinstance(value, int) else f"{value:,.{digits}f}"
    return f"{_NUMBER} {kind}' data-value={value}>{text}{more}</td>"


def meter_cell(share: float) -> str:
    """A cell with a bar as long as a share from 0 to 1."""
    return f"<td><span class=meter style='width:{100 * share:.1f}%'></span></td>"
