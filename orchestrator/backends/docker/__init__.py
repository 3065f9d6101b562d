"""Launches as containers of a Docker engine on the service's machine: one per launch, made once by its name.

The engine keeps an ended container until it is removed, so it is the record of its launch; what belongs to
it on this machine lies in `<home>/docker/<launch>`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.backends import BackendAway, LaunchRequest, launch_name, token_file
from orchestrator.backends.asked import first_asked
from orchestrator.backends.docker.container import (
    HOME,
    LAUNCH,
    RUN,
    Place,
    container_request,
    report_socket,
    storage_folder,
    written_keys,
)
from orchestrator.backends.docker.engine import AlreadyThere, Engine, NotThere
from orchestrator.backends.docker.observe import observation
from orchestrator.errors import BackendError
from orchestrator.runs import Observation, Phase
from orchestrator.settings import Settings

_LOG_LINES = 5000


class DockerBackend:
    """Runs launches on one engine, which sees the same files as the service."""

    vouches = False

    def __init__(self, settings: Settings) -> None:
        assert settings.docker is not None
        self._settings = settings
        self._section = settings.docker
        self._engine = Engine(settings.docker.host)

    def request(self, launch: LaunchRequest) -> Mapping[str, Any]:
        return container_request(launch, self._section, self._place(launch.name))

    def check(self, launch: LaunchRequest) -> None:
        image = self.request(launch)["Image"]
        if not self._engine.has_image(image):
            raise _no_image(image)

    def launch(self, launch: LaunchRequest) -> None:
        body = self.request(launch)
        _lay_out(self._place(launch.name), launch, self._settings.secrets)
        try:
            self._engine.create(launch.name, body)
        except NotThere as error:
            raise _no_image(body["Image"]) from error
        except AlreadyThere as error:
            if self._labels(launch.name) != body["Labels"]:
                hint = f"remove it: docker rm {launch.name}"
                raise BackendError(f"somebody else's container is called {launch.name}", hint=hint) from error
            if self.observe(launch.name).phase is not Phase.MISSING:
                return  # running, or has been
        self._start(launch.name)

    def observe(self, name: str) -> Observation:
        try:
            state = self._engine.inspect(name)["State"]
        except NotThere:
            return Observation(Phase.MISSING)
        except BackendError as error:
            return Observation(Phase.UNKNOWN, detail=str(error))
        return observation(state, stopped=self._asked(name).exists())

    def on_news(self, hear: Callable[[str], None]) -> None:
        """It is asked."""

    def stop(self, name: str, now: float) -> None:
        if self.observe(name).phase is not Phase.RUNNING:
            return
        asked = first_asked(self._asked(name), now)
        number = signal.SIGTERM if now - asked < self._section.grace_seconds else signal.SIGKILL
        try:
            self._engine.signal(name, number)
        except (NotThere, AlreadyThere):
            return  # it has left meanwhile

    def logs(self, name: str) -> str:
        try:
            return self._engine.logs(name, _LOG_LINES)
        except BackendError:
            return ""

    def launches(self) -> Sequence[str]:
        ours = self._engine.labelled(f"{HOME}={self._settings.home}")
        return sorted(launch_name(each["Labels"][RUN], int(each["Labels"][LAUNCH])) for each in ours)

    def remove(self, name: str) -> None:
        if self.observe(name).phase in (Phase.RUNNING, Phase.UNKNOWN):
            return
        with contextlib.suppress(NotThere):
            self._engine.remove(name)
        shutil.rmtree(self._place(name).folder, ignore_errors=True)
        token_file(self._settings.home, name).unlink(missing_ok=True)

    def note_checkpoint(self, name: str, step: int, saved: float) -> None:
        """Nobody takes its place."""

    def holder(self, credential: str) -> str | None:
        return None

    def close(self) -> None:
        self._engine.close()

    def _start(self, name: str) -> None:
        """Start a created container; one that cannot be started is taken back."""
        try:
            self._engine.start(name)
        except NotThere:
            return  # somebody removed it meanwhile; it is observed as missing
        except BackendAway:
            raise
        except BackendError:
            self.remove(name)
            raise

    def _labels(self, name: str) -> Mapping[str, str]:
        labels: Mapping[str, str] = self._engine.inspect(name)["Config"]["Labels"]
        return labels

    def _asked(self, name: str) -> Path:
        """The file that says when a launch was first asked to stop."""
        return self._place(name).folder / "stop"

    def _place(self, name: str) -> Place:
        """A service that is root runs its launches as somebody else, others as themselves."""
        folder = self._settings.home / "docker" / name
        user, group = os.getuid(), os.getgid()
        return Place(
            self._settings.home, folder, user or self._section.user, group if user else self._section.user
        )


def _no_image(image: str) -> BackendError:
    hint = f"build it with `scripts/images`, or fetch it: docker pull {image}"
    return BackendError(f"the Docker engine has no image {image}", hint=hint)


def _lay_out(place: Place, launch: LaunchRequest, secrets: Path) -> None:
    """Make the folders that are mounted, each to be written by the container's user."""
    place.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    top = storage_folder(launch.storage)
    for key in launch.reads:
        (top / key).mkdir(parents=True, exist_ok=True)
    for folder in (place.scratch, *(top / key for key in written_keys(launch))):
        folder.mkdir(parents=True, exist_ok=True)
        _give(folder, place)
    if launch.report and launch.report.token:
        report_socket(launch.report).parent.mkdir(parents=True, exist_ok=True)
        _give(launch.report.token, place)
    for name in launch.secrets:
        target = place.secrets / name
        if (secrets / name).is_dir() and not target.exists():
            shutil.copytree(secrets / name, target)
            _give(place.secrets, place)


def _give(folder: Path, place: Place) -> None:
    """Let the container's user own a file, or a folder and all below, where we may."""
    if os.getuid() == 0:
        if folder.is_file():
            os.chown(folder, place.user, place.group)
        for top, _, files in os.walk(folder):
            for path in (Path(top), *(Path(top) / file for file in files)):
                if path.lstat().st_uid != place.user:
                    os.chown(path, place.user, place.group, follow_symlinks=False)
