"""Pages as lists of their elements."""

import base64
import io
from html.parser import HTMLParser

from torchsep.report import ReportOptions, make_report


class Elements(HTMLParser):
    """All elements of a page with their attributes, and its text by the element that it is in."""

    VOID = frozenset({"meta", "input", "img", "br", "line", "rect", "circle", "path", "stop"})

    def __init__(self, text):
        super().__init__()
        self.found, self.open, self.texts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def page_of(folder, **options):
    report = make_report([folder], folder / "page.html", ReportOptions(**options))
    return report, Elements((folder / "page.html").read_text(encoding="utf-8"))


def decoded(uri):
    return io.BytesIO(base64.b64decode(uri.partition(",")[2]))
