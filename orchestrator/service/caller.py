"""Who asks: every verb takes one, and sees only its project."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from orchestrator.db import Change
from orchestrator.errors import ForbiddenError


class Role(IntEnum):
    """What one may do; each may do what those before it may."""

    VIEWER = 1
    SUBMITTER = 2
    ADMIN = 3

    @classmethod
    def of(cls, label: str) -> Role:
        """The role of that label."""
        return cls[label.upper()]

    @property
    def label(self) -> str:
        return self.name.lower()


@dataclass(frozen=True)
class Caller:
    """Who asks, for which project, in which role; `local` for somebody on the service's own machine,
    whose paths are the service's paths. `operator` for whom the service belongs to: it asks nobody who they
    are, so its secrets are theirs. `request` is the id of what they ask now, `address` where it comes from
    over a network."""

    project: str = "default"
    role: Role = Role.ADMIN
    name: str = "local"
    local: bool = False
    operator: bool = False
    request: str = ""
    address: str = ""

    def change(self, action: str, subject: str, now: float) -> Change:
        """What the audit log says of something that the caller does now."""
        return Change(now, self.name, self.project, action, subject, self.request, self.address)

    def need(self, role: Role) -> None:
        """Raises ForbiddenError where the caller's role does not reach `role`."""
        if self.role < role:
            raise ForbiddenError(
                f"this needs the role {role.label}; {self.name} is {self.role.label} in {self.project}",
                hint="ask an admin of the project for a key with that role",
            )


LOCAL = Caller(local=True, operator=True)
