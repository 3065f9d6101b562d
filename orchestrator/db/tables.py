"""The tables. Change them only with a migration (`db/migrations/versions`; `migrate` has the rule)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    false,
    text,
)

from orchestrator.db.columns import Number, Words

metadata = MetaData()
_Counter = BigInteger().with_variant(Integer, "sqlite")  # which counts up columns of that very type alone

runs = Table(
    "runs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("spec_digest", String(64), nullable=False),
    Column("spec", JSON, nullable=False),
    Column("spec_text", Words, nullable=False),
    Column("base", Words, nullable=False),
    Column("storage", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("reason", String(32)),
    Column("message", Words, nullable=False, server_default=""),
    Column("intent", String(16), nullable=False),
    Column("created", Float, nullable=False),
    Column("updated", Float, nullable=False),
    Column("ended", Float),
    Column("mlflow_run", String(64)),
    Column("mlflow_url", Text),
    Column("tracked", String(16)),
    Column("lost_steps", Integer, nullable=False, server_default="0"),
    Column("facts", JSON, nullable=False),
    Column("project", String(64), nullable=False, server_default="default"),
    Column("owner", String(200), nullable=False, server_default="local"),
    Column("look", Float),  # when the controller must look at it next; NULL: not before something is wanted
    Column("step", Integer),
    Column("total_steps", Integer),
    Column("loss", Number),
    Column("mappings", JSON, nullable=False, server_default="{}"),  # texts of the mapping files it names
    Column("uploads", JSON, nullable=False, server_default="{}"),  # `upload://` addresses by their fields
    Column("tell", Float),  # when MLflow must next be told of it; NULL: it knows everything
    Column("keep", String(8)),
    Column("temporary", Boolean, nullable=False, server_default=false()),
    Column("pinned", Boolean, nullable=False, server_default=false()),
    Column("expires", Float),  # when adapter and checkpoints go; NULL: nobody was warned of that
    Column("expired", Float),
    Column("stored", BigInteger, nullable=False, server_default="0"),  # bytes of checkpoints and adapter
    Column("measured", Float),
    Column("points", BigInteger, nullable=False, server_default="0"),
    Column("points_left_out", BigInteger, nullable=False, server_default="0"),  # as there were too many
    Index(
        "runs_to_expire",
        "ended",
        sqlite_where=text("temporary AND expired IS NULL"),
        postgresql_where=text("temporary AND expired IS NULL"),
    ),
    Index("runs_due", "look"),
    Index("runs_to_tell", "tell"),
    Index("runs_of_project", "project", "created", "id"),
    Index("runs_by_spec", "spec_digest", "status"),
    Index("runs_by_name", "project", "name", "created", "id"),
    Index("runs_by_status", "project", "status", "created", "id"),
)

launches = Table(
    "launches",
    metadata,
    Column("run", String(64), ForeignKey("runs.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("step", String(16), nullable=False),
    Column("micro_batch_size", Integer),
    Column("created", Float, nullable=False),
    Column("stalled", Float),  # when it was stopped since nothing was heard of it
    Column("token", String(64)),  # the SHA-256 of what it reports with, where that is of our making
    Index("launches_by_token", "token"),
)

# The first value of a point wins: a retrained step brings the same one, and counts as lost.
points = Table(
    "points",
    metadata,
    Column("run", String(64), ForeignKey("runs.id"), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("value", Number),
    Column("time", Float, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("shipped", Boolean, nullable=False),
    Index(
        "points_to_ship",
        "run",
        "step",
        "key",
        sqlite_where=text("NOT shipped"),
        postgresql_where=text("NOT shipped"),
    ),
)

# What an attempt's metric record has said so far; `offset` is how many of its bytes were read.
attempts = Table(
    "attempts",
    metadata,
    Column("run", String(64), ForeignKey("runs.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("launch", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("started", Float),
    Column("last", Float),
    Column("total_steps", Integer),
    Column("resumed_from", Integer),
    Column("checkpoint", Integer, nullable=False),
    Column("checkpoint_time", Float),
    Column("heard", Float),  # when the service took in its newest bytes
)

# What registries confirmed. It outlives its run: once that is deleted, the last three columns tell of it.
publications = Table(
    "publications",
    metadata,
    Column("run", String(64), primary_key=True),
    Column("target", Integer, primary_key=True),
    Column("registry", String(16), nullable=False),
    Column("reference", Words, nullable=False),
    Column("version", String(200), nullable=False),
    Column("url", Words, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("time", Float, nullable=False),
    Column("project", String(64)),
    Column("name", String(64)),
    Column("base_model", Text),
)

events = Table(
    "events",
    metadata,
    Column("id", _Counter, primary_key=True, autoincrement=True),
    Column("run", String(64), ForeignKey("runs.id"), nullable=False),
    Column("time", Float, nullable=False),
    Column("status", String(16), nullable=False),
    Column("reason", String(32)),
    Column("message", Words, nullable=False),
    Column("count", Integer, nullable=False, server_default="1"),
    Column("since", Float),  # when it happened first, where that is counted
    Index("events_of_run", "run", "id"),
)

# A submission that came with an idempotency key, and the run that it got, which may be deleted since.
requests = Table(
    "requests",
    metadata,
    Column("project", String(64), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("run", String(64), nullable=False),
    Column("created", Float, nullable=False),
)

# Runs that somebody deleted. Their ids are not given again: MLflow, registries and the audit log know them.
deleted_runs = Table(
    "deleted_runs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", String(64), nullable=False),
    Column("storage", Text, nullable=False),
    Column("mlflow_url", Text),
    Column("time", Float, nullable=False),
)

# Folders of storage that nobody may need any more, until they are gone.
removals = Table(
    "removals",
    metadata,
    Column("id", _Counter, primary_key=True, autoincrement=True),
    Column("storage", Text, nullable=False),
    Column("folder", Text, nullable=False),
    Column("time", Float, nullable=False),
)

# Who may act, until when; `fence` counts the holders.
leases = Table(
    "leases",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("holder", String(200), nullable=False),
    Column("fence", Integer, nullable=False),
    Column("expires", Float, nullable=False),
)

# One row: the oldest version of the schema whose code may work with what there is (`migrate`).
schema = Table("schema", metadata, Column("oldest", String(16), primary_key=True))

# API keys; `digest` is all that is kept of a key's text.
keys = Table(
    "keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("project", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("role", String(16), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("created", Float, nullable=False),
    Column("creator", String(200), nullable=False),
    Column("expires", Float),
    Column("revoked", Float),
    Column("used", Float),
    Index("keys_of_project", "project", "created"),
)

# A file that a client uploads or has uploaded; `finished` when all of it had arrived.
files = Table(
    "files",
    metadata,
    Column("project", String(64), primary_key=True),
    Column("sha256", String(64), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("owner", String(200), nullable=False),
    Column("created", Float, nullable=False),
    Column("used", Float, nullable=False),
    Column("finished", Float),
)

# Prepared datasets that a project holds, or has held until `deleted`. What is at `storage` under a digest was
# last `removed` then: a preparation that began before cannot count on it.
datasets = Table(
    "datasets",
    metadata,
    Column("project", String(64), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("storage", Text, nullable=False),
    Column("facts", JSON, nullable=False),
    Column("created", Float, nullable=False),
    Column("used", Float, nullable=False),
    Column("size", BigInteger),
    Column("deleted", Float),
    Column("removed", Float),
    Index("datasets_of_project", "project", "used"),
    Index("datasets_by_digest", "digest"),
)

# Mappings that specs of a project name; runs keep the text that they were submitted with.
mappings = Table(
    "mappings",
    metadata,
    Column("project", String(64), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("text", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("updated", Float, nullable=False),
)


def _change() -> list[Column[Any]]:
    """The columns of a change that somebody made, as the log holds it and as it waits for that."""
    return [
        Column("time", Float, nullable=False),
        Column("actor", String(200), nullable=False),
        Column("project", String(64), nullable=False),
        Column("action", String(64), nullable=False),
        Column("subject", String(200), nullable=False),
        Column("request", String(64), nullable=False),
        Column("address", String(64)),  # NULL: written before it was kept
    ]


# What people changed; `chain` has how rows hang together.
audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    *_change(),
    Column("previous", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    Index("audit_of_project", "project", "id"),
    Index("audit_of_subject", "subject", "id"),
)

# What is yet to be put into the chain that `audit` is, in the order in which it came to be seen.
audit_waiting = Table(
    "audit_waiting",
    metadata,
    Column("id", _Counter, primary_key=True, autoincrement=True),
    *_change(),
)

# One row: the number and the digest of the audit log's last row.
audit_head = Table(
    "audit_head",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("digest", String(64), nullable=False),
)
