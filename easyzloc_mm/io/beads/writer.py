"""Write bead stacks: one OME-Zarr image (z, y, x) per field of view and a row of stage readings per plane.

Layout (OME-Zarr 0.5, Zarr v3, bioformats2raw collection): groups ``0``, ``1``, ... hold the image array
``0`` in chunks of one plane; ``planes/0``, ``planes/1``, ... hold one float64 row per plane. A plane's row is
written after its pixels are on the device, so a row means that its plane is complete, and a store whose writer was
killed, or lost its power, is readable up to the last complete plane.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.metadata import BeadStackMetadata, StackMetadata
from easyzloc_mm.io.beads.stack import NUMBERS
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import check_output
from easyzloc_mm.io.zarr.chunks import ChunkedArray, seal, update_node
from easyzloc_mm.io.zarr.files import StoreFiles
from easyzloc_mm.io.zarr.ome import collection_attributes, image_attributes, numbered_images, series_attributes
from easyzloc_mm.profile.detection import Sync
from easyzloc_mm.typing import U16


@dataclass(frozen=True, slots=True)
class PlaneRecord:
    """Settings and stage readings of one plane.

    Attributes
    ----------
    requested_z_um, measured_z_um : float
        Where the z stage was sent, and where it reported to be after it had settled.
    x_um, y_um : float
        Measured stage position.
    exposure_ms : float
        Camera exposure.
    illumination : str or None
        Illumination preset.
    time_s : float
        When the plane was taken, seconds since the epoch.
    """

    requested_z_um: float
    measured_z_um: float
    x_um: float
    y_um: float
    exposure_ms: float
    illumination: str | None
    time_s: float


class BeadStackWriter:
    """Writes planes as they come, in place.

    Parameters
    ----------
    path : Path
        ``NAME.ome.zarr``.
    profile_dump : mapping
        The profile (``profile.model_dump(mode="json")``), kept as provenance and for its camera units.
    pixel_size_nm, z_step_nm : float
        Sampling.
    shape_yx : (int, int)
        Height and width of the camera image.
    if_exists : {'error', 'resume'}
        'resume' continues an existing store of the same plan; stacks that are not complete are removed from it.
    provenance : mapping, optional
        More attributes: versions, device labels.
    planned_planes : int, optional
        Planes of a complete stack; without it a store cannot be resumed.
    sync : {'never', 'always'}
        Whether every plane is on the device before the next one is taken.

    Raises
    ------
    InputError
        `path` exists, or its folder does not; on 'resume', it holds something else or was taken by another plan.
    """

    def __init__(
        self,
        path: Path,
        profile_dump: Mapping[str, Any],
        pixel_size_nm: float,
        z_step_nm: float,
        shape_yx: tuple[int, int],
        *,
        if_exists: Literal["error", "resume"] = "error",
        provenance: Mapping[str, Any] | None = None,
        planned_planes: int | None = None,
        sync: Literal[Sync.NEVER, Sync.ALWAYS] = Sync.NEVER,
    ) -> None:
        import zarr

        self._shape_yx = (int(shape_yx[0]), int(shape_yx[1]))
        self._scale = {"z": z_step_nm / 1000, "y": pixel_size_nm / 1000, "x": pixel_size_nm / 1000}
        self._files = StoreFiles(sync)
        self._images: dict[int, ChunkedArray] = {}
        self._tables: dict[int, ChunkedArray] = {}
        self._done: dict[int, int] = {}
        self._presets: list[str] = []
        if if_exists == "resume" and Path(path).exists():
            self.path = Path(path)
            self._take_up(profile_dump)
            return
        self.path = check_output(Path(path), Kind.BEAD_STACKS, if_exists="error")
        self._metadata = BeadStackMetadata(
            pixel_size_nm=pixel_size_nm,
            z_step_nm=z_step_nm,
            profile=dict(profile_dump),
            planned_planes=planned_planes,
            provenance=dict(provenance or {}),
        )
        self._root = zarr.create_group(self.path, attributes=collection_attributes(easyzloc=self._metadata.stored()))
        self._root.create_group("OME", attributes=series_attributes([]))
        self._plane_group = self._root.create_group("planes", attributes={"columns": [*NUMBERS, "illumination"]})
        seal(self.path, durable=self._files.durable)

    def _take_up(self, profile_dump: Mapping[str, Any]) -> None:
        """Open an existing store and drop its unfinished stacks: their beads are bleached by then."""
        import zarr

        try:
            root: Any = zarr.open_group(self.path, mode="r+")
            stored: Any = root.attrs["easyzloc"]
            if stored["kind"] != BeadStackMetadata.KIND:
                raise KeyError("kind")
        except (KeyError, ValueError, TypeError, OSError):
            raise InputError(f"{self.path} holds no bead stacks that could be resumed: choose another `out`") from None
        self._metadata = BeadStackMetadata.from_stored(stored, self.path)
        for section in ("beads", "camera", "optics"):
            before, now = self._metadata.profile.get(section, {}), dict(profile_dump.get(section, {}))
            changed = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
            if changed:
                raise InputError(
                    f"{self.path} was begun with another {section}.{changed[0]} ({before.get(changed[0])}, now "
                    f"{now.get(changed[0])}): set it back, or start anew with another `out`"
                )
        # No stack was begun before the groups of all stacks were there.
        self._root = root
        plane_group: Any = root["planes"]
        self._plane_group = plane_group
        self._presets = list(plane_group.attrs.get("illuminations", []))
        planned = self._metadata.planned_planes
        if not planned:
            raise InputError(f"{self.path} does not say how many planes a complete stack has: it cannot be resumed")
        for name in numbered_images(self.path):
            rows = np.asarray(plane_group[name][:]) if name in plane_group else np.empty((0, 1))
            done = int(np.isfinite(rows[:, -1]).sum())
            if done < planned:
                self._remove(name)
                continue
            self._done[int(name)] = done
        self._list_images()

    def _remove(self, name: str) -> None:
        """Remove a stack: its rows first, which say that its planes are there."""
        if name in self._plane_group:
            del self._plane_group[name]
        del self._root[name]

    def _list_images(self) -> None:
        self._update(self.path / "OME", series_attributes([str(known) for known in self._done]))

    def _update(self, node: Path, attributes: Mapping[str, Any]) -> None:
        update_node(node, attributes, durable=self._files.durable)

    @property
    def planes_done(self) -> dict[int, int]:
        """Complete planes of each field of view."""
        return dict(self._done)

    @property
    def progress(self) -> dict[str, Any]:
        """What `note` kept."""
        return dict(self._metadata.progress)

    def note(self, progress: Mapping[str, Any]) -> None:
        """Keep what an interrupted acquisition needs to be resumed."""
        self._metadata = self._metadata.changed(progress=dict(progress))
        self._update(self.path, {"easyzloc": self._metadata.stored()})

    def add_fov(self, fov: int, planes: int) -> None:
        """Make room for one stack of `planes` planes, which are then written from 0 upwards."""
        name = str(fov)
        group = self._root.create_group(name, attributes=image_attributes(f"beads {name}", "zyx", self._scale))
        self._images[fov] = ChunkedArray.create(
            group,
            "0",
            shape=(planes, *self._shape_yx),
            chunks=(1, *self._shape_yx),
            dtype="uint16",
            compression="zstd",
            dimension_names=("z", "y", "x"),
        )
        self._tables[fov] = ChunkedArray.create(
            self._plane_group,
            name,
            shape=(planes, len(NUMBERS) + 1),
            chunks=(1, len(NUMBERS) + 1),
            dtype="float64",
            fill_value=math.nan,
        )
        for made in (self.path / name, self.path / "planes" / name):
            seal(made, durable=self._files.durable)
        self._done[fov] = 0
        self._list_images()

    def write_plane(self, fov: int, plane: int, image: U16, record: PlaneRecord) -> None:
        """Write a plane's pixels, then its row."""
        if image.shape != self._shape_yx or image.dtype != np.uint16:
            raise ValueError(f"a plane is uint16 {self._shape_yx}, not {image.dtype} {image.shape}")
        if plane != self._done[fov]:
            raise ValueError(f"planes are written in order: expected {self._done[fov]}, got {plane}")
        row = [*(getattr(record, name) for name in NUMBERS), self._preset_index(record.illumination)]
        self._files.put(*self._images[fov].encoded((plane, 0, 0), image[np.newaxis]))
        self._files.put(*self._tables[fov].encoded((plane, 0), np.array([row], dtype=np.float64)))
        self._done[fov] = plane + 1

    def note_bleaching(self, fov: int, bleaching_per_um: float) -> None:
        """Keep how the light changed along a stack."""
        if math.isfinite(bleaching_per_um):
            stored = StackMetadata(bleaching_per_um=float(bleaching_per_um)).stored()
            self._update(self.path / str(fov), {"easyzloc": stored})

    def _preset_index(self, illumination: str | None) -> int:
        if illumination is None:
            return -1
        if illumination not in self._presets:
            self._presets.append(illumination)
            self._update(self.path / "planes", {"illuminations": list(self._presets)})
        return self._presets.index(illumination)

    def close(self) -> None:
        """Cut unfinished stacks to their complete planes, so that every reader sees only real ones."""
        try:
            self._cut()
        finally:
            self._files.close()

    def _cut(self) -> None:
        durable = self._files.durable
        empty = [fov for fov, done in self._done.items() if done == 0]
        for fov in empty:
            del self._done[fov]
        self._list_images()  # first: what is removed was not on the list any more
        for fov in empty:
            self._remove(str(fov))
        for fov, done in self._done.items():
            if fov in self._images and done < self._images[fov].shape[0]:
                self._images[fov].resize((done, *self._shape_yx), durable=durable)
                self._tables[fov].resize((done, len(NUMBERS) + 1), durable=durable)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
