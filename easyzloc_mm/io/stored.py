"""The base of all metadata that is stored: a schema version, names of earlier versions, and what is not known kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, ValidationError

from easyzloc_mm._models import FrozenModel
from easyzloc_mm.errors import InputError


class StoredModel(FrozenModel):
    """Metadata of one kind of store.

    A class gives `KIND`, `SCHEMA_VERSION` (raised whenever a stored name or its meaning changes) and `RENAMED` (names
    of earlier versions, and what they are called now). Stores without a version are version 1.
    """

    KIND: ClassVar[str]
    SCHEMA_VERSION: ClassVar[int]
    RENAMED: ClassVar[Mapping[str, str]] = {}

    extra: dict[str, Any] = Field(default_factory=dict)
    """What other versions or scripts stored, kept as it is."""

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any], source: Path | str) -> Self:
        """Return the metadata of any schema version; unknown names go to `extra`.

        Raises
        ------
        InputError
            They are of something else, were written by a newer version, or a value is missing or impossible.
        """
        kind, version = stored.get("kind", cls.KIND), stored.get("schema_version", 1)
        if kind != cls.KIND:
            raise InputError(f"{source} holds a {kind}, not a {cls.KIND}")
        if not isinstance(version, int) or version > cls.SCHEMA_VERSION:
            raise InputError(
                f"{source} has schema version {version}, this version of easyzloc_mm reads a {cls.KIND} up to "
                f"{cls.SCHEMA_VERSION}: update easyzloc_mm"
            )
        known: dict[str, Any] = {}
        extra: dict[str, Any] = dict(stored.get("extra", {}))
        for stored_name, value in stored.items():
            name = cls.RENAMED.get(stored_name, stored_name)
            if name in cls.model_fields:
                known[name] = value
            elif name not in ("kind", "schema_version"):
                extra[name] = value
        try:
            return cls.model_validate({**known, "extra": extra})
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            raise InputError(f"the metadata of {source} cannot be read: {field}: {first['msg']}") from None

    def stored(self) -> dict[str, Any]:
        """Plain JSON values with kind and schema version; what is not known or empty is left out."""
        values = {name: value for name, value in self.model_dump(mode="json").items() if value not in (None, [], {})}
        return {"kind": self.KIND, "schema_version": self.SCHEMA_VERSION, **values}

    def changed(self, **changes: object) -> Self:
        """Return a validated copy with other values; names that are no fields go to `extra`."""
        fields = {name: value for name, value in changes.items() if name in type(self).model_fields}
        others = {name: value for name, value in changes.items() if name not in fields}
        return type(self).model_validate({**dict(self), **fields, "extra": {**self.extra, **others}})
