"""The documents name what is there: links, rooms, commands, public names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import easyzloc_mm as ez
from easyzloc_mm import __version__
from easyzloc_mm.cli.app import app
from easyzloc_mm.model.accuracy import BRIGHT, FLAGGED_TOO, FOUND, QUOTE, SAMPLE, SINGLE
from tests.helpers.command_lines import commands_of, parse

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "hardware_profiles").glob("*.md")})


def anchors(path: Path) -> Iterator[str]:
    for heading in re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE):
        yield re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert not anchor or anchor in set(anchors(target)), link


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_of_code_that_are_named_exist(path: Path) -> None:
    for name in re.findall(r"`([\w/]+\.py)\b", path.read_text(encoding="utf-8")):
        below = [ROOT, ROOT / "easyzloc_mm", *(ROOT / "easyzloc_mm").rglob("analysis/drift")]
        assert any((folder / name).is_file() for folder in below), name


def test_every_room_is_on_the_floor_plan() -> None:
    rooms = {init.parent.name for init in (ROOT / "easyzloc_mm").glob("*/__init__.py")}
    plan = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("## Rooms")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)/`", plan, re.MULTILINE)) == rooms
    readme = (ROOT / "README.md").read_text(encoding="utf-8").split("## Where things live")[1]
    assert not rooms - set(re.findall(r"(\w+)/", readme))


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = set(re.findall(r"\]\((\d\d\d-[\w-]+\.md)\)", (folder / "README.md").read_text(encoding="utf-8")))
    assert listed == {path.name for path in folder.glob("[0-9]*.md")}


def test_every_command_that_is_named_exists() -> None:
    known = set(typer.main.get_group(app).commands)
    files = [*DOCUMENTS, *(ROOT / ".github").rglob("*.yml"), *(ROOT / ".github").rglob("*.md")]
    for path in files:
        for name in re.findall(r"easyzloc-mm ([a-z][a-z-]*)", path.read_text(encoding="utf-8")):
            assert name in known, f"{path.relative_to(ROOT)} names {name}"


COMMANDS = [(path, command) for path in DOCUMENTS for command in commands_of(path)]


@pytest.mark.parametrize(
    ("path", "command"), COMMANDS, ids=lambda value: value.name if isinstance(value, Path) else " ".join(value)
)
def test_every_command_in_a_document_is_one_that_the_program_takes(path: Path, command: list[str]) -> None:
    parse(command)


def test_wrong_commands_would_be_noticed() -> None:
    assert len(COMMANDS) > 30
    parse(["localize", "m.tif", "--model", "m", "--out", "r.zarr"])
    for wrong in (["localise", "m.tif"], ["localize", "m.tif", "--modle", "m"], ["train", "--out", "m"]):
        with pytest.raises((KeyError, typer.exceptions.TyperException)):
            parse(wrong)


def test_options_that_are_named_in_words_exist() -> None:
    known = {option for command in walk(typer.main.get_command(app)) for parameter in command.params
             for option in (*parameter.opts, *parameter.secondary_opts)}  # fmt: skip
    for path in DOCUMENTS:
        if path.name == "CHANGELOG.md":  # speaks of earlier versions too
            continue
        text = re.sub(r"^ *```.*?^ *```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        for span in re.findall(r"`([^`\n]*)`", text):
            if span.startswith(("easyzloc-mm ", "--")):
                assert not (set(re.findall(r"(?<![\w-])--[a-z][\w-]*", span)) - known - {"--help"}), f"{path}: {span}"


def walk(command: Any) -> Iterator[Any]:
    yield command
    for child in getattr(command, "commands", {}).values():
        yield from walk(child)


def test_the_accuracies_are_called_the_same_in_documents_and_reports() -> None:
    page = (ROOT / "docs" / "what_z_means.md").read_text(encoding="utf-8")
    for name, molecules in (SINGLE, FOUND, FLAGGED_TOO, BRIGHT, SAMPLE):
        assert f"| {name} | {molecules} |" in page
    assert QUOTE in " ".join(page.split())


def test_every_page_is_on_the_map_of_the_site() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    named = set(re.findall(r"([\w/-]+\.md)\b", text)) | {page for page in pages if page.startswith("decisions/")}
    assert pages <= named


def test_one_version() -> None:
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert __version__ in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_first_script_uses_public_names_in_twelve_lines() -> None:
    text = (ROOT / "docs" / "first_script.md").read_text(encoding="utf-8")
    first, *others = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len([line for line in first.splitlines() if line]) <= 12
    for script in (first, *others):
        compile(script, "first_script.md", "exec")
    assert set(re.findall(r"\bez\.(\w+)", text)) <= set(ez.__all__)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_first_script_runs(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "first_script.md").read_text(encoding="utf-8")
    (tmp_path / "first.py").write_text(text.split("```python\n")[1].split("```")[0], encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "first.py"], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert "nm apart" in done.stdout
    assert {"today", "cell1.zarr", "cell1.hdf5", "cell1.yaml", "cell1.png"} <= {
        path.name for path in tmp_path.iterdir()
    }
