"""The headers of safetensors files: names, shapes and dtypes of the weights, without reading one of them.

A file begins with the length of its header (8 bytes, little-endian), then the header as JSON: for each
tensor its dtype, shape and byte range. Source: the format's description in the `safetensors` repository.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import Fault, SpecError

BYTES: Mapping[str, float] = {
    "F64": 8,
    "I64": 8,
    "U64": 8,
    "F32": 4,
    "I32": 4,
    "U32": 4,
    "F16": 2,
    "BF16": 2,
    "I16": 2,
    "U16": 2,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "F8_E8M0": 1,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
    "F6_E2M3": 0.75,
    "F6_E3M2": 0.75,
    "F4": 0.5,
}
_LONGEST_HEADER = 100_000_000  # the format's own bound


@dataclass(frozen=True)
class Tensor:
    """One weight: `shape` in elements, `dtype` in safetensors' words (F32, BF16 ...)."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return math.ceil(self.size * BYTES.get(self.dtype, 4))


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """The weights of a model folder, by name; none where it has no safetensors files.

    Raises:
        SpecError: a file is cut short or is no safetensors file.
    """
    tensors: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= _header(path)
    return tensors


def _header(path: Path) -> dict[str, Tensor]:
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, _LONGEST_HEADER)))
        entries = [(name, entry) for name, entry in header.items() if name != "__metadata__"]
        end = max((entry["data_offsets"][1] for _, entry in entries), default=0)
        if path.stat().st_size < 8 + length + end:
            raise ValueError("the file ends before its last weight")
        return {name: Tensor(tuple(map(int, entry["shape"])), str(entry["dtype"])) for name, entry in entries}
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        what, fix = (
            "the model's weights are not whole",
            "fetch it again; the download may have been cut short",
        )
        raise SpecError([Fault(what, fix, str(error), path="base_model", value=path.name)]) from error
