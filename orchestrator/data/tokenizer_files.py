"""A model folder's tokenizer, put together as the trainer puts it together.

transformers 5.16.1 does not always take `tokenizer.json` as it lies there: some classes (Qwen2, Llama,
Gemma, GPT-2, GPT-NeoX) keep its vocabulary and merges and bring a normalizer and a pre-tokenizer of their
own. The rules are those of its `tokenization_utils_base.py` and `tokenization_utils_tokenizers.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Tokenizer

from orchestrator.data.tokenizer_classes import (
    AS_IT_LIES,
    CLASSES,
    MISTRAL_MODELS,
    Json,
    TokenizerClass,
    class_for,
    rebuilt,
)
from orchestrator.errors import DataError, Fault

NAMED_TOKENS = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)
STAGE_AGAIN = "stage the model again"
TOKEN_SETTINGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


@dataclass(frozen=True)
class LoadedTokenizer:
    """The working tokenizer and its named special tokens, as chat templates see them.

    `exact` is False where the trainer's tokenizer class rebuilds the tokenizer by rules that are not known
    here; counts are then an estimate.
    """

    tokenizer: Tokenizer
    named_tokens: Mapping[str, str]
    exact: bool


def load_tokenizer(folder: Path) -> LoadedTokenizer:
    """Read `folder`; raises DataError with the fix for a folder the trainer could not use this way."""
    definition = _read(folder / "tokenizer.json")
    if definition is None:
        fix = "stage the model with its fast tokenizer; a slow one is saved as tokenizer.json by transformers"
        raise DataError([Fault("the model has no tokenizer.json", file=str(folder), fix=fix)])
    config = _read(folder / "tokenizer_config.json") or {}
    model = _read(folder / "config.json") or {}
    _refuse_mistral_format(folder, model)

    class_name = class_for(_text(model, "model_type"), _hub_class(config, model))
    rebuilding = CLASSES.get(class_name) if _is_bpe(definition) else None
    try:
        special = _special_tokens(folder, config, definition, rebuilding)
        if rebuilding is not None:
            definition = rebuilt(definition, rebuilding.pipeline(config, special.texts()))
        working = _working(definition, special, split_special=bool(config.get("split_special_tokens")))
    except (DataError, OSError, MemoryError):
        raise
    except Exception as error:  # whatever stands in the files; the library itself raises nothing narrower
        what, why = "the model's tokenizer cannot be read", f"{type(error).__name__}: {error}"
        raise DataError([Fault(what, STAGE_AGAIN, why, file=str(folder))]) from error
    return LoadedTokenizer(
        tokenizer=working,
        named_tokens=_as_templates_see(special.texts(), class_name),
        exact="auto_map" not in config and (rebuilding is not None or class_name in AS_IT_LIES),
    )


def model_template(folder: Path) -> str:
    """The folder's own chat template: a file beats the entry in tokenizer_config.json.

    Raises DataError where there is none, or several: Axolotl can be given one only.
    """
    file = folder / "chat_template.jinja"
    config = _read(folder / "tokenizer_config.json") or {}
    entry: object = config.get("chat_template")
    if file.is_file():
        try:
            entry = file.read_text(encoding="utf-8")
        except ValueError as error:
            what = "the chat template is not UTF-8"
            raise DataError([Fault(what, STAGE_AGAIN, str(error), str(file))]) from error
    if isinstance(entry, list) or any((folder / "additional_chat_templates").glob("*.jinja")):
        fix = "give the one to use as the chat template of the spec"
        raise DataError([Fault("the model has several chat templates", file=str(folder), fix=fix)])
    if not isinstance(entry, str) or not entry:
        fix = "choose an instruction-tuned model, or give a chat template in the spec"
        raise DataError([Fault("the model has no chat template", file=str(folder), fix=fix)])
    return entry


def _read(path: Path) -> Json | None:
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError([Fault("not valid JSON", STAGE_AGAIN, str(error), str(path))]) from error
    return content if isinstance(content, dict) else {}


def _refuse_mistral_format(folder: Path, model: Json) -> None:
    if _text(model, "model_type") in MISTRAL_MODELS and (folder / "tekken.json").exists():
        fix = "leave tekken.json out of the staged model: tokenizer.json is used then"
        why = "beside tekken.json the trainer would take Mistral's own tokenizer, which has no chat template"
        raise DataError([Fault("the model has a tekken.json", file=str(folder), why=why, fix=fix)])


def _hub_class(config: Json, model: Json) -> str | None:
    return _text(config, "tokenizer_class") or _text(model, "tokenizer_class")


def _text(record: Json, key: str) -> str | None:
    value = record.get(key)
    return value if isinstance(value, str) and value else None


def _is_bpe(definition: Json) -> bool:
    model = definition.get("model")
    return isinstance(model, dict) and model.get("type") == "BPE"


@dataclass(frozen=True)
class _Special:
    """Added tokens by id, named tokens, further tokens; a plain text stands for a token of no settings."""

    added: Mapping[int, AddedToken]
    named: Mapping[str, str | AddedToken]
    further: tuple[str | AddedToken, ...]

    def texts(self) -> dict[str, str]:
        return {name: str(token) for name, token in self.named.items()}


def _special_tokens(
    folder: Path, config: Json, definition: Json, rebuilding: TokenizerClass | None
) -> _Special:
    """The map file and the added tokens of tokenizer.json count only where the config lists none."""
    values = dict(config)
    listed = config.get("added_tokens_decoder")
    if isinstance(listed, dict):
        added = {int(number): _token(entry) for number, entry in listed.items()}
    else:
        values |= _read(folder / "special_tokens_map.json") or {}
        entries = definition.get("added_tokens")
        added = {e["id"]: _token(e) for e in entries} if isinstance(entries, list) else {}
    by_text = {str(token): token for token in added.values()}
    named = {
        name: by_text.get(str(token), token)
        for name, token in _named(values, rebuilding.defaults if rebuilding else {}).items()
    }
    return _Special(added, named, _further(values))


def _named(values: Json, defaults: Mapping[str, str]) -> dict[str, str | AddedToken]:
    """The seven standard tokens in their order, then the model's own; null in the folder beats a default."""
    own = [key for key in values if key.endswith("_token") and key not in NAMED_TOKENS]
    extra = values.get("extra_special_tokens", values.get("additional_special_tokens"))
    candidates: dict[str, object] = {key: values.get(key, defaults.get(key)) for key in NAMED_TOKENS}
    candidates |= {key: values[key] for key in own} | (extra if isinstance(extra, dict) else {})
    return {key: _token_or_text(value) for key, value in candidates.items() if isinstance(value, str | dict)}


def _further(values: Json) -> tuple[str | AddedToken, ...]:
    extra = values.get("extra_special_tokens", values.get("additional_special_tokens"))
    return tuple(_token_or_text(value) for value in extra) if isinstance(extra, list) else ()


def _token_or_text(value: object) -> str | AddedToken:
    return value if isinstance(value, str) else _token(value)


def _token(entry: object) -> AddedToken:
    fields = entry if isinstance(entry, dict) else {"content": str(entry)}
    settings = {key: bool(fields[key]) for key in TOKEN_SETTINGS if key in fields}
    return AddedToken(str(fields.get("content", "")), **settings)


def _working(definition: Json, special: _Special, *, split_special: bool) -> Tokenizer:
    tokenizer = Tokenizer.from_str(json.dumps(definition))
    tokenizer.encode_special_tokens = split_special
    tokenizer.add_tokens(_missing(tokenizer, special))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _missing(tokenizer: Tokenizer, special: _Special) -> list[str | AddedToken]:
    """The special tokens that the tokenizer does not have yet, or has with other settings."""
    present = tokenizer.get_added_tokens_decoder().values()
    settings = {repr(token) for token in present}
    missing = [token for _, token in sorted(special.added.items()) if repr(token) not in settings]
    texts = {str(token) for token in present} | {str(token) for token in missing}
    for token in (*special.named.values(), *special.further):
        if str(token) not in texts:
            missing.append(AddedToken(token, special=True) if isinstance(token, str) else token)
            texts.add(str(token))
    return list(missing)


def _as_templates_see(named: dict[str, str], class_name: str) -> dict[str, str]:
    """Axolotl 0.19.0 gives a tokenizer without a padding token one (`loaders/tokenizer.py`)."""
    if "pad_token" in named:
        return named
    if class_name in ("LlamaTokenizer", "CodeLlamaTokenizer"):
        return {**named, "pad_token": "</s>"}
    return {**named, "pad_token": named["eos_token"]} if "eos_token" in named else named
