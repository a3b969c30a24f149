"""HTML is in templates only, and all values in templates are escaped."""

from __future__ import annotations

import ast
import configparser
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import jinja2
import pytest

from kazashi.tools.cli.checkout import checkout, folders, modules
from kazashi.world.key_source import SharedKeySource
from tests.web.gallery import pages_of

pytestmark = pytest.mark.unit

ROOT = checkout()
PRODUCT = {name: path for name, path in modules(ROOT) if name.partition(".")[0] == "kazashi"}
TEMPLATES = {path for folder in folders(ROOT).values() for path in folder.rglob("templates/**/*.html")}

HOSTILE = "<script>alert(1)</script>\"'&"
ELEMENTS = (
    "a|abbr|address|article|aside|b|blockquote|body|br|button|caption|circle|code|dd|details|div|dl|dt|em|figure|"
    "footer|form|g|h[1-6]|head|header|hr|html|i|iframe|img|input|label|legend|li|line|link|main|meta|nav|ol|option|p|"
    "path|polygon|polyline|pre|rect|script|section|select|small|span|strong|style|sub|summary|sup|svg|table|tbody|td|"
    "text|textarea|tfoot|th|thead|title|tr|ul|use|video"
)
TAG = re.compile(rf"<!doctype html|</?(?:{ELEMENTS})(?:\s*/?>|\s+[\w:-]+=|$)", re.IGNORECASE)
NO_PAGES = {
    "kazashi.tools.cli.commands.development": "a Mermaid diagram breaks its lines with <br>",
    "kazashi.relying_party.conformance.cases_ocsp": "a broken server's response",
    "kazashi.relying_party.conformance.cases_list": "a broken server's response",
}


def texts(path: Path) -> Iterator[str]:
    """The strings of a module, and the constant parts of its f-strings."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            yield node.value if isinstance(node.value, str) else node.value.decode("latin-1")


def test_no_module_contains_html() -> None:
    tags = {name: tag[0] for name, path in PRODUCT.items() for text in texts(path) if (tag := TAG.search(text))}
    assert tags.keys() == NO_PAGES.keys(), tags


@pytest.mark.parametrize("text", ["<p>", "</td>", "<td class=", '<input type="hidden"', "<br/>", "<!doctype html>"])
def test_html_is_detected(text: str) -> None:
    assert TAG.search(f"words {text} words") or TAG.search(f"words {text}")


@pytest.mark.parametrize("text", ["<a linkage code>", "a < b > c", "<application><name>", "<resident>", "<pin>"])
def test_other_angle_brackets_are_not_detected_as_html(text: str) -> None:
    assert not TAG.search(text)


def test_no_template_or_module_turns_escaping_off() -> None:
    assert TEMPLATES
    for path in TEMPLATES:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\|\s*safe\b|\bautoescape\b", text), path
    for name, path in PRODUCT.items():
        tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        names = {node.id for node in tree if isinstance(node, ast.Name)}
        assert "Markup" not in names, name


def test_a_wheel_contains_every_template() -> None:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    roots, carried = folders(ROOT), set[Path]()
    for package, patterns in settings["options.package_data"].items():
        if package == "kazashi":
            continue
        top, _, inner = package.removeprefix("kazashi.").partition(".")
        folder = roots[f"kazashi.{top}"].joinpath(*filter(None, inner.split(".")))
        carried |= {path for pattern in patterns.split(",") for path in folder.glob(pattern.strip())}
    assert carried >= TEMPLATES


@pytest.fixture(scope="module")
def gallery(
    tmp_path_factory: pytest.TempPathFactory, keys: SharedKeySource
) -> tuple[dict[str, str], set[str]]:  # fmt: skip
    """All pages with HOSTILE in every place where text comes from outside, and the templates that were used."""
    used: set[str] = set()
    load = jinja2.Environment.get_template

    def noted(self: jinja2.Environment, name: Any, *more: Any, **settings: Any) -> jinja2.Template:
        template = load(self, name, *more, **settings)
        used.add(str(template.filename))
        return template

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jinja2.Environment, "get_template", noted)
        pages = pages_of(HOSTILE, tmp_path_factory.mktemp("gallery"), keys)
    return pages, used


def test_every_template_is_in_the_gallery(gallery: tuple[dict[str, str], set[str]]) -> None:
    _, used = gallery
    assert {Path(name).resolve() for name in used} == {path.resolve() for path in TEMPLATES}


def test_text_from_outside_is_escaped_on_every_page(gallery: tuple[dict[str, str], set[str]]) -> None:
    pages, _ = gallery
    for name, page in pages.items():
        assert "alert(1)</script>" not in page, name
        assert "<script>" not in page, name
        assert "\"'&" not in page, name
        assert page.startswith("<!doctype html>"), name


@pytest.mark.parametrize(("page", "times"), [
    ("site: home", 2), ("refunds: points", 4), ("refunds: application refused", 5), ("portal: records", 20),
    ("portal: not asked", 20), ("portal: records refused", 2), ("provider: consent", 1), ("agent: signature", 1),
    ("agent: no card", 1), ("agent: back", 1), ("agent: refused", 1), ("check: report", 25), ("check: comparison", 30),
    ("demo: report", 4), ("tracking: population", 10), ("tracking: logs", 3), ("network: insights", 4),
    ("desk: valid", 4), ("desk: not registered", 2), ("desk: no card", 2),
])  # fmt: skip
def test_text_from_outside_is_not_left_out(gallery: tuple[dict[str, str], set[str]], page: str, times: int) -> None:
    """A page that left the text out would be safe, but wrong."""
    pages, _ = gallery
    assert pages[page].count(escape("<script>alert(1)</script>")) >= times
