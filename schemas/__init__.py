"""Published schemas: of the manifest (JSON Schema) and of structured records (protobuf)."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


def manifest_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the manifest."""
    schema: dict[str, Any] = json.loads(files(__package__).joinpath("manifest.schema.json").read_text("utf-8"))
    return schema
