"""Whether the device that a plan is for is there at all."""

from __future__ import annotations


class NoDevice(Exception):
    """The spec's machine has a GPU, and PyTorch sees none here."""


def require(device: str) -> None:
    """Raises NoDevice where a plan is for a GPU and none is seen."""
    if device != "gpu":
        return
    import torch

    if not torch.cuda.is_available():
        raise NoDevice(
            "The spec's machine has a GPU, and PyTorch sees none here. Let `compute.machine` name one "
            "without, such as `cpu`, or mend the driver: `axo doctor` says what it sees."
        )
