"""Data sets of the Hugging Face hub, loaded by `datasets` and kept as a Parquet file per split and commit."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from orchestrator.data.sources.remote import Fetched
from orchestrator.errors import DataError, Fault

_FORM = "hf://org/name[@revision]/config/split"
_URL = re.compile(
    r"^hf://(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^/@]+))?(?:/(?P<config>[^/]+)/(?P<split>[^/]+))?/?$"
)


def fetch_dataset(url: str, secret: Mapping[str, str], cache: Path, field: str) -> list[Fetched]:
    """A split of a data set, at the commit that its revision means now.

    Without config and split, those are the only config and `train`. Raises DataError in the user's words,
    OSError where the cache cannot be written.
    """
    match = _URL.match(url)
    if not match:
        raise DataError([Fault("this is no data set of the hub", f"write {_FORM}", path=field, value=url)])
    config, split, token = match["config"], match["split"] or "train", secret.get("token")
    commit = _commit(match["repo"], match["revision"], token, url, field)
    key = sha256(f"{match['repo']}@{commit}/{config}/{split}".encode()).hexdigest()
    target = cache / key / "rows.parquet"
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{os.getpid()}.part")
        try:
            _load(match["repo"], commit, config, split, token, part, url, field)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    return [Fetched(url, target, commit)]


def _commit(repo: str, revision: str | None, token: str | None, url: str, field: str) -> str:
    from huggingface_hub import HfApi, errors

    try:
        found = HfApi(token=token).dataset_info(repo, revision=revision).sha
    except errors.GatedRepoError as error:
        fix = "accept its terms on the hub, and name a secret with the `token` of that account"
        raise _refused("the hub gives this data set only under its terms", fix, url, field) from error
    except errors.RevisionNotFoundError as error:
        fix = "name a branch, a tag or a commit"
        raise _refused("the data set has no such revision", fix, url, field) from error
    except errors.RepositoryNotFoundError as error:
        fix = "check the spelling; for a private one, name a secret with a `token` that may read it"
        raise _refused("the hub has no such data set", fix, url, field) from error
    except (errors.HfHubHTTPError, errors.HFValidationError, OSError) as error:
        fix = "see that the hub can be reached, or download the data and give the files"
        raise _refused("the hub does not give this data set", fix, url, field, _first_line(error)) from error
    except Exception as error:  # the HTTP library's own, which the hub's client lets through
        fix = "see that the hub can be reached, or download the data and give the files"
        raise _refused("the hub cannot be reached", fix, url, field, _first_line(error)) from error
    return found or revision or "main"


def _load(
    repo: str,
    commit: str,
    config: str | None,
    split: str,
    token: str | None,
    target: Path,
    url: str,
    field: str,
) -> None:
    import datasets

    datasets.disable_progress_bars()
    try:
        rows = datasets.load_dataset(repo, config, split=split, revision=commit, token=token)
        rows.to_parquet(str(target))
    except Exception as error:  # whatever the files of the data set make its loader raise
        fix = "name a config and a split that it has, as the reason lists them"
        raise _refused("the data set cannot be loaded", fix, url, field, _first_line(error)) from error


def _refused(what: str, fix: str, url: str, field: str, why: str | None = None) -> DataError:
    return DataError([Fault(what, fix, why, path=field, value=url)])


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
