"""A spec from elsewhere: its places of the client's machine are uploads, or mean nothing here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from orchestrator.contract import ContractError, Store
from orchestrator.errors import Fault, SpecError
from orchestrator.spec.load import Loaded, with_places, with_spec
from orchestrator.spec.places import ADAPTER, BASE_MODEL, places, replaced
from orchestrator.staging import is_hub_id
from orchestrator.uploads import SCHEME, lacking, parse_address

# What a service reads for somebody else: not its own files, nor what chains lead to.
KINDS = ("upload", "hf", "s3", "s3a", "gs", "gcs", "abfs", "az", "https", "http")
_FIX = (
    "`axo submit` uploads it; otherwise upload it (POST /api/v1/files) and name it upload://<sha256>/<name>"
)


def with_uploads(loaded: Loaded, uploads: Mapping[str, str]) -> Loaded:
    """The spec with addresses of uploads in the fields that they are given for.

    Raises:
        SpecError: it has no such field.
    """
    fields = places(loaded.spec)
    faults = [
        Fault("the spec has no such field that names a place", path=f"uploads.{field}")
        for field in uploads
        if field not in fields
    ]
    if faults:
        raise SpecError(faults)
    return with_spec(loaded, replaced(loaded.spec, uploads)) if uploads else loaded


def check_places(loaded: Loaded, store: Store, *, here: bool) -> None:
    """Refuse places that this service does not reach: uploads that are not whole in `store` and, unless
    the spec was written on this very machine (`here`), paths.

    Raises:
        SpecError: with each of them, at its line.
    """
    faults = [
        fault for field, place in places(loaded.spec).items() for fault in _faults(field, place, store, here)
    ]
    if faults:
        raise SpecError(with_places(loaded, faults))


def _faults(field: str, place: str, store: Store, here: bool) -> Iterator[Fault]:
    if place.startswith(SCHEME):
        yield from _upload_faults(field, place, store)
    elif not here and not _is_elsewhere(field, place):
        what = "this is a path, and the service is on another machine than the one it is a path of"
        yield Fault(what, _FIX, path=field, value=place)


def _is_elsewhere(field: str, place: str) -> bool:
    """Whether a place means the same on every machine."""
    if field == BASE_MODEL:
        return is_hub_id(place)
    if field == ADAPTER:
        return "/" not in place
    scheme, separator, _ = place.partition("://")
    return bool(separator) and scheme in KINDS and "::" not in place


def _upload_faults(field: str, place: str, store: Store) -> Iterator[Fault]:
    upload = parse_address(place)
    if upload is None:
        yield Fault("this is no address of an upload", "upload://<sha256>/<name>", path=field, value=place)
        return
    try:
        missing = lacking(store, upload)
    except ContractError as error:
        yield Fault("this upload cannot be read", "upload it again", str(error), path=field, value=place)
        return
    if missing:
        what = f"this upload is not here, or not finished: {', '.join(missing[:3])}"
        yield Fault(what, "upload it, and finish it, before the spec is submitted", path=field, value=place)
