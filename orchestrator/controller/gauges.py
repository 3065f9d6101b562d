"""What the controller counts of itself, as Prometheus reads it; every process counts for itself."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

LEADS = Gauge("axo_controller_leads", "Whether this process drives the runs.")
RECONCILE = Histogram(
    "axo_reconcile_seconds",
    "How long one look at a run took.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
GLANCES = Counter("axo_glances_total", "Glances at runs that go on by themselves.")
ERRORS = Counter("axo_reconcile_errors_total", "Looks at a run that failed and are tried again.")
STUCK = Gauge("axo_controller_stuck", "Runs that have been in hand for too long, in a call that hangs.")
LAUNCHES = Counter("axo_launches_total", "Launches started.", ["step"])
THROTTLED = Counter("axo_launch_throttle_seconds_total", "How long queued runs waited to be due for launch.")
REPORTS = Counter("axo_reports_total", "Reports of training that were taken in.")
TOLD = Counter("axo_mlflow_told_total", "Runs that MLflow was told of.")
TELL_ERRORS = Counter("axo_mlflow_errors_total", "Times that MLflow was away or refused something.")
