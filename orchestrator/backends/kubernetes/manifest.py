"""The Job of a launch: `k8s/job.yaml`, or the operator's own, with what the launch decides laid over it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from orchestrator.backend_sections import KubernetesSection
from orchestrator.backends import LaunchRequest, ReportTo
from orchestrator.backends.kubernetes.objects import QUEUE
from orchestrator.backends.kubernetes.observe import CONTAINER
from orchestrator.backends.kubernetes.tokens import AUDIENCE
from orchestrator.contract import REPORT_TOKEN, REPORT_URL, run_key
from orchestrator.errors import BackendError, SettingsError
from orchestrator.machines import Machine
from orchestrator.named_secrets import not_allowed
from orchestrator.shipped import shipped_folder

COMPONENT = "app.kubernetes.io/component"
RUN, LAUNCH, STEP = "axo/run", "axo/launch", "axo/step"
STORAGE = "axo/storage"
SCRATCH = "scratch"
QUEUE_PRIORITY = "kueue.x-k8s.io/priority-class"
_SECRETS, _REPORT = "/secrets", "/report"
_SECRET_MODE = 0o440  # the pod's group reads it, by fsGroup; nobody else does
_TOKEN_SECONDS = 3600

Object = dict[str, Any]


def read_template(path: Path | None) -> Object:
    """The Job that launches are laid over.

    Raises:
        SettingsError: there is none at `path`, or it has no container of the name that launches fill in.
    """
    file = path or shipped_folder("k8s") / "job.yaml"
    try:
        template = yaml.safe_load(file.read_text(encoding="utf-8"))
        names = [each["name"] for each in template["spec"]["template"]["spec"]["containers"]]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        hint = "copy k8s/job.yaml and change what you need"
        raise SettingsError(
            f"{file} is not a Job that launches could be laid over: {error}", hint=hint
        ) from error
    if CONTAINER not in names:
        hint = f"call the one that runs the step `{CONTAINER}`"
        raise SettingsError(f"the Job in {file} has no container named {CONTAINER}", hint=hint)
    return dict(template)


def job_manifest(template: Mapping[str, Any], launch: LaunchRequest, settings: KubernetesSection) -> Object:
    """What is sent to the API server for a launch; the same for the same arguments.

    Raises:
        BackendError: the launch cannot be one here: its storage is no volume, or a secret is not allowed.
    """
    job: Object = copy.deepcopy(dict(template))
    labels = {RUN: launch.run, LAUNCH: str(launch.launch), STEP: launch.step}
    _metadata(job).update(name=launch.name, namespace=settings.namespace)
    _metadata(job).setdefault("annotations", {})[STORAGE] = launch.storage
    pod = job["spec"]["template"]
    for thing in (job, pod):
        _metadata(thing).setdefault("labels", {}).update(labels)
    _lay_over_pod(pod_of(job), launch, settings)
    _lay_over_queue(job, launch)
    return job


def pod_of(job: Mapping[str, Any]) -> Object:
    """What a Job makes its pods of."""
    spec: Object = job["spec"]["template"]["spec"]
    return spec


def launch_of(job: Mapping[str, Any], is_ours: Callable[[str], bool]) -> str | None:
    """The name of the launch that a Job is; None for somebody else's, and for one whose storage is not
    ours."""
    metadata = job["metadata"]
    labels = metadata.get("labels") or {}
    ours = is_ours(str((metadata.get("annotations") or {}).get(STORAGE)))
    return f"{labels[RUN]}-{labels[LAUNCH]}" if ours and RUN in labels and LAUNCH in labels else None


def _lay_over_pod(pod: Object, launch: LaunchRequest, settings: KubernetesSection) -> None:
    container = next(each for each in pod["containers"] if each["name"] == CONTAINER)
    preparing = launch.step == "prepare"
    container["image"] = settings.service_image if preparing else settings.trainer_image
    module = "orchestrator.steps" if preparing else "orchestrator.trainer"
    container["command"] = ["python", "-m", module]
    container["args"] = [f"{launch.storage}/{run_key(launch.run)}", str(launch.launch)]
    _lay_over_machine(pod, container, launch.machine)
    _open_storage(pod, container, launch, settings)
    for secret in launch.secrets:
        _check_secret(secret, settings)
        _mount_secret(pod, container, secret)
    if launch.report:
        _let_report(pod, container, launch.report)


def _lay_over_machine(pod: Object, container: Object, machine: Machine) -> None:
    """Its devices, its share of the node, and which nodes it may be on; the template's own variables stay."""
    resources = container.setdefault("resources", {})
    requests, limits = (resources.setdefault(kind, {}) for kind in ("requests", "limits"))
    if machine.cpus is not None:
        requests["cpu"] = f"{machine.cpus:g}"
    for name, gib in (("memory", machine.host_memory_gib), ("ephemeral-storage", machine.scratch_gib)):
        if gib is not None:  # as much as it asks for: nothing is taken from it later
            requests[name] = limits[name] = f"{gib * 1024:.0f}Mi"
    if machine.scratch_gib is not None:
        for volume in pod.get("volumes", ()):
            if volume["name"] == SCRATCH and "emptyDir" in volume:
                volume["emptyDir"] = {**volume["emptyDir"], "sizeLimit": limits["ephemeral-storage"]}
    for name, value in machine.thread_variables().items():
        _set_variable(container, name, value)
    if machine.device == "gpu":
        requests[machine.gpu_resource] = limits[machine.gpu_resource] = str(machine.devices)
    if machine.node_selector:
        pod["nodeSelector"] = {**pod.get("nodeSelector", {}), **machine.node_selector}
    if machine.tolerations:
        pod["tolerations"] = [*pod.get("tolerations", []), *map(dict, machine.tolerations)]
    if machine.priority:
        pod["priorityClassName"] = machine.priority


def _lay_over_queue(job: Object, launch: LaunchRequest) -> None:
    """In a queue it is made suspended, so that nothing starts before Kueue says so, whoever sees it first."""
    if launch.queue:
        job["spec"]["suspend"] = True
        job["metadata"]["labels"][QUEUE] = launch.queue
        if launch.priority:
            job["metadata"]["labels"][QUEUE_PRIORITY] = launch.priority
    elif launch.priority:
        job["spec"]["template"]["spec"]["priorityClassName"] = launch.priority


def _open_storage(pod: Object, container: Object, launch: LaunchRequest, settings: KubernetesSection) -> None:
    """A bucket is opened by the secret that its URL names, a Secret of the namespace; a folder is mounted."""
    url = urlsplit(launch.storage)
    if url.scheme == "s3":
        if url.username:
            _mount_secret(pod, container, unquote(url.username))
    elif settings.storage_claim is None:
        raise BackendError(
            f"launches cannot reach the storage {launch.storage}",
            hint="let AXO_STORAGE be s3://<secret>@<bucket>/<prefix>, or a folder of the volume that "
            "`kubernetes.storage_claim` names",
        )
    else:
        _mount_storage(pod, container, launch, unquote(url.path), settings.storage_claim)


def _mount_storage(pod: Object, container: Object, launch: LaunchRequest, top: str, claim: str) -> None:
    """The service and its launches see the volume at one place, so that a URL means the same to both.

    Preparing fills storage; the other steps see their own run, and what they read, and nothing else.
    """
    name = "storage"
    _add_volume(pod, name, {"persistentVolumeClaim": {"claimName": claim}})
    if launch.step == "prepare":
        _mount(container, name, top)
        return
    run = run_key(launch.run)
    _mount(container, name, f"{top}/{run}", subPath=run)
    for key in launch.reads:
        _mount(container, name, f"{top}/{key}", subPath=key, readOnly=True)


def _check_secret(secret: str, settings: KubernetesSection) -> None:
    if secret not in settings.secrets:
        what, fix = not_allowed(secret, "kubernetes.secrets")
        raise BackendError(what, hint=fix)


def _mount_secret(pod: Object, container: Object, secret: str) -> None:
    if any(volume["name"] == f"secret-{secret}" for volume in pod.get("volumes", ())):
        return  # a spec may name the one that opens storage
    _add_volume(pod, f"secret-{secret}", {"secret": {"secretName": secret, "defaultMode": _SECRET_MODE}})
    _mount(container, f"secret-{secret}", f"{_SECRETS}/{secret}", readOnly=True)
    _set_variable(container, "AXO_SECRETS", _SECRETS)


def _set_variable(container: Object, name: str, value: str) -> None:
    """Tell the program, unless the operator's own Job does."""
    variables = container.setdefault("env", [])
    if not any(each["name"] == name for each in variables):
        variables.append({"name": name, "value": value})


def _let_report(pod: Object, container: Object, report: ReportTo) -> None:
    """Give the pod a token that is good for reports alone; the kubelet renews it."""
    token = {"audience": AUDIENCE, "expirationSeconds": _TOKEN_SECONDS, "path": "token"}
    _add_volume(pod, "report", {"projected": {"sources": [{"serviceAccountToken": token}]}})
    _mount(container, "report", _REPORT, readOnly=True)
    told = {REPORT_URL: report.url, REPORT_TOKEN: f"{_REPORT}/token"}
    container.setdefault("env", []).extend({"name": name, "value": value} for name, value in told.items())


def _add_volume(pod: Object, name: str, volume: Object) -> None:
    pod.setdefault("volumes", []).append({"name": name, **volume})


def _mount(container: Object, volume: str, path: str, **how: object) -> None:
    container.setdefault("volumeMounts", []).append({"name": volume, "mountPath": path, **how})


def _metadata(thing: Object) -> Object:
    metadata: Object = thing.setdefault("metadata", {})
    return metadata
