"""Each part of the memory where it can be worked out by hand, and the changes that make a run fit."""

from __future__ import annotations

import random
import statistics
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from orchestrator.estimate import estimate
from orchestrator.estimate.fit import remedies
from orchestrator.estimate.memory import FOUR_BIT, memory_of
from orchestrator.estimate.model import Model, model_of
from orchestrator.estimate.speed import Rate
from orchestrator.estimate.trainable import adapted, trainable_parameters
from orchestrator.estimate.workload import Lengths, workload
from orchestrator.machines import GIB, Machine

# A Llama of 8 billion parameters, as its config.json has it.
LLAMA_8B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
LORA = {"adapter": "lora", "lora_r": 16, "lora_target_linear": True}
KEYS: dict[str, Any] = {
    "sequence_len": 2048,
    "micro_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "num_epochs": 1,
    "bf16": True,
    "gradient_checkpointing": True,
    "optimizer": "adamw_torch_fused",
}
LENGTHS = Lengths(rows=1000, tokens=600_000, shortest=20, median=500, p95=1500, longest=3000)
A100 = Machine("a100", "gpu", gpu="A100-80GB", memory_gib=80, price_per_hour=3.2)


@pytest.fixture(scope="module")
def llama() -> Model:
    model = model_of(LLAMA_8B, {})
    assert model is not None
    return model


def parts(model: Model, devices: int = 1, **keys: Any) -> Any:
    merged = {**KEYS, **keys}
    return memory_of(model, workload(merged, LENGTHS.longest, devices), merged, "gpu")


def test_an_8b_model_has_its_parameters(llama: Model) -> None:
    assert llama.parameters == 8_030_261_248  # as the hub says of it
    assert trainable_parameters(llama, LORA) == 41_943_040  # as peft prints it for r 16 on all linear layers


def test_lora_keeps_a_half_precision_base_and_a_single_precision_adapter(llama: Model) -> None:
    memory, trained = parts(llama, **LORA), trainable_parameters(llama, LORA)
    assert memory.weights == 2 * llama.parameters + 4 * trained
    assert (memory.gradients, memory.optimizer) == (4 * trained, 8 * trained)


def test_full_weights_keep_embeddings_and_norms_in_single_precision(llama: Model) -> None:
    memory = parts(llama)
    single = 2 * 128256 * 4096 + 65 * 4096
    assert memory.weights == 2 * llama.parameters + 2 * single
    assert memory.optimizer == 2 * memory.gradients == 2 * memory.weights


def test_qlora_keeps_the_layers_in_four_bits(llama: Model) -> None:
    keys = {**LORA, "adapter": "qlora", "load_in_4bit": True}
    layers = sum(tensor.size for tensor in adapted(llama, keys).values())
    rest = llama.parameters - layers
    trained = trainable_parameters(llama, keys)
    assert parts(llama, **keys).weights == pytest.approx(layers * FOUR_BIT + 2 * rest + 4 * trained)


def test_fsdp_shares_out_what_ddp_keeps_on_each_device(llama: Model) -> None:
    alone, ddp = parts(llama), parts(llama, devices=4)
    sharded = parts(llama, devices=4, fsdp_config={"reshard_after_forward": True})
    assert ddp.gradients == 2 * alone.gradients
    assert sharded.gradients == llama.parameters
    assert sharded.optimizer == 2 * llama.parameters
    assert sharded.total < ddp.total / 2


def test_gradient_checkpointing_and_smaller_batches_take_less(llama: Model) -> None:
    kept, again = parts(llama, **LORA, gradient_checkpointing=False), parts(llama, **LORA)
    assert again.activations < kept.activations / 3
    assert parts(llama, **LORA, micro_batch_size=1).activations == pytest.approx(again.activations / 4)
    assert parts(llama, **LORA, cut_cross_entropy=True).activations < again.activations


def test_the_mean_longest_of_a_micro_batch_is_that_of_drawing_it() -> None:
    rng = random.Random(0)

    def draw() -> float:
        u = rng.random()
        points = [(0.0, 20.0), (0.5, 500.0), (0.95, 1500.0), (1.0, 3000.0)]
        (a, x), (b, y) = next(p for p in pairwise(points) if u <= p[1][0])
        return x + (y - x) * (u - a) / (b - a)

    for count in (1, 4, 16):
        drawn = statistics.mean(max(draw() for _ in range(count)) for _ in range(20_000))
        assert LENGTHS.longest_of(count) == pytest.approx(drawn, rel=0.03)


def test_steps_tokens_time_and_price_follow(llama: Model) -> None:
    keys = {**KEYS, **LORA}
    found = estimate(llama, keys, LENGTHS, A100, steps=125, measured=Rate(1000.0, "measured", 30.0))
    assert found.fits
    assert 600_000 < found.tokens <= 1000 * 2048
    assert found.padding == pytest.approx(1 - 600_000 / found.tokens, abs=0.01)
    assert found.seconds == pytest.approx(30 + found.tokens / 1000)
    assert found.price == pytest.approx(found.seconds / 3600 * 3.2)
    assert found.adapter_bytes == 4 * found.trainable
    assert found.checkpoint_bytes == 12 * found.trainable


def test_a_rate_is_measured_else_said_by_the_operator_else_tabled(llama: Model) -> None:
    keys = {**KEYS, **LORA}

    def source(machine: Machine, measured: Rate | None = None) -> str:
        return estimate(llama, keys, LENGTHS, machine, measured=measured).rate.source

    said = replace(A100, tokens_per_second=5000.0)
    assert [source(A100), source(said), source(said, Rate(1.0, "measured", 1.0))] == [
        "table",
        "machine",
        "measured",
    ]
    faster = replace(A100, gpu="NVIDIA H100 80GB HBM3")
    slow, fast = (estimate(llama, keys, LENGTHS, m).rate.tokens_per_second for m in (A100, faster))
    assert fast / slow == pytest.approx(989 / 312)


def test_packed_rows_fill_whole_sequences(llama: Model) -> None:
    found = estimate(llama, {**KEYS, **LORA, "sample_packing": True}, LENGTHS, A100)
    assert found.steps == 600_000 // (2048 * 0.97) // 8
    assert found.tokens == found.steps * 8 * 2048
    assert not found.steps_exact


def test_what_does_not_fit_is_made_to_fit_by_each_change_told(llama: Model) -> None:
    small = replace(A100, name="small", memory_gib=24)
    keys = {**KEYS, **LORA, "micro_batch_size": 8, "gradient_accumulation_steps": 1}
    assert estimate(llama, keys, LENGTHS, small).fits is False
    found = remedies(llama, keys, LENGTHS, small, {"small": small, "a100": A100})
    assert [list(remedy.fields) for remedy in found] == [
        ["training.micro_batch_size"],
        ["training.sequence_len"],
        ["compute.machine"],
    ]
    micro = found[0].fields["training.micro_batch_size"]
    less = {**keys, "micro_batch_size": micro, "gradient_accumulation_steps": 8 // micro}
    assert estimate(llama, less, LENGTHS, small).fits
    more = {**keys, "micro_batch_size": micro * 2, "gradient_accumulation_steps": 4 // micro}
    assert estimate(llama, more, LENGTHS, small).fits is False
    assert found[0].told().startswith(f"training.micro_batch_size: {micro} (")


def test_changes_are_put_together_where_none_is_enough(llama: Model) -> None:
    small = replace(A100, name="small", memory_gib=10)
    found = remedies(llama, KEYS, LENGTHS, small, {"small": small})
    assert len(found) == 1
    assert {"training.micro_batch_size", "adapter.kind"} <= set(found[0].fields)
    assert found[0].needs <= found[0].limit == 10 * GIB


def test_nothing_is_promised_where_nothing_helps(llama: Model) -> None:
    tiny = replace(A100, name="tiny", memory_gib=2)
    assert remedies(llama, KEYS, LENGTHS, tiny, {"tiny": tiny}) == []


def test_a_tabled_time_on_a_cpu_is_a_range_as_wide_as_the_machine_is_busy(
    llama: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seconds(load: float, measured: Rate | None = None) -> tuple[float, float]:
        monkeypatch.setattr("os.getloadavg", lambda: (load, load, load))
        monkeypatch.setattr("os.cpu_count", lambda: 2)
        keys = {**KEYS, "bf16": False}
        found = estimate(llama, keys, LENGTHS, Machine("c", "cpu"), steps=10, measured=measured)
        assert found.to_dict()["seconds_at_most"] == pytest.approx(found.seconds_at_most, abs=0.1)
        return found.seconds, found.seconds_at_most

    (idle, idle_most), (busy, busy_most) = seconds(0.1), seconds(8.0)
    assert idle == busy
    assert (idle_most, busy_most) == (pytest.approx(3 * idle), pytest.approx(4 * busy))
    once, most = seconds(8.0, Rate(1000.0, "measured", 15.0))
    assert once == most
