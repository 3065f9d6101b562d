"""Sources in object storage, read from a server that speaks S3."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from orchestrator.data.analysis import analyse
from orchestrator.data.inputs import Inputs
from orchestrator.data.rows import ROW
from orchestrator.data.sources import open_source, read_source
from orchestrator.errors import DataError, SpecError
from orchestrator.spec.models import SourceEntry, Spec

LINES = "".join(json.dumps({"q": f"question {n}", "a": f"answer {n}"}) + "\n" for n in range(5)).encode()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A bucket that only the secret `store` opens; no credentials lie in the environment."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AXO_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AXO_SECRETS", raising=False)
    keys = {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "hush", "AWS_ENDPOINT_URL": server}
    folder = tmp_path / "home/secrets/store"
    folder.mkdir(parents=True)
    for name, value in {**keys, "AWS_REGION": "eu-west-1"}.items():
        (folder / name).write_text(value + "\n")
    s3 = boto3.resource(
        "s3",
        endpoint_url=server,
        aws_access_key_id="me",
        aws_secret_access_key="hush",
        region_name="eu-west-1",
    )
    bucket = s3.create_bucket(
        Bucket=f"data-{tmp_path.name.replace('_', '-')[:40]}",
        CreateBucketConfiguration={"LocationConstraint": "eu-west-1"},
    )
    yield bucket
    bucket.objects.all().delete()
    bucket.delete()


def entry(url: str) -> SourceEntry:
    return SourceEntry(source=url, secret="store")


def questions(url: str, folder: Path) -> list[str]:
    source = read_source(open_source(entry(url), folder), folder / "scratch")
    return source.frame.drop(ROW).collect()["q"].to_list()


def test_an_object_a_folder_and_a_pattern(bucket: Any, tmp_path: Path) -> None:
    wanted = [f"question {n}" for n in range(5)]
    bucket.put_object(Key="rows/b.jsonl", Body=LINES)
    bucket.put_object(Key="rows/a.jsonl.gz", Body=gzip.compress(LINES))
    bucket.put_object(Key="rows/README.md", Body=b"about")
    assert questions(f"s3://{bucket.name}/rows/b.jsonl", tmp_path) == wanted
    assert questions(f"s3://{bucket.name}/rows", tmp_path) == wanted * 2
    assert questions(f"s3://{bucket.name}/*/*.jsonl", tmp_path) == wanted
    opened = open_source(entry(f"s3://{bucket.name}/rows"), tmp_path)
    assert [file.name for file in opened.files] == [
        f"s3://{bucket.name}/rows/a.jsonl.gz",
        f"s3://{bucket.name}/rows/b.jsonl",
    ]
    assert [file.revision for file in opened.files] == [
        bucket.Object(key).e_tag.strip('"') for key in ("rows/a.jsonl.gz", "rows/b.jsonl")
    ]


def test_an_object_is_fetched_once_and_again_when_it_changed(bucket: Any, tmp_path: Path) -> None:
    url = f"s3://{bucket.name}/rows.jsonl"
    bucket.put_object(Key="rows.jsonl", Body=LINES)
    first = open_source(entry(url), tmp_path).files[0]
    inode = first.path.stat().st_ino
    assert open_source(entry(url), tmp_path).files[0].path.stat().st_ino == inode
    bucket.put_object(Key="rows.jsonl", Body=LINES.replace(b"question", b"QUESTION"))
    second = open_source(entry(url), tmp_path).files[0]
    assert second.survey.sha256 != first.survey.sha256
    assert second.revision != first.revision


def test_what_was_read_is_recorded_and_faults_name_the_object(bucket: Any, tmp_path: Path) -> None:
    url = f"s3://{bucket.name}/rows.jsonl"
    bucket.put_object(Key="rows.jsonl", Body=LINES)
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
    bucket.put_object(Key="rows.jsonl", Body=LINES + b'{"q": tru}\n')
    with pytest.raises(DataError) as caught:
        questions(url, tmp_path)
    assert (caught.value.faults[0].file, caught.value.faults[0].line) == (url, 6)


def test_what_is_not_there_and_what_is_not_allowed(
    bucket: Any, tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for url in (
        f"s3://{bucket.name}/none.jsonl",
        f"s3://{bucket.name}/none/*.jsonl",
        "s3://no-such-bucket/x.csv",
    ):
        with pytest.raises(DataError, match="no such object") as caught:
            open_source(entry(url), tmp_path)
        assert (caught.value.faults[0].path, caught.value.faults[0].value) == ("dataset.source", url)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    with pytest.raises(DataError, match="the store refuses access") as caught:
        open_source(SourceEntry(source=f"s3://{bucket.name}/rows.jsonl"), tmp_path)
    assert "secret" in (caught.value.faults[0].fix or "")
    with pytest.raises(SpecError, match="no such secret") as missing:
        open_source(SourceEntry(source="s3://b/x", secret="nobody"), tmp_path)
    assert missing.value.faults[0].path == "dataset.source.secret"
    assert "hush" not in str(caught.value)


def test_a_store_that_cannot_be_reached(bucket: Any, tmp_path: Path) -> None:
    (tmp_path / "home/secrets/store/AWS_ENDPOINT_URL").write_text("http://127.0.0.1:9")
    with pytest.raises(DataError, match="the store cannot be read"):
        open_source(entry(f"s3://{bucket.name}/x.jsonl"), tmp_path)
