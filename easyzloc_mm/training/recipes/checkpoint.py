"""State of an unfinished training on disk, from which it continues after a crash."""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from easyzloc_mm.io.writing.atomic import replacing
from easyzloc_mm.io.writing.output import remove

if TYPE_CHECKING:
    import keras

INTERVAL_S = 30.0


class Checkpoint:
    """A file beside the model that is being trained.

    Parameters
    ----------
    path : Path
    identity : str
        Of data, settings and budget: a checkpoint of another training is ignored.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self.path, self.identity = Path(path), identity
        self._last = time.monotonic()

    def restore(self, model: keras.Model) -> float:
        """Load weights and optimiser into a compiled `model`; return the share of the budget spent (0, if none)."""
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                facts = json.loads(str(stored["facts"]))
                if facts["identity"] != self.identity:
                    return 0.0
                values = [stored[f"v{i}"] for i in range(facts["variables"])]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return 0.0
        variables = [*model.variables, *model.optimizer.variables]
        if [tuple(v.shape) for v in variables] != [value.shape for value in values]:
            return 0.0
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        return float(facts["spent"])

    def save(self, model: keras.Model, spent: float) -> None:
        """Write the state, at most every `INTERVAL_S`; a reader never sees half a file."""
        import keras

        if time.monotonic() - self._last < INTERVAL_S:
            return
        variables = [keras.ops.convert_to_numpy(v) for v in (*model.variables, *model.optimizer.variables)]
        facts = json.dumps({"identity": self.identity, "spent": spent, "variables": len(variables)})
        with replacing(self.path) as draft, draft.open("wb") as file:
            np.savez(file, facts=facts, **{f"v{i}": value for i, value in enumerate(variables)})
        self._last = time.monotonic()

    def discard(self) -> None:
        """Remove the file: the training is over."""
        remove(self.path)
