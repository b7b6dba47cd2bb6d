# SPDX-License-Identifier: Apache-2.0
"""Tables of results: pandas' where it is installed, else plain ones that print and show alike."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of values under names.

    >>> table = Table(("layer", "cycles"), (("fc1", 1200), ("fc2", None)))
    >>> print(table)
    layer  cycles
    fc1     1,200
    fc2         -
    >>> len(table), table["cycles"], list(table)[0]
    (2, [1200, None], {'layer': 'fc1', 'cycles': 1200})
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, object]]:
        return (dict(zip(self.columns, row, strict=True)) for row in self.rows)

    def __getitem__(self, column: str) -> list[object]:
        """The values of a column."""
        return [row[self.columns.index(column)] for row in self.rows]

    def __str__(self) -> str:
        cells = [self.columns, *([cell(value) for value in row] for row in self.rows)]
        widths = [max(len(line[i]) for line in cells) for i in range(len(self.columns))]
        right = [self._right(i) for i in range(len(self.columns))]
        lines = [
            "  ".join(
                text.rjust(width) if to_right else text.ljust(width)
                for text, width, to_right in zip(line, widths, right, strict=True)
            ).rstrip()
            for line in cells
        ]
        return "\n".join(lines)

    def _right(self, column: int) -> bool:
        values = [row[column] for row in self.rows]
        return any(isinstance(v, (int, float)) for v in values)

    def _repr_html_(self) -> str:
        return html_table(self.columns, self.rows)


def cell(value: object) -> str:
    """A value as text.

    >>> cell(None), cell(True), cell(12345), cell(0.98765), cell("Q7.0")
    ('-', 'yes', '12,345', '0.9877', 'Q7.0')
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def html_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table for a notebook; whatever names hold, it is text.

    >>> html_table(["a"], [["<b>"]])
    '<table><thead><tr><th>a</th></tr></thead><tbody><tr><td>&lt;b&gt;</td></tr></tbody></table>'
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell(value))}</td>' for value in row)}</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def frame(table: Table) -> "Table | DataFrame":
    """The same as pandas' DataFrame, where pandas is installed."""
    try:
        from pandas import DataFrame
    except ImportError:
        return table
    return DataFrame(list(table.rows), columns=list(table.columns))
