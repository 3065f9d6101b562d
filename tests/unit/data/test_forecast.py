"""What a run comes to, where it ends by epochs, by max_steps, or never by itself."""

from __future__ import annotations

import polars as pl
import pytest

from orchestrator.data.forecast import Forecast, forecast
from orchestrator.data.tally import tally
from orchestrator.spec.training import Training

ROWS, LENGTH = 64, 16


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        ({"epochs": 2.0}, Forecast(16, True, 2 * ROWS * LENGTH)),
        ({"epochs": 2.0, "max_steps": 4}, Forecast(4, True, ROWS * LENGTH // 2)),
        ({"epochs": 2.0, "max_steps": 40}, Forecast(16, True, 2 * ROWS * LENGTH)),
        ({"epochs": 2.0, "packing": True}, Forecast(4, False, 2 * ROWS * LENGTH)),
        ({"epochs": 2.0, "packing": True, "max_steps": 8}, Forecast(8, True, 4 * ROWS * LENGTH)),
        ({"packing": True, "streaming": True, "max_steps": 9}, Forecast(9, True, 9 * 8 * 64)),
    ],
)
def test_a_forecast(training: dict[str, object], expected: Forecast) -> None:
    """Packed, four rows fill a sequence, so a batch of 8 takes 32 rows; max_steps then always holds."""
    counts = {"tokens": [LENGTH] * ROWS, "trained": LENGTH, "cut": 0, "split": "train", "reason": None}
    lengths = tally([pl.DataFrame(counts).lazy()]).lengths("train")
    settings = Training.model_validate({"batch_size": 8, "sequence_len": 64, **training})
    assert forecast(lengths, settings) == expected
