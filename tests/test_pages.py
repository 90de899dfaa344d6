"""Links between pages, and the navigation of the site: without mkdocs, which `make docs` uses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers.layout import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
WRITTEN = [
    *PAGES,
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
FENCE = re.compile(r"^```.*?^```$", re.S | re.M)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def prose(path: Path) -> str:
    """A page without its code."""
    return FENCE.sub("", path.read_text("utf-8"))


def anchors(path: Path) -> set[str]:
    """Those of the headings, as on GitHub and on the site."""
    headings = re.findall(r"^#+ (.+)$", prose(path), re.M)
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in kept}


@pytest.mark.parametrize("path", WRITTEN, ids=name)
def test_links_lead_somewhere(path: Path) -> None:
    for link in LINK.findall(prose(path)):
        if link.startswith(("https://", "http://")):
            continue
        target, _, anchor = link.partition("#")
        found = (path.parent / target).resolve() if target else path
        assert found.is_relative_to(ROOT), link
        assert found.exists(), link
        assert not anchor or anchor in anchors(found), link


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_headings_have_anchors_of_their_own(path: Path) -> None:
    headings = re.findall(r"^#+ (.+)$", prose(path), re.M)
    assert len(anchors(path)) == len(headings)
    assert len(re.findall(r"^# ", prose(path), re.M)) == 1


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_lists_and_tables_begin_after_an_empty_line(path: Path) -> None:
    """GitHub shows them without it, the site does not; and indents nested lists by four."""
    before = ""
    for line in prose(path).splitlines():
        for begins, goes_on in ((r"(- |\d+\. )", r"(- |\d+\. |  )"), (r"\|", r"\|")):
            if re.match(begins, line) and before:
                assert re.match(goes_on, before), f"{before}\n{line}"
        assert not re.match(r" {1,3}- ", line), line
        before = line


def test_every_page_is_in_the_navigation_once() -> None:
    _, _, nav = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:\n")
    listed = re.findall(r": (\S+\.md)$", nav, re.M)
    elsewhere = [page for page in listed if page.startswith("repository/")]
    assert sorted(set(listed) - set(elsewhere)) == sorted(
        page.relative_to(DOCS).as_posix() for page in PAGES
    )
    assert len(set(listed)) == len(listed)
    for page in elsewhere:
        assert (ROOT / page.removeprefix("repository/")).is_file(), page


def test_every_picture_is_shown() -> None:
    shown = {
        (path.parent / link).resolve() for path in WRITTEN for link in LINK.findall(prose(path))
    }
    assert {path for kind in ("png", "svg") for path in DOCS.rglob(f"*.{kind}")} <= shown
