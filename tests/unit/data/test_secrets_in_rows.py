"""Secrets in texts that would be trained on are counted by kind and row, and never shown."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from orchestrator.contract import FileStore
from orchestrator.data.analysis import UnfitError, analyse
from orchestrator.data.inputs import Inputs
from orchestrator.data.prepare import prepare
from orchestrator.data.report import Finding
from orchestrator.spec.models import Spec
from orchestrator.spec.secrets import _KINDS, LIKE_A_SECRET, WITH_NEIGHBOUR, find_secret

KEY, BLOCK = "AKIA" + "ABCD1234" * 2, "-----BEGIN RSA PRIVATE " + "KEY-----"
# Put together here, so that nobody's scanner takes this file for a leak.
SECRETS = {
    "a key of this service": "axo_" + "k7m2p9qx_" + "aB3d" * 12,
    "a Hugging Face token": "hf_" + "aB3d" * 8,
    "an AWS access key": KEY,
    "a GitHub token": "ghp_" + "aB3d" * 9,
    "a GitLab token": "glpat-" + "aB3d" * 5,
    "an OpenAI or Anthropic key": "sk-" + "ant-api03-" + "aB3d" * 8,
    "a Slack token": "xoxb-" + "12345-" * 4,
    "a Google key": "AIza" + "aB3d-" * 7,
    "a private key": BLOCK,
    "a Stripe key": "sk_live_" + "aB3d" * 6,
    "a PyPI token": "pypi-AgE" + "aB3d" * 12,
    "an npm token": "npm_" + "aB3d" * 9,
    "a JSON web token": ".".join(["eyJ" + "hbGciOiJ" * 2, "eyJ" + "zdWIiOiI" * 2, "aB3d" * 6]),
    "a password in an address": "postgres://me:" + "pass5@db.example/x",
}
HARMLESS = (
    "task-2024-oriented-dialogue-systems-report",
    "ftp://files.example:2021/a b@c",
    "xAKIAABCD1234ABCD1234",
    "AKIA is how they begin",
    "sk-learn-is-a-library-of-some-size",
)
MAPPING = {"messages": [{"role": "user", "content": "{{ q }}"}, {"role": "assistant", "content": "{{ a }}"}]}


def inputs(folder: Path, rows: list[dict[str, Any]], mapping: dict[str, Any], method: str = "sft") -> Inputs:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    raw = {"name": "n", "base_model": "b", "dataset": {"source": "rows.jsonl"}, "mapping": mapping}
    return Inputs.open(Spec.model_validate({**raw, "method": method}), folder, None)


def told(inputs: Inputs, scratch: Path) -> dict[str, Finding]:
    report = analyse(inputs, scratch).report
    kind = re.compile("looks like (.*),")
    return {
        found[1]: finding
        for finding in report.findings
        if finding.code == "secret_in_text" and (found := kind.search(finding.message))
    }


def test_every_kind_in_either_message(tmp_path: Path) -> None:
    assert SECRETS.keys() == {kind for kind, _ in _KINDS}
    rows = [{"q": f"my key: {secret} ok?", "a": f"row {n}"} for n, secret in enumerate(SECRETS.values())]
    rows += [{"q": f"row {n}", "a": f"ключ ({secret})"} for n, secret in enumerate(SECRETS.values())]
    rows += [{"q": text, "a": "fine"} for text in HARMLESS]
    found = told(inputs(tmp_path, rows, MAPPING), tmp_path)
    for at, kind in enumerate(SECRETS):
        assert [example.row for example in found[kind].examples] == [at + 1, at + 1 + len(SECRETS)]
        assert (found[kind].count, found[kind].severity) == (2, "warn")
    assert len(found) == len(SECRETS)


def test_beside_a_message_without_text(tmp_path: Path) -> None:
    """A broken pair of the history makes its row red, and is no reason to stop before that is told."""
    rows: list[dict[str, Any]] = [{"q": "q", "a": f"a {n}", "h": []} for n in range(20)]
    rows += [{"q": f"key {KEY}", "a": "a", "h": [["asked", None]]}]
    opened = inputs(tmp_path, rows, {**MAPPING, "history": "h"})
    assert {kind: found.count for kind, found in told(opened, tmp_path).items()} == {"an AWS access key": 1}


def test_plain_text(tmp_path: Path) -> None:
    rows = [{"t": "nothing"}, {"t": f"{KEY} and {BLOCK}"}]
    found = told(inputs(tmp_path, rows, {"text": "{{ t }}"}, "pretrain"), tmp_path)
    assert {kind: finding.count for kind, finding in found.items()} == {
        "an AWS access key": 1,
        "a private key": 1,
    }


def test_a_secret_is_never_told(tmp_path: Path) -> None:
    """Nor kept: not in the report, the samples, or what storage says of the dataset."""
    rows = [{"q": f"key {KEY}", "a": f"answer {n % 2} {KEY}"} for n in range(12)]
    opened, store = inputs(tmp_path, rows, MAPPING), FileStore(tmp_path / "storage")
    (tmp_path / "scratch").mkdir()
    dataset = prepare(opened, store, tmp_path / "scratch")
    assert dataset.report.of("warn")
    written = [path for path in (tmp_path / "storage").rglob("*.json") if path.is_file()]
    assert len(written) > 2
    assert not [path for path in written if KEY in path.read_text()]
    with pytest.raises(UnfitError) as caught:
        analyse(opened, tmp_path, strict=True)
    assert KEY not in str(caught.value)
    assert "an AWS access key" in str(caught.value)


@pytest.mark.parametrize("secret", SECRETS.values())
@pytest.mark.parametrize("around", ["{}", " {} ", "\n{}", "é{}é", '"{}"'])
def test_polars_finds_what_python_finds(secret: str, around: str) -> None:
    text = around.format(secret)
    assert find_secret(text)
    frame = pl.DataFrame({"t": [text]}).select(
        pl.col("t").str.contains(LIKE_A_SECRET).alias("like"), pl.col("t").str.extract_all(WITH_NEIGHBOUR)
    )
    like, pieces = frame.row(0)
    assert like
    assert any(find_secret(piece) for piece in pieces)
