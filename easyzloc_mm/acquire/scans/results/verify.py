"""Whether a scan is whole: its ledger, and the run of every field."""

from __future__ import annotations

from pathlib import Path

from easyzloc_mm.acquire.scans.ledger import FieldState, FieldStatus, read_ledger
from easyzloc_mm.acquire.scans.results.plate import PLATE
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.verify.plates import verify_plate
from easyzloc_mm.io.verify.report import Findings, VerifyReport
from easyzloc_mm.io.verify.runs import verify_run
from easyzloc_mm.io.writing.kinds import LEDGER, Kind


def verify_scan(folder: Path, *, quick: bool = False) -> VerifyReport:
    """Hold the runs of a scan against its ledger, and read them back."""
    findings = Findings(folder, quick)
    try:
        content = read_ledger(folder)
        names = [place.name for place in content.plan.places()]
    except InputError as error:
        findings.damage(LEDGER, f"cannot be read: {error}")
        return findings.report(Kind.SCAN)
    for name in names:
        state = content.fields.get(name)
        if state is None or not state.status.is_over:
            findings.incomplete(f"field {name} is {FieldStatus.PENDING if state is None else state.status}")
        else:
            _check_field(findings, name, state)
    findings.counts["fields"] = len(names)
    if (folder / PLATE).is_dir():
        findings.include(verify_plate(folder / PLATE, quick=quick))
    return findings.report(Kind.SCAN)


def _check_field(findings: Findings, name: str, state: FieldState) -> None:
    rows = 0
    stores = (*state.rejected, *state.parts, *([state.run] if state.run else []))
    for store in stores:
        if not (findings.path / store).is_dir():
            findings.damage(store, f"is missing, of field {name} that is {state.status}")
            return
        report = verify_run(findings.path / store, quick=findings.quick)
        findings.include(report)
        rows += report.counts.get("rows", 0) if store not in state.rejected else 0
    if state.localizations is not None and rows != state.localizations:
        findings.damage(stores[-1], f"has {rows} localisations, not {state.localizations}")
