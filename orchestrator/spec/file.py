"""A file of YAML as one closed model: of settings, of contexts."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from orchestrator.errors import SettingsFileError
from orchestrator.spec.faults import spec_faults, without_secrets
from orchestrator.spec.yaml import MAX_BYTES, read_yaml

Model = TypeVar("Model", bound=BaseModel)


def read_file(file: Path, model: type[Model]) -> Model:
    """What a file says; an empty one says nothing but defaults.

    Raises:
        SettingsFileError: with every fault that it has.
        OSError: it cannot be read.
    """
    with file.open("rb") as opened:
        document = read_yaml(opened.read(MAX_BYTES + 1), str(file))
    faults = list(document.faults)
    if document.complete:
        try:
            found = model.model_validate({} if document.value is None else document.value)
        except ValidationError as error:
            faults += spec_faults(error, document, model)
        else:
            if not faults:
                return found
    raise SettingsFileError([without_secrets(fault) for fault in faults])
