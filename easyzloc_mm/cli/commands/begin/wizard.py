"""What `start` asks: tasks, each with its questions, and the commands that the answers make."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.io.writing.kinds import Kind, did_you_mean, kind_of

Answers = dict[str, str]
"""Answer by name of the question; empty where nothing was given."""


NEEDS_QUOTES = set(" &()<>|=")


def _nothing(_answers: Answers) -> str:
    return ""


def _always(_answers: Answers) -> bool:
    return True


@dataclass(frozen=True)
class Question:
    """One value that a command needs.

    Attributes
    ----------
    name : str
    asks : str
        What is asked for.
    why : str
        What it is, in a line.
    usual : callable
        Gives what is offered, by the answers so far and what lies in this folder; empty where nothing can be known.
    needed : bool
        Whether an empty answer is refused.
    fault : callable
        Gives what is wrong with an answer; empty where it will do.
    applies : callable
        Whether it is asked, by the answers so far.
    """

    name: str
    asks: str
    why: str
    usual: Callable[[Answers], str] = _nothing
    needed: bool = True
    fault: Callable[[str], str] = lambda _answer: ""
    applies: Callable[[Answers], bool] = _always


@dataclass(frozen=True)
class Task:
    """Something that a person wants to do.

    Attributes
    ----------
    title : str
    questions : tuple of Question
    commands : callable
        Gives the commands, each as a list of arguments, from the answers.
    after : str
        What to do next.
    """

    title: str
    questions: tuple[Question, ...]
    commands: Callable[[Answers], list[list[str]]]
    after: str


def newest(kind: Kind, pattern: str) -> str:
    """Return the result of that kind that was made last, of what a pattern matches here; empty where there is none."""
    found = [path for path in Path().glob(pattern) if kind_of(path) is kind]
    return str(max(found, key=lambda path: path.stat().st_mtime)) if found else ""


def _profile_here(_answers: Answers) -> str:
    return newest(Kind.PROFILE, "*.toml") or "demo"


def _minutes(answers: Answers) -> str:
    return "1" if answers["profile"] == "demo" else "10"


def _model_here(_answers: Answers) -> str:
    return newest(Kind.MODEL, "*") or newest(Kind.MODEL, "*/*")


def _run_here(_answers: Answers) -> str:
    return newest(Kind.RUN, "*.zarr")


def _free(stem: str, ending: str = "") -> Callable[[Answers], str]:
    def first(_answers: Answers) -> str:
        number = 1
        while Path(f"{stem}{number}{ending}").exists():
            number += 1
        return f"{stem}{number}{ending}"

    return first


def _number(answer: str) -> str:
    try:
        return "" if not answer or 0 < float(answer) < math.inf else "give a number above 0"
    except ValueError:
        return "give a number"


def _yes_or_no(answer: str) -> str:
    return "" if answer.lower() in ("y", "yes", "n", "no") else "answer yes or no"


def _count(answer: str) -> str:
    return "" if not answer or (answer.isdecimal() and int(answer) > 0) else "give a whole number above 0"


def _there(answer: str) -> str:
    return "" if Path(answer).exists() else f"{answer} is not there"


def _profile_fault(answer: str) -> str:
    """Return what is wrong with the profile itself: better now than after all the other questions."""
    try:
        load_profile(answer)
    except InputError as error:
        return str(error)
    return ""


def _model_fault(answer: str) -> str:
    path = Path(answer)
    return "" if kind_of(path) is Kind.MODEL else f"{answer} is no model{did_you_mean(path, Kind.MODEL)}"


def _new(answer: str) -> str:
    return f"{answer} is there already" if Path(answer).exists() else ""


def _given(answers: Answers, *names: str) -> list[str]:
    """Return ``--name value`` of the answers that are not empty."""
    return [part for name in names if answers.get(name) for part in (f"--{name}", answers[name])]


def _micro_manager(_answers: Answers) -> str:
    usual = (Path("C:/Program Files/Micro-Manager-2.0"), Path("/Applications/Micro-Manager-2.0"))
    return next((str(path) for path in usual if path.is_dir()), "")


PROFILE = Question(
    "profile", "hardware profile", "the file that describes the microscope; demo: the simulated one",
    _profile_here, fault=_profile_fault,
)  # fmt: skip
MODEL = Question("model", "model", "the calibration's folder `model`: how this instrument images a point", _model_here,
                 fault=_model_fault)  # fmt: skip
RUN = Question("run", "run", "RUN.zarr, or a table of Picasso or ThunderSTORM", _run_here, fault=_there)
BY_HAND = (
    Question("na", "numerical aperture", "as it stands on the objective, such as 1.49", needed=False, fault=_number),
    Question("emission-nm", "emission, nm", "middle of the emission filter, such as 680", needed=False, fault=_number),
    Question("pixel-size-nm", "pixel in the sample, nm", "the camera's pixel divided by the total magnification",
             needed=False, fault=_number),
    Question("baseline-adu", "camera baseline, counts", "counts without light; test sheet, or `camera-calibrate`",
             needed=False, fault=_number),
    Question("electrons-per-adu", "electrons per count", "the camera's gain; test sheet, or `camera-calibrate`",
             needed=False, fault=_number),
    Question("read-noise-e", "read noise, electrons", "of one pixel in one frame; test sheet, or `camera-calibrate`",
             needed=False, fault=_number),
)  # fmt: skip


def _describe(answers: Answers) -> list[list[str]]:
    open_one = answers["window"].lower().startswith("y")
    way = ["--java"] if open_one else ["--mm-dir", answers["mm-dir"], "--config-file", answers["config-file"]]
    return [
        ["profile", "new", *way, *_given(answers, *(question.name for question in BY_HAND)), "--out", answers["out"]]
    ]


def _analyse(answers: Answers) -> list[list[str]]:
    run = answers["run"]
    stem = run.removesuffix(Path(run).suffix)
    corrected = f"{stem}.undrifted.zarr"
    return [
        ["undrift", run, "--out", corrected],
        ["render", corrected, "--out", f"{stem}.png"],
        ["report", corrected, "--out", f"{stem}_report"],
        ["export", corrected, "--where", "z_flag == 0", "--out", f"{stem}.hdf5"],
    ]


TASKS = {
    "try": Task(
        "try it, without a microscope, in some four minutes",
        (Question("out", "folder", "receives everything that is made", _free("easyzloc-demo-"), fault=_new),),
        lambda answers: [["demo", "--quick", "--out", answers["out"]]],
        "open report/index.html in that folder, in a browser",
    ),
    "describe": Task(
        "describe my microscope",
        (
            Question("window", "is Micro-Manager open? (yes, no)", "open: it is asked over port 4827; "
                     "closed: its devices are loaded from here", lambda _answers: "no", fault=_yes_or_no),
            Question("mm-dir", "folder of Micro-Manager", "where its program lies", _micro_manager, fault=_there,
                     applies=lambda answers: not answers["window"].lower().startswith("y")),
            Question("config-file", "its configuration", "the .cfg file that Micro-Manager starts with",
                     applies=lambda answers: not answers["window"].lower().startswith("y")),
            *BY_HAND,
            Question("out", "profile to write", "a text file that you can correct at any time",
                     _free("my_microscope", ".toml"), fault=_new),
        ),
        _describe,
        "look up the lines marked CHECK in it, then `easyzloc-mm doctor --profile` it",
    ),
    "calibrate": Task(
        "calibrate on beads, before a session",
        (
            PROFILE,
            Question("minutes", "minutes of training", "after the photographs; 10 is usual, 1 is a first look",
                     _minutes, fault=_number),
            Question("out", "folder", "receives stacks, beads, model and reports", _free("calibration-"), fault=_new),
        ),
        lambda answers: [["calibrate", *_given(answers, "profile", "minutes", "out"), "--monitor"]],
        "look at beads_report/index.html and model/report/index.html in that folder",
    ),
    "image": Task(
        "image molecules in 3D, live",
        (
            PROFILE,
            MODEL,
            Question("frames", "frames", "how many camera frames; empty: what the profile says", needed=False,
                     fault=_count),
            Question("out", "run to write", "frames and localisations", _free("cell", ".zarr"), fault=_new),
        ),
        lambda answers: [["live", *_given(answers, "profile", "model", "frames", "out"), "--monitor"]],
        "`easyzloc-mm start` again, to analyse it",
    ),
    "analyse": Task(
        "analyse a run: drift, picture, quality report, export",
        (RUN,),
        _analyse,
        "open index.html of the report in a browser, and the .hdf5 in Picasso",
    ),
}  # fmt: skip
"""What a person may want, by the word that chooses it."""


def typed(command: Sequence[str]) -> str:
    """Return a command as a person types it."""
    quoted = (f'"{part}"' if not part or set(part) & NEEDS_QUOTES else part for part in command)
    return " ".join(["easyzloc-mm", *quoted])
