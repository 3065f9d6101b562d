"""The prepare step: stage the base model, prove and prepare the data; and the same without writing."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from orchestrator.adapters import find_adapter, stage_adapter
from orchestrator.contract import ContractError, Store, model_key
from orchestrator.data.analysis import MAX_RED_SHARE, Analysis, UnfitError, analyse, refuse
from orchestrator.data.forecast import Forecast, forecast
from orchestrator.data.inputs import Inputs
from orchestrator.data.lengths import RowTokenizer
from orchestrator.data.prepare import prepare
from orchestrator.data.recall import (
    Summary,
    files_key,
    recall,
    recall_files,
    remember,
    remember_files,
)
from orchestrator.data.report import Report
from orchestrator.data.samples import Sample
from orchestrator.data.shapes import TEXT, shape_of
from orchestrator.data.text_tokens import TextTokenizer
from orchestrator.data.tokens import ChatTokenizer
from orchestrator.defaults import SlowTemplates
from orchestrator.errors import DataError, Fault, FaultsError, SpecError
from orchestrator.spec.mapping import Mapping as RowMapping
from orchestrator.spec.models import Spec
from orchestrator.staging import ResolvedModel, resolve_model, stage_model
from orchestrator.steps.uploaded import with_uploads_here
from orchestrator.steps.work import Work


@dataclass(frozen=True)
class Inspection:
    """What a spec's data comes to, without a byte written to storage.

    `splits` has rows, tokens and lengths of each split, `dropped` the rows left out by reason, `samples`
    the first rows as they would be trained. `faults` are those that would stop the run; with faults in
    the files or the mapping, or in the base model, the rest is what could still be found out.
    """

    faults: tuple[Fault, ...]
    report: Report | None = None
    splits: Mapping[str, Mapping[str, Any]] | None = None
    dropped: Mapping[str, int] | None = None
    forecast: Forecast | None = None
    samples: tuple[Sample, ...] = ()


def prepare_step(work: Work) -> dict[str, Any]:
    """Stage the model and prepare the dataset of the plan's spec; the facts that planning goes on with.

    Raises:
        SpecError: the base model cannot be used.
        DataError: the data or its mapping cannot.
    """
    spec, base = _task(work)
    model = _model(spec, base)
    work.say(f"base model {spec.model}: {model.folder}")
    tokenizer = load_tokenizer(model, spec.mapping)
    with _mapping_is_data():
        dataset = prepare(
            Inputs.open(
                spec, base, tokenizer, work.plan.task.get("slow_templates", "allow"), model.positions
            ),
            work.storage,
            work.scratch,
            strict=bool(work.plan.task.get("strict")),
            say=work.say,
        )
    remember_files(work.storage, files_key(spec, base, model.folder), dataset.description["input_key"])
    for finding in dataset.report.findings:
        work.say(f"{finding.severity}: {finding.fault()}")
    work.fence.check()
    digest = stage_model(work.storage, model)
    work.say(f"model in storage: {model_key(digest)}")
    earlier = None
    if spec.adapter.continue_from:
        found = find_adapter(spec.adapter.continue_from, base, work.storage)
        earlier = stage_adapter(work.storage, found, model_key(digest))
        work.say(f"goes on from the adapter {found.reference}: {earlier['key']}")
    return {
        "model": digest,
        "earlier_adapter": earlier,
        "model_revision": model.revision,
        "dataset": dataset.digest,
        "dataset_facts": dataset.facts,
        "input_key": dataset.description["input_key"],
        "prepared_before": dataset.reused,
        "report": dataset.description["report"],
        "splits": dataset.description["splits"],
        "dropped": dataset.description["dropped"],
    }


def inspect(
    spec: Spec,
    base: Path,
    slow_templates: SlowTemplates = "allow",
    *,
    strict: bool = False,
    storage: Store | None = None,
    cache: Store | None = None,
    write: Callable[[Analysis], None] | None = None,
) -> Inspection:
    """What `axo check` shows; `base` is where relative paths start.

    What was prepared into `storage`, or inspected with the same `cache`, is recalled instead of read again.
    Nothing is written but scratch files, and records in `cache`. `write` is given all rows, read again, where
    there is no fault.
    """
    faults: tuple[Fault, ...] = ()
    known = tokenizer = files = positions = None
    stores = [store for store in (storage, cache) if store is not None]
    try:
        model = _model(spec, base)
        positions = model.positions
        files = files_key(spec, base, model.folder)
        known = None if write else recall_files(stores, files)
        tokenizer = None if known else load_tokenizer(model, spec.mapping)
    except FaultsError as error:
        faults = tuple(error.faults)
    try:
        if known:
            summary = known
        else:
            inputs = Inputs.open(spec, base, tokenizer, slow_templates, positions)
            if write and not faults:
                summary = _analysed(inputs, write, strict=strict)
            else:
                summary = _summary(inputs, stores, cache, files)
        refuse(summary.report, slow_templates, strict=strict, max_red_share=MAX_RED_SHARE)
    except UnfitError as error:
        return Inspection((*faults, *error.faults), error.report)
    except FaultsError as error:
        return Inspection((*faults, *error.faults))
    counts = forecast(summary.lengths, spec.training) if summary.counted else None
    return Inspection(faults, summary.report, summary.splits, summary.dropped, counts, summary.samples)


def _summary(inputs: Inputs, stores: Sequence[Store], cache: Store | None, files: str | None) -> Summary:
    """What an input comes to: recalled by its key, or else found out and kept in `cache`.

    Raises as `prepare` does; without a tokenizer nothing is recalled or kept.
    """
    if inputs.tokenizer is None:
        return _analysed(inputs)
    key = inputs.key
    summary = recall(stores, key) or _analysed(inputs)
    if cache is not None:
        remember(cache, key, summary)
        remember_files(cache, files, key)
    return summary


def _analysed(
    inputs: Inputs, write: Callable[[Analysis], None] = lambda _: None, *, strict: bool = False
) -> Summary:
    with tempfile.TemporaryDirectory(prefix="axo-check-") as scratch:
        analysis = analyse(inputs, Path(scratch), strict=strict)
        write(analysis)
        return analysis.summary()


def _task(work: Work) -> tuple[Spec, Path]:
    """The spec of a plan, its uploads brought here, and the folder that its relative paths start from:
    `AXO_INPUTS` in a container, which has it at a place of its own."""
    task = work.plan.task
    try:
        spec, base = Spec.model_validate(task["spec"]), os.environ.get("AXO_INPUTS") or task["base"]
    except (KeyError, ValidationError) as error:
        raise ContractError(f"the plan holds no spec that this version reads: {error}") from error
    if not (uploads := task.get("uploads")):
        return spec, Path(base)
    folder = work.scratch / "uploads"
    return with_uploads_here(spec, Path(base) if base else None, work.storage.below(uploads), folder)


def _model(spec: Spec, base: Path) -> ResolvedModel:
    return resolve_model(spec.model, base, spec.model_secret, chat=shape_of(spec.mapping) != TEXT)


def load_tokenizer(model: ResolvedModel, mapping: RowMapping) -> RowTokenizer:
    """The model's tokenizer for rows of a mapping.

    Raises:
        SpecError: what is wrong with it is the base model's fault, not the data's.
    """
    try:
        if shape_of(mapping) == TEXT:
            return TextTokenizer.load(model.folder)
        return ChatTokenizer.load(model.folder)
    except DataError as error:
        raise SpecError([replace(fault, path="base_model") for fault in error.faults]) from error


@contextlib.contextmanager
def _mapping_is_data() -> Iterator[None]:
    """A mapping that does not fit the columns is told as a fault of the data, not of the config."""
    try:
        yield
    except SpecError as error:
        raise DataError(error.faults) from error
