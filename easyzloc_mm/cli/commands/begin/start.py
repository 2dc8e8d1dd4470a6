"""`start`: asks what a person wants, and shows the command that does it."""

from __future__ import annotations

import typer

from easyzloc_mm.cli.commands.begin.wizard import TASKS, Answers, Question, typed


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(start)


def start() -> int:
    """Ask what you want to do, explain every value, and print the commands that it then runs."""
    typer.echo("What do you want to do? Every answer can be changed later; Ctrl-C ends this.\n")
    for number, task in enumerate(TASKS.values(), 1):
        typer.echo(f"  {number}. {task.title}")
    task = list(TASKS.values())[_choice(len(TASKS)) - 1]
    answers: Answers = {}
    for question in task.questions:
        if question.applies(answers):
            answers[question.name] = _answer(question, answers)
    commands = task.commands(answers)
    typer.echo("\nThis is done by:\n")
    for command in commands:
        typer.echo(f"  {typed(command)}")
    if not typer.confirm("\nRun it now?", default=True):
        return 0
    from easyzloc_mm.cli.app import main

    for command in commands:
        typer.echo(f"\n> {typed(command)}")
        code = main(command)
        if code:
            return code
    typer.echo(f"\nNext: {task.after}")
    return 0


def _choice(most: int) -> int:
    while True:
        number: int = typer.prompt("\nNumber", default=1, type=int)
        if 1 <= number <= most:
            return number
        typer.echo(f"  give a number from 1 to {most}")


def _answer(question: Question, answers: Answers) -> str:
    usual = question.usual(answers)
    typer.echo(f"\n{question.asks}: {question.why}")
    while True:
        given = str(typer.prompt("  >", default=usual, show_default=bool(usual), prompt_suffix=" ")).strip()
        fault = question.fault(given) if given else "this is needed" if question.needed else ""
        if not fault:
            return given
        typer.echo(f"  {fault}")
