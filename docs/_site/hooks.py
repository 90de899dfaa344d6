"""What the site has beyond the pages of docs/, which are written for GitHub: see mkdocs.yml.

- A link to a file of the repository outside docs/ leads to a page with that file.
- The API has one page for each part of the overview in `spikeport/__init__.py`.
- `spikeport.NAME` in the text links to the API.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
ELSEWHERE = "repository"
"""Folder of the site for files of the repository outside docs/."""
LANGUAGES = {".py": "python", ".pyi": "python", ".toml": "toml", ".json": "json", ".ipynb": "json"}
FENCE = re.compile(r"(^[ ]*```.*?^[ ]*```[ ]*$)", re.M | re.S)
LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
NAME = re.compile(r"(?<![\[`])`spikeport\.(\w+)`(?![\]`])")
ALWAYS = ("CONTRIBUTING.md", "CHANGELOG.md")


def on_config(config: Any) -> Any:
    """Headings get the anchors that they have on GitHub; the API enters the navigation."""
    config.mdx_configs["toc"]["slugify"] = anchor
    (api,) = (part for part in config.nav if "API" in part)
    api["API"] = [{title: _api_page(title)} for title, _ in overview()]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the API, and of all files that pages link to."""
    for title, names in overview():
        objects = "\n\n".join(f"::: spikeport.{name}" for name in names)
        text = f"# {title}\n\n{objects}\n"
        files.append(File.generated(config, _api_page(title), content=text))
    waiting = [(file.src_uri, file.content_string) for file in files.documentation_pages()]
    waiting += [(place, "") for place in map(_place, ALWAYS)]
    for path in ALWAYS:
        waiting += _added(path, files, config)
    while waiting:
        page, text = waiting.pop()
        for path in _linked(page, text):
            if files.get_file_from_path(_place(path)) is None and (ROOT / path).exists():
                waiting += _added(path, files, config)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links as they are in the repository become those of the site."""
    here = page.file.src_uri

    def moved(found: re.Match[str]) -> str:
        target = _target(here, found[2])
        if target is None:
            return found[0]
        place = posixpath.relpath(_place(target), posixpath.dirname(here) or ".")
        return f"{found[1]}{place}{found[3]}"

    known = {name for _, names in overview() for name in names}

    def linked(found: re.Match[str]) -> str:
        name = found[1]
        return f"[`spikeport.{name}`][spikeport.{name}]" if name in known else found[0]

    if here.startswith(f"{ELSEWHERE}/") and not here.endswith(("README.md", *ALWAYS)):
        return markdown
    return _outside_code(markdown, lambda text: NAME.sub(linked, LINK.sub(moved, text)))


def anchor(text: str, separator: str = "-") -> str:
    """The anchor of a heading on GitHub."""
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", separator)


def overview() -> Iterator[tuple[str, list[str]]]:
    """Parts of the overview in the docstring of the package, each with its public names."""
    text = ast.get_docstring(ast.parse((ROOT / "spikeport/__init__.py").read_text())) or ""
    for heading, names in re.findall(r"^(\S.*):\n((?:    .*\n?)+)", text, re.M):
        yield heading, re.findall(r"\w+", names)


def _api_page(title: str) -> str:
    return f"api/{anchor(re.sub(r'[,:(].*', '', title))}.md"


def _outside_code(markdown: str, change: Callable[[str], str]) -> str:
    parts = FENCE.split(markdown)
    return "".join(part if index % 2 else change(part) for index, part in enumerate(parts))


def _linked(page: str, text: str) -> list[str]:
    """Files of the repository that a page of the site links to."""
    found: list[str] = []
    _outside_code(text, lambda part: found.extend(t for _, t, _ in LINK.findall(part)) or "")
    targets = (_target(page, link) for link in found)
    return [target for target in targets if target is not None]


def _target(page: str, link: str) -> str | None:
    """The path in the repository that a link on a page of the site means; None for an address."""
    if re.match(r"[a-z]+:", link):
        return None
    outside = page.startswith(f"{ELSEWHERE}/")
    folder = posixpath.dirname(page.removeprefix(f"{ELSEWHERE}/") if outside else f"docs/{page}")
    return posixpath.normpath(posixpath.join(folder, link))


def _place(path: str) -> str:
    """Where a file of the repository is on the site."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"{ELSEWHERE}/{path}" if path.endswith(".md") else f"{ELSEWHERE}/{path}.md"


def _added(path: str, files: Files, config: Any) -> list[tuple[str, str]]:
    """Add the page of a file or folder of the repository; gives what to look through for links."""
    source = ROOT / path
    place = _place(path)
    if source.is_dir():
        names = sorted(entry.name for entry in source.iterdir() if entry.name[0] not in "_.")
        text = f"# {path}\n\n" + "".join(f"- {name}\n" for name in names)
    elif source.suffix == ".md":
        text = source.read_text("utf-8")
    else:
        language = LANGUAGES.get(source.suffix, "text")
        text = f"# {path}\n\n~~~~{language}\n{source.read_text('utf-8')}\n~~~~\n"
    hidden = "---\nsearch: {exclude: true}\n---\n" if source.suffix != ".md" else ""
    files.append(File.generated(config, place, content=hidden + text))
    return [(place, text)] if source.suffix == ".md" else []
