"""The OpenAPI document: what FastAPI makes of the routes, with their sentences as summaries, and examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel

from orchestrator import wire
from orchestrator.errors import Fault
from orchestrator.reasons import Reason
from orchestrator.runs import Intent, Status

_SPEC = """\
name: triage
base_model: org/model@0123abc
dataset: {source: tickets.csv, validation: 0.05}
mapping:
  messages:
    - {role: user, content: "{{ text }}"}
    - {role: assistant, content: "{{ queue }}"}
"""
_MAPPING = "conversation: {column: messages}\n"
_DIGEST, _OTHER, _TIME = "5" * 64, "8" * 64, 1_764_000_000.0
_ADDRESS = f"upload://{_DIGEST}/tickets.csv"


def operation_id(route: APIRoute) -> str:
    """`runs_cancel` for the function `cancel` of the resource `runs`."""
    return f"{route.tags[0]}_{route.name}" if route.tags else route.name


def document(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """What makes an application's document, once."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = made()
            for operation in operations(found):
                operation["summary"] = operation.get("description", "").split(". ")[0].rstrip(".")
            for body in examples():
                if schema := found["components"]["schemas"].get(type(body).__name__):
                    schema["examples"] = [body.model_dump(mode="json")]
        return app.openapi_schema or {}

    return openapi


def operations(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every operation of a document."""
    for path in found["paths"].values():
        yield from (operation for name, operation in path.items() if name in _METHODS)


_METHODS = ("get", "post", "put", "delete", "patch")


def examples() -> Iterator[BaseModel]:
    """One of each body."""
    run = _run()
    publication = wire.Publication(
        registry="mlflow", reference="models:/triage/3", version="3", url="", digest=_OTHER, time=_TIME
    )
    yield wire.Submission(spec=_SPEC, uploads={"dataset.source": _ADDRESS})
    yield wire.CloneAsked(name="triage-2", changes={"training.learning_rate": "1e-4"})
    yield run
    yield wire.RunDetail(
        **run.model_dump(), spec={"name": "triage"}, spec_text=_SPEC, spec_digest=_DIGEST, attempts=1
    )
    yield wire.RunPage(items=[run], cursor=f"{_TIME}:{run.id}")
    yield publication
    yield wire.Deleted(run=run.id, time=_TIME, removed=True, versions=[publication])
    yield wire.Attempt(number=1, launch=2, step="train", started=_TIME, reached=120)
    yield wire.Event(id=7, run=run.id, time=_TIME, status="training")
    yield wire.Series(key="loss", count=240, points=[wire.Point(step=240, value=0.41, time=_TIME)])
    yield wire.Point(step=240, value=0.41, time=_TIME)
    yield wire.LogPart(launch=2, attempt=1, offset=0, size=9, text="training\n")
    yield wire.FileAsked(sha256=_DIGEST, size=9_000_000)
    yield wire.File(
        sha256=_DIGEST, size=9_000_000, part_size=4_194_304, missing=[1, 2], complete=False, created=_TIME
    )
    yield wire.MappingAsked(text=_MAPPING)
    yield wire.MappingListed(**_mapping())
    yield wire.NamedMapping(**_mapping(), text=_MAPPING)
    yield wire.MappingPage(items=[wire.MappingListed(**_mapping())])
    yield wire.Adapter(run=run.id, digest=_OTHER, files=[_adapter_file()])
    yield _adapter_file()
    yield wire.KeyAsked(name="ci", role="submitter")
    yield wire.Key(**_key())
    yield wire.FreshKey(**_key(), key="axo_...")
    yield wire.Machine(name="a100-1", device="gpu", gpu="A100", memory_gib=80, price_per_hour=3.2)
    yield wire.Registry(kind="mlflow", url="https://mlflow.example")
    yield wire.Dataset(
        digest=_OTHER,
        rows=9_500,
        validation_rows=500,
        tokens=1_900_000,
        size=3_150_000,
        created=_TIME,
        used=_TIME,
        runs=[run.id],
    )
    yield wire.Model(**publication.model_dump(), run=run.id, name="triage", base_model=run.base_model)
    yield _plan()
    yield wire.Reported(offset=18_240, again=1.0)
    yield wire.ProblemBody(error=_problem())
    yield _problem()


def _run() -> wire.Run:
    return wire.Run(
        id="triage-x7k2p",
        name="triage",
        status=Status.WAITING,
        intent=Intent.RUN,
        reason=Reason.STARTING,
        created=_TIME,
        updated=_TIME,
        base_model="org/model@0123abc",
        machine="a100-1",
    )


def _plan() -> wire.Plan:
    return wire.Plan(
        name="triage",
        spec_digest=_DIGEST,
        splits={"train": {"rows": 9_500, "tokens": 1_900_000, "trained_tokens": 310_000}},
        steps=890,
        steps_exact=False,
        micro_batch_size=4,
        accumulation=8,
        config={"sequence_len": 2048},
        config_text="sequence_len: 2048\n",
    )


def _adapter_file() -> wire.AdapterFile:
    return wire.AdapterFile(path="adapter_model.safetensors", size=73_911_112, sha256=_DIGEST)


def _mapping() -> dict[str, Any]:
    return {"name": "chats", "sha256": _DIGEST, "updated": _TIME}


def _key() -> dict[str, Any]:
    return {
        "id": "k7m2p9qa",
        "project": "default",
        "name": "ci",
        "role": "submitter",
        "created": _TIME,
        "creator": "admin",
    }


def _problem() -> wire.Problem:
    fault = Fault("there is no such key", "did you mean epochs?", file="spec.yaml", line=9)
    return wire.Problem(code="spec", message="1 fault", request_id="4f1c2a9be07d5e13", faults=[fault])
