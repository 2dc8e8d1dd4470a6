"""Messages of the library name parameters; the command line shows its own flags."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from easyzloc_mm.cli.app import app, main
from easyzloc_mm.cli.flags import in_flags
from tests.helpers.paths import ROOT

FLAG = re.compile(r"(?:Error|warn|Finding)\([^)]*?[\s(`\"]--[a-z][a-z-]+")


@pytest.mark.parametrize(
    ("arguments", "text", "shown"),
    [
        (["localize"], "give `pixel_size_nm`", "give --pixel-size-nm"),
        (["localize"], "or `if_exists='overwrite'`", "or --overwrite"),
        (["localize"], "the `out` of `train`", "the --out of `train`"),
        (["train"], "leave out `start_from`", "leave out --from"),
        (["train"], "leave out `from`", "leave out --from"),
        (["train"], "a beads.zarr that `beads` wrote", "a beads.zarr that `beads` wrote"),
        (["bench", "train"], "fewer `beads`", "fewer --beads"),
        (["render"], "`nothing` of ours", "`nothing` of ours"),
    ],
)
def test_parameters_become_flags_of_the_running_command(arguments: list[str], text: str, shown: str) -> None:
    assert in_flags(text, app, arguments) == shown


def test_an_existing_output_is_refused_in_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["train", str(tmp_path / "beads.zarr"), "--out", str(tmp_path)])
    assert code == 2
    assert "choose another --out, or --overwrite" in capsys.readouterr().err


def test_the_library_never_speaks_of_flags() -> None:
    spoken = [
        f"{path.relative_to(ROOT)}: {found.group(0)}"
        for path in (ROOT / "easyzloc_mm").rglob("*.py")
        if "cli" not in path.relative_to(ROOT).parts
        for found in re.finditer(
            r"(?:Error|warn|Finding)\([^)]*?[\s(`\"]--[a-z][a-z-]+", path.read_text(encoding="utf-8")
        )
    ]
    assert not spoken


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (PermissionError(13, "Permission denied", "model/x"), 2, "model/x cannot be used (permission denied): give"),
        (OSError(28, "No space left on device", "d/e"), 2, "d/e cannot be used (no space left on device): free space"),
        (FileNotFoundError(2, "No such file or directory", "gone"), 2, "gone cannot be used"),
        (OSError("no file"), 1, "a mistake of ours"),
        (KeyError("x"), 1, "a mistake of ours"),
        (ModuleNotFoundError("No module", name="torch.cuda"), 2, "the package torch.cuda is not installed"),
        (ModuleNotFoundError("No module", name="easyzloc_mm.gone"), 1, "a mistake of ours"),
    ],
)
def test_what_the_system_refuses_is_one_sentence(
    error: Exception, code: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr("easyzloc_mm.api.model.Model.load", fail)
    assert main(["evaluate", "model", "beads.zarr"]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_what_goes_into_a_pipe_is_not_cut(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["profile", "check", "demo"]) == 0
    assert "…" not in capsys.readouterr().out


@pytest.mark.parametrize("command", ["undrift", "link", "report"])
def test_this_folder_is_a_path_like_any(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([command, "."]) == 2
    # One sentence that names it.
    assert re.fullmatch(r"easyzloc-mm: (?!.*mistake of ours)[^\n]*\.[^\n]*\n", capsys.readouterr().err)
