"""What a spec may have opened and fetched: by whose secrets, and from where.

A service that others use has secrets and an address of its own. What others write must not have it send the
one anywhere, nor ask anything from the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from orchestrator.errors import Fault, SpecError
from orchestrator.named_secrets import not_allowed
from orchestrator.settings import PROJECT, Settings
from orchestrator.spec.load import Loaded, with_places
from orchestrator.spec.models import Spec
from orchestrator.spec.places import BASE_MODEL
from orchestrator.uploads import SCHEME

_BUCKET = re.compile(r"[a-z0-9.-]+")


def check_reach(loaded: Loaded, settings: Settings, *, operator: bool) -> None:
    """Refuse secrets that the operator does not offer, and storage itself as a source of rows. The service's
    own `operator` has both in hand, but for what a cluster will refuse.

    Raises:
        SpecError: with each of them, at its line.
    """
    offered = _offered(settings, operator=operator)
    faults = list[Fault]() if offered is None else list(_secret_faults(loaded.spec, *offered))
    if not operator:
        faults += _storage_faults(loaded.spec, settings.storage)
    if faults:
        raise SpecError(with_places(loaded, faults))


def check_here(loaded: Loaded) -> None:
    """Refuse sources that only fetching would tell of.

    Raises:
        SpecError: with each of them, at its line.
    """
    faults = [
        Fault(
            "this source is not fetched before a run is submitted",
            "submit it: preparing reads it; `axo plan` and `axo check` read it where they run",
            "a request must not decide which addresses the service asks",
            path=field,
        )
        for field, entry in loaded.spec.dataset.entries
        if "://" in entry.source and not entry.source.startswith(SCHEME)
    ]
    if faults:
        raise SpecError(with_places(loaded, faults))


def _offered(settings: Settings, *, operator: bool) -> tuple[str, tuple[str, ...]] | None:
    """The setting that lists the secrets which may be named, and those; None where all may be."""
    if settings.backend == "kubernetes" and settings.kubernetes:
        return "kubernetes.secrets", settings.kubernetes.secrets
    if operator:
        return None
    return "access.secrets", tuple(settings.access.secrets if settings.access else ())


def _secret_faults(spec: Spec, setting: str, offered: tuple[str, ...]) -> Iterator[Fault]:
    for field, secret in _secrets(spec):
        if secret not in offered:
            what, fix = not_allowed(secret, setting)
            yield Fault(what, fix, path=field)


def _storage_faults(spec: Spec, storage: str) -> Iterator[Fault]:
    """What names the bucket that storage lies in, by any spelling of it, or the secret that opens it."""
    url = urlsplit(storage)
    if url.scheme != "s3":
        return
    for field, secret in _secrets(spec):
        if url.username and re.fullmatch(_of_any_project(unquote(url.username)), secret):
            yield Fault(f"the secret {secret!r} opens storage, and nothing else", "name another", path=field)
    ours = _of_any_project(url.netloc.rpartition("@")[2])
    for field, entry in spec.dataset.entries:
        if not entry.source.startswith(("s3:", "s3a:")):
            continue
        bucket = re.sub(r"^(s3a?:|/)+", "", entry.source).partition("/")[0]
        if not _BUCKET.fullmatch(bucket):
            yield Fault("this is no plain name of a bucket", "write s3://<bucket>/<path>", path=field)
        elif re.fullmatch(ours, bucket):
            what = "this bucket holds the service's storage, and is no source of rows"
            yield Fault(
                what, "copy the data to a bucket of its own, or let `axo submit` upload it", path=field
            )


def _secrets(spec: Spec) -> Iterator[tuple[str, str]]:
    """Each field that names a secret, and the secret."""
    if spec.model_secret:
        yield f"{BASE_MODEL}.secret", spec.model_secret
    for field, entry in spec.dataset.entries:
        if entry.secret:
            yield f"{field}.secret", entry.secret


def _of_any_project(text: str) -> str:
    """A pattern of that part of the storage's URL, whatever the project."""
    return "[a-z0-9-]+".join(map(re.escape, text.split(PROJECT)))
