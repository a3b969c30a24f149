"""A page as HTML: one self-contained file, which is complete without a script."""

from __future__ import annotations

from kazashi.tracking_lab.page.model import Page
from kazashi.tracking_lab.page.words import Words
from kazashi.web.templates import environment


def rendered(page: Page, words: Words) -> str:
    """The page in the language of the words."""
    return environment("kazashi.tracking_lab").get_template("report.html").render(page=page, words=words)
