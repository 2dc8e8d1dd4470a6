"""MkDocs hook: pages that lie outside docs/ (contributing, changes, profiles), and the API from the docstrings."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "README.md": "index.md",
    "hardware_profiles/README.md": "profiles.md",
}
"""Pages from the repository's other folders, and what they are called in the site."""
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]+)(#[^)\s]+)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that do not lie in docs/."""
    for source, name in OUTSIDE.items():
        if name != "index.md":
            files.append(File.generated(config, name, content=(ROOT / source).read_text(encoding="utf-8")))
    files.remove(files.get_file_from_path("api.md"))
    files.append(File.generated(config, "api.md", content=api_page()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links to pages outside docs/ lead to their place in the site; those to files of code become plain words."""
    origin = {name: source for source, name in OUTSIDE.items() if name != "index.md"}
    here = (ROOT / origin.get(page.file.src_path, f"docs/{page.file.src_path}")).parent
    depth = "../" * page.file.src_path.count("/")

    def led(found: re.Match[str]) -> str:
        target = (here / found[1]).resolve()
        name = target.relative_to(ROOT).as_posix()
        if name in OUTSIDE:
            return f"]({depth}{OUTSIDE[name]}{found[2] or ''})"
        if name.startswith("docs/"):
            return f"]({depth}{name.removeprefix('docs/')}{found[2] or ''})"
        return "]()"

    return re.sub(r"\[([^\]]*)\]\(\)", r"\1", LINK.sub(led, markdown))


def api_page() -> str:
    """Return every public name with its signature and docstring, read from the source and not imported."""
    front = ast.parse((ROOT / "easyzloc_mm" / "__init__.py").read_text(encoding="utf-8"))
    homes = next(
        ast.literal_eval(node.value)
        for node in front.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and "_HOMES" in ast.unparse(node).split("=")[0]
        and node.value is not None
    )
    page = ["# API", "", "`import easyzloc_mm as ez`; every name below is `ez.NAME`.", ""]
    for name, home in sorted(homes.items(), key=lambda item: item[0].lower()):
        path = ROOT.joinpath("easyzloc_mm", *home.split("."))
        tree = ast.parse((path.with_suffix(".py")).read_text(encoding="utf-8"))
        node = next(
            (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name),
            None,
        )
        if node is not None:
            page += [f"## {name}", "", *_entry(node)]
            page += [
                line
                for member in getattr(node, "body", [])
                if isinstance(node, ast.ClassDef)
                and isinstance(member, ast.FunctionDef)
                and not member.name.startswith("_")
                for line in [f"### {name}.{member.name}", "", *_entry(member)]
            ]
    return "\n".join(page) + "\n"


def _entry(node: ast.FunctionDef | ast.ClassDef) -> list[str]:
    lines = []
    if isinstance(node, ast.FunctionDef):
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        lines += ["```python", f"{node.name}({ast.unparse(node.args)}){returns}", "```", ""]
    text = inspect.cleandoc(ast.get_docstring(node) or "")
    # NumPy's sections as they stand: readers of code know them.
    first, _, rest = text.partition("\n\n")
    lines += [first.replace("<", "&lt;"), ""]
    if rest:
        lines += ["```text", rest, "```", ""]
    return lines
