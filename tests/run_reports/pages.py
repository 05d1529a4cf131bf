"""A page as its parser sees it."""

from html.parser import HTMLParser

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Sections with their text, tables as rows of texts, pictures and links; refuses tags that do not match.

    Attributes:
        sections: text by id of the heading; tables: of each section, by id, lists of rows of texts.
        sources: of pictures; links: of anchors; tags: of all elements.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sections: dict[str, str] = {"": ""}
        self.tables: dict[str, list[list[list[str]]]] = {"": []}
        self.sources: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self._open: list[str] = []
        self._section = ""
        self._in_cell = False
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.tags.append(tag)
        if tag not in VOID:
            self._open.append(tag)
        if tag == "h2":
            self._section = named["id"]
            self.sections[self._section], self.tables[self._section] = "", []
        if tag == "img":
            self.sources.append(named["src"])
        if tag == "a":
            self.links.append(named["href"])
        if tag == "table":
            self.tables[self._section].append([])
        if tag == "tr":
            self.tables[self._section][-1].append([])
        if tag in ("td", "th"):
            self.tables[self._section][-1][-1].append("")
            self._in_cell = True

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data):
        if self._open and self._open[-1] in ("style", "script"):
            return
        self.sections[self._section] += data
        if self._in_cell:
            self.tables[self._section][-1][-1][-1] += data

    def row(self, section: str, name: str) -> list[str]:
        """The row of a section that begins with a text."""
        return next(row for table in self.tables[section] for row in table if row and row[0] == name)
