"""Load a spec: read it safely, check it whole, and report every fault at its place at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from orchestrator.errors import Fault, NotFoundError, SpecError
from orchestrator.nearest import nearest
from orchestrator.spec.document import Document, Place, fault_at, parse_path
from orchestrator.spec.faults import spec_faults, without_secrets
from orchestrator.spec.inline import Named, inline_mappings
from orchestrator.spec.mapping import Mapping as RowMapping
from orchestrator.spec.models import Spec
from orchestrator.spec.rules import rule_faults
from orchestrator.spec.secrets import Secret, find_secret
from orchestrator.spec.yaml import MAX_BYTES, read_yaml

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Loaded:
    """A spec without faults: its model, its text as written, its file, and the places in it.

    `digest` is that of the spec as its writer means it, a mapping that it names put in place: what an
    earlier adapter adds to the spec is no part of it.
    """

    spec: Spec
    text: str
    path: Path
    digest: str
    document: Document = field(repr=False, compare=False)

    @property
    def mapping_texts(self) -> Mapping[str, str]:
        """The texts of the mappings that it names, each under the path that its name is from the spec."""
        return {file: text for file, text in self.document.texts.items() if file != str(self.path)}

    def written(self, names: Sequence[str]) -> Place | None:
        """Where a field, its list places left out, stands first; None where it was left out."""
        wanted = list(names)
        keys = self.document.keys.items()
        return next((at for path, at in keys if [p for p in path if isinstance(p, str)] == wanted), None)


_DATA = frozenset(
    {".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".xlsx", ".gz", ".zst", ".zip", ".bz2", ".xz"}
)


_FILE_OR_NAME = "A mapping file, relative to the spec's folder, or the name of a mapping of the project."


def load_spec(path: Path, named: Named | None = None) -> Loaded:
    """Load a spec and the mappings it names: files or, where `named` finds them, those of the project.

    Raises NotFoundError where there is no such file, SpecError with every fault otherwise.
    """
    if not path.is_file():
        raise NotFoundError(f"there is no spec at {path}", hint=_near(path))
    if path.suffix.lower() in _DATA:
        fix = f"give the path of a spec: `axo init {path}` writes one for it"
        raise SpecError([Fault("this is data, not a spec", fix, file=str(path))])
    return parse_spec(_read(path), path, named=named)


def _near(path: Path) -> str:
    """What to say to somebody who named a file that is not there."""
    if path.is_dir():
        return f"that is a folder: give a file in it, such as {path / 'spec.yaml'}"
    specs = [file.name for file in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
    if near := nearest(path.name, specs):
        return f"did you mean {path.parent / near}?"
    return "give the path of a YAML file; `axo init` writes one"


def parse_spec(
    data: bytes, path: Path, mappings: Mapping[str, str] | None = None, named: Named | None = None
) -> Loaded:
    """Load a spec from its bytes; `path` names it in faults, and its folder holds a mapping file.

    With `mappings`, texts by their paths, none is read from disk. A name that no file has is `named`'s.

    Raises:
        SpecError: with every fault there is.
    """
    read = _read if mappings is None else _read_from(mappings)
    document = inline_mappings(read_yaml(data, str(path)), path.parent, read, named)
    spec = _proven(document, Spec, rule_faults)
    return Loaded(spec, document.texts[str(path)], path, spec.digest, document)


def prove_mapping(data: bytes, file: Path, rules: Callable[[RowMapping], Iterable[Fault]]) -> None:
    """Prove a text to be a mapping by itself, whatever spec will name it; `file` names it in faults.

    Raises:
        SpecError: with every fault there is, those that `rules` finds too.
    """
    document = read_yaml(data, str(file))
    if isinstance(document.value, dict) and "mapping" in document.value:
        whole = Fault(
            "this is a whole spec, and no mapping alone",
            path="mapping",
            fix="put what stands below `mapping` in a file of its own",
        )
        raise SpecError([_placed(document, whole)])
    _proven(document, RowMapping, rules)


def with_spec(loaded: Loaded, spec: Spec) -> Loaded:
    """Another spec with the text, and so the places, of a loaded one."""
    return replace(loaded, spec=spec, digest=spec.digest)


def with_places(loaded: Loaded, faults: Iterable[Fault]) -> list[Fault]:
    """Faults found later, each with the place of its `path` where it has none of its own."""
    return [fault if fault.line or fault.file else _placed(loaded.document, fault) for fault in faults]


def spec_schema() -> dict[str, Any]:
    """The JSON Schema of a spec as written, for editors: a mapping may also be a file or a name."""
    schema = Spec.model_json_schema()
    file = {"type": "string", "minLength": 1, "description": _FILE_OR_NAME}
    for model in (schema, *(schema["$defs"][name] for name in ("SourceEntry", "WeightedEntry"))):
        mapping = model["properties"]["mapping"]
        description = mapping.pop("description")
        model["properties"]["mapping"] = {"anyOf": [mapping, file], "description": description}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _proven(document: Document, root: type[Model], rules: Callable[[Model], Iterable[Fault]]) -> Model:
    faults = list(document.faults)
    found: Model | None = None
    if document.complete:
        try:
            found = root.model_validate(document.value)
        except ValidationError as error:
            faults += spec_faults(error, document, root)
        else:
            faults += [_placed(document, fault) for fault in rules(found)]
    faults = [*_secret_faults(document), *faults]
    if faults or found is None:
        raise SpecError(list(dict.fromkeys(map(without_secrets, faults))))
    return found


def _placed(document: Document, fault: Fault) -> Fault:
    place = document.place(parse_path(fault.path or ""), key=True)
    return replace(fault, file=place.file, line=place.line, column=place.column)


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(path)
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _read_from(texts: Mapping[str, str]) -> Callable[[Path], bytes]:
    def read(path: Path) -> bytes:
        try:
            return texts[str(path)].encode()
        except KeyError as error:
            raise FileNotFoundError(path) from error

    return read


def _secret_faults(document: Document) -> list[Fault]:
    """One for each line with a secret: in the text, comments too, or hidden by escapes in a string."""
    faults: dict[tuple[str, int], Fault] = {}
    for file, text in document.texts.items():
        for number, line in enumerate(text.splitlines(), 1):
            if secret := find_secret(line):
                faults[file, number] = _secret_fault(Place(file, number, secret.start + 1), secret)
    for path, string in document.strings():
        place = document.place(path)
        if (secret := find_secret(string)) and (place.file, place.line) not in faults:
            faults[place.file, place.line] = _secret_fault(place, secret)
    return list(faults.values())


def _secret_fault(place: Place, secret: Secret) -> Fault:
    fix = "take it out, revoke it, and let the operator's settings hold the new one"
    why = "a spec is kept in git, in storage and in MLflow"
    return fault_at(place, f"this looks like {secret.kind}", fix, why=why, value=secret.shown)
