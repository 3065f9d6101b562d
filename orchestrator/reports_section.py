"""The section `reports` of the settings file: where training tells the service how far it is."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from orchestrator.spec.base import Closed

ReportUrl = Annotated[
    str, StringConstraints(max_length=1000, pattern=r"^https?://[^\s/?#@]+[^\s?#]*$|^unix:///\S+$")
]


class ReportsSection(Closed):
    """Reports of progress over the network. Without them, the service reads all of it from storage."""

    url: ReportUrl = Field(
        description="This service as launches reach it, such as http://axo.axo.svc:8520; or unix:///run/axo/"
        "reports.sock, which it then listens on, for launches of this machine."
    )
