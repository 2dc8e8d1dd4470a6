"""Whether a model bundle is whole: the digests of its files, written with them and held against them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.verify.report import Findings, VerifyReport
from easyzloc_mm.io.writing.atomic import put_file
from easyzloc_mm.io.writing.kinds import DIGESTS, Kind
from easyzloc_mm.model.card import CARD_FILE, KERAS_FILE, NETWORK_FILE, PSF_FILE, WIDER_PSF_FILE, ModelCard

KIND, SCHEMA_VERSION = "digests", 1


def write_digests(folder: Path) -> None:
    """Write the SHA-256 of the files of a bundle, as ``digests.json``; the last file of a bundle to be written."""
    names = CARD_FILE, NETWORK_FILE, KERAS_FILE, PSF_FILE, WIDER_PSF_FILE
    files = [name for name in names if (folder / name).is_file()]
    content = {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "files": {name: _digest(folder / name) for name in files},
    }
    put_file(folder / DIGESTS, json.dumps(content, indent=1).encode())


def verify_bundle(path: Path, *, quick: bool = False) -> VerifyReport:
    """Hold the files of a bundle against their digests, and open them; bundles of 0.1 have no digests."""
    findings = Findings(path, quick)
    for name, digest in _stored_digests(findings).items():
        file = path / name
        if not file.is_file():
            findings.damage(name, "is missing")
            continue
        findings.counts["files"] += 1
        findings.counts["bytes"] += file.stat().st_size
        if not quick and _digest(file) != digest:
            findings.damage(name, "was changed after it was written")
    if not findings.damaged:
        _open(findings)
    return findings.report(Kind.MODEL)


def _stored_digests(findings: Findings) -> dict[str, str]:
    file = findings.path / DIGESTS
    if not file.is_file():
        findings.counts["files_without_digest"] = len(list(findings.path.glob("*.*")))
        return {}
    try:
        content = json.loads(file.read_bytes())
        if (content["kind"], content["schema_version"]) != (KIND, SCHEMA_VERSION):
            raise ValueError(f"version {content['schema_version']} of {content['kind']}")
        return {str(name): str(digest) for name, digest in content["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        findings.damage(DIGESTS, f"cannot be read ({error})")
        return {}


def _open(findings: Findings) -> None:
    import onnxruntime

    try:
        card = ModelCard.load(findings.path)
    except InputError as error:
        findings.damage(CARD_FILE, f"cannot be read: {error}")
        return
    try:
        onnxruntime.InferenceSession(findings.path / NETWORK_FILE, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has errors of many kinds for a file that is none of its own
        findings.damage(NETWORK_FILE, f"is no network ({type(error).__name__})")
    for file in (card.psf_file, card.wider_psf_file):
        if file is None or not file.is_file():
            continue
        try:
            with np.load(file, allow_pickle=False) as stored:
                for name in stored.files:
                    stored[name]
        except Exception as error:  # numpy and zipfile likewise
            findings.damage(file.name, f"cannot be read ({type(error).__name__})")


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
