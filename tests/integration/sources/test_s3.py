"""Sources in object storage, read from a real server that speaks S3."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from s3_server import ROOT_SECRET, S3Server

from orchestrator.data.analysis import analyse
from orchestrator.data.inputs import Inputs
from orchestrator.data.rows import ROW
from orchestrator.data.sources import open_source, read_source
from orchestrator.errors import DataError, SpecError
from orchestrator.spec.models import SourceEntry, Spec

LINES = "".join(json.dumps({"q": f"question {n}", "a": f"answer {n}"}) + "\n" for n in range(5)).encode()


@dataclass(frozen=True)
class Bucket:
    """A bucket of the real server, by its name, and the root's client for it."""

    name: str
    client: Any

    def put(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=data)

    def tag(self, key: str) -> str:
        return str(self.client.head_object(Bucket=self.name, Key=key)["ETag"]).strip('"')


@pytest.fixture
def bucket(object_storage: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A bucket that only the secret `store` opens; no credentials lie in the environment."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AXO_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AXO_SECRETS", raising=False)
    folder = tmp_path / "home/secrets/store"
    folder.mkdir(parents=True)
    for name, value in object_storage.environment().items():
        (folder / name).write_text(value + "\n")
    made = Bucket(f"data-{uuid4().hex[:12]}", object_storage.client())
    object_storage.make_bucket(made.name)
    return made


def entry(url: str) -> SourceEntry:
    return SourceEntry(source=url, secret="store")


def questions(url: str, folder: Path) -> list[str]:
    source = read_source(open_source(entry(url), folder), folder / "scratch")
    return source.frame.drop(ROW).collect()["q"].to_list()


def test_an_object_a_folder_and_a_pattern(bucket: Bucket, tmp_path: Path) -> None:
    wanted = [f"question {n}" for n in range(5)]
    bucket.put("rows/b.jsonl", LINES)
    bucket.put("rows/a.jsonl.gz", gzip.compress(LINES))
    bucket.put("rows/README.md", b"about")
    assert questions(f"s3://{bucket.name}/rows/b.jsonl", tmp_path) == wanted
    assert questions(f"s3://{bucket.name}/rows", tmp_path) == wanted * 2
    assert questions(f"s3://{bucket.name}/*/*.jsonl", tmp_path) == wanted
    opened = open_source(entry(f"s3://{bucket.name}/rows"), tmp_path)
    assert [file.name for file in opened.files] == [
        f"s3://{bucket.name}/rows/a.jsonl.gz",
        f"s3://{bucket.name}/rows/b.jsonl",
    ]
    assert [file.revision for file in opened.files] == [
        bucket.tag(key) for key in ("rows/a.jsonl.gz", "rows/b.jsonl")
    ]


def test_an_object_is_fetched_once_and_again_when_it_changed(bucket: Bucket, tmp_path: Path) -> None:
    url = f"s3://{bucket.name}/rows.jsonl"
    bucket.put("rows.jsonl", LINES)
    first = open_source(entry(url), tmp_path).files[0]
    inode = first.path.stat().st_ino
    assert open_source(entry(url), tmp_path).files[0].path.stat().st_ino == inode
    bucket.put("rows.jsonl", LINES.replace(b"question", b"QUESTION"))
    second = open_source(entry(url), tmp_path).files[0]
    assert second.survey.sha256 != first.survey.sha256
    assert second.revision != first.revision


def test_what_was_read_is_recorded_and_faults_name_the_object(bucket: Bucket, tmp_path: Path) -> None:
    url = f"s3://{bucket.name}/rows.jsonl"
    bucket.put("rows.jsonl", LINES)
    mapping = {
        "messages": [{"role": "user", "content": "{{ q }}"}, {"role": "assistant", "content": "{{ a }}"}]
    }
    spec = Spec.model_validate(
        {
            "name": "t",
            "base_model": "m",
            "mapping": mapping,
            "dataset": {"source": {"source": url, "secret": "store"}},
        }
    )
    (tmp_path / "scratch").mkdir()
    analysis = analyse(Inputs.open(spec, tmp_path, None), tmp_path / "scratch")
    assert analysis.report.rows == 5
    bucket.put("rows.jsonl", LINES + b'{"q": tru}\n')
    with pytest.raises(DataError) as caught:
        questions(url, tmp_path)
    assert (caught.value.faults[0].file, caught.value.faults[0].line) == (url, 6)


def test_what_is_not_there_and_what_is_not_allowed(
    bucket: Bucket, tmp_path: Path, object_storage: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for url in (
        f"s3://{bucket.name}/none.jsonl",
        f"s3://{bucket.name}/none/*.jsonl",
        "s3://no-such-bucket/x.csv",
    ):
        with pytest.raises(DataError, match="no such object") as caught:
            open_source(entry(url), tmp_path)
        assert (caught.value.faults[0].path, caught.value.faults[0].value) == ("dataset.source", url)
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_storage.endpoint)
    with pytest.raises(DataError, match="the store refuses access") as caught:
        open_source(SourceEntry(source=f"s3://{bucket.name}/rows.jsonl"), tmp_path)
    assert "secret" in (caught.value.faults[0].fix or "")
    with pytest.raises(SpecError, match="no such secret") as missing:
        open_source(SourceEntry(source="s3://b/x", secret="nobody"), tmp_path)
    assert missing.value.faults[0].path == "dataset.source.secret"
    assert ROOT_SECRET not in str(caught.value)


def test_a_store_that_cannot_be_reached(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "home/secrets/store/AWS_ENDPOINT_URL").write_text("http://127.0.0.1:9")
    with pytest.raises(DataError, match="the store cannot be read"):
        open_source(entry(f"s3://{bucket.name}/x.jsonl"), tmp_path)
