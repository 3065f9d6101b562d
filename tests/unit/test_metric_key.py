"""Keys as MLflow takes them."""

from __future__ import annotations

import posixpath
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.tracking import metric_key


@pytest.mark.parametrize("key", ["loss", "train/loss", "eval loss", "a.b-c:d_e", "größe"])
def test_a_good_key_stays_as_it_is(key: str) -> None:
    assert metric_key(key) == key


@pytest.mark.parametrize(
    ("key", "becomes"),
    [
        ("a@b", "a_b"),
        ("/a", "a"),
        ("a//b/", "a/b"),
        ("../../x", "x"),
        ("", "_"),
        ("..", "_"),
        ("a\nb", "a_b"),
    ],
)
def test_a_bad_key_is_mended(key: str, becomes: str) -> None:
    assert metric_key(key) == becomes


@given(st.text(max_size=400))
def test_every_key_passes_the_rules_of_mlflow(key: str) -> None:
    """The rules: mlflow/utils/validation.py."""
    mended = metric_key(key)
    normal = posixpath.normpath(mended)
    assert re.match(r"^[/\w.\- :]*$", mended)
    assert normal == mended
    assert mended != "."
    assert not mended.startswith(("..", "/"))
    assert 0 < len(mended) <= 250
    assert metric_key(mended) == mended
