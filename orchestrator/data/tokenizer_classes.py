"""Which tokenizer class the trainer takes for a model, and how the classes that rebuild themselves do so.

The tables hold facts of transformers 5.16.1: `TOKENIZER_MAPPING_NAMES` and the exceptions beside it in
`models/auto/tokenization_auto.py`, and the constructors of the classes named here. An integration test
compares them with the installed library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

PLAIN = "TokenizersBackend"
AS_IT_LIES = frozenset({PLAIN, "PythonBackend", "PreTrainedTokenizer", "PreTrainedTokenizerFast"})

MISTRAL_MODELS = frozenset({"ministral", "ministral3", "mistral", "mistral3", "mixtral"})

# Model types whose folders may name any class: the trainer takes tokenizer.json as it lies.
PLAIN_MODELS = MISTRAL_MODELS | {
    *("arctic", "chatlm", "deepseek_v2", "deepseek_v3", "deepseek_v32", "deepseek_v4"),
    *("ernie4_5", "ernie4_5_moe", "flex_olmo", "glm", "glm4", "glm4_moe", "glm4_moe_lite", "gpt_bigcode"),
    *("granite", "granitemoe", "granitemoehybrid", "granitemoeshared", "hyperclovax", "internlm2", "jamba"),
    *("kimi_k25", "mimo_v2_flash", "minicpm3", "minimax_m2", "nemotron", "olmo2", "olmo3", "olmo_hybrid"),
    *("persimmon", "phi3", "phimoe", "smolvlm", "stablelm", "step3p5"),
}

REGISTERED = {
    **dict.fromkeys(PLAIN_MODELS, PLAIN),
    **dict.fromkeys(("qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "qwen3_next"), "Qwen2Tokenizer"),
    **dict.fromkeys(("qwen3_5", "qwen3_5_moe"), "Qwen3_5Tokenizer"),
    **dict.fromkeys(
        ("gemma", "gemma2", "gemma3", "gemma3_text", "gemma3n", "gemma3n_text"), "GemmaTokenizer"
    ),
    **dict.fromkeys(("gpt2", "gpt_neo", "gptj", "opt", "phi", "starcoder2"), "GPT2Tokenizer"),
    **dict.fromkeys(("gpt_neox", "falcon_mamba", "mamba", "mpt", "olmo", "olmoe"), "GPTNeoXTokenizer"),
    **dict.fromkeys(("cohere", "cohere2"), "CohereTokenizer"),
}

# Specialised model types for which the folder's own class is known to be wrong and is overruled.
OVERRULED = frozenset({"qwen2"})

Json = dict[str, object]


def class_for(model_type: str | None, hub_class: str | None) -> str:
    """The class the trainer loads, without `Fast`; `hub_class` is what the folder asks for."""
    registered = REGISTERED.get(model_type or "")
    asked = hub_class.removesuffix("Fast") if hub_class else None
    if asked is None or asked == registered:
        return registered or PLAIN
    if registered is None:
        return asked
    return registered if registered == PLAIN or model_type in OVERRULED else asked


@dataclass(frozen=True)
class TokenizerClass:
    """A class that keeps a file's vocabulary and merges only.

    `defaults` are its special tokens where the folder names none. `pipeline` gives, from the folder's
    tokenizer_config.json and the special tokens, what stands in `tokenizer.json` for the rest.
    """

    defaults: Mapping[str, str]
    pipeline: Callable[[Json, Mapping[str, str]], Json]


def rebuilt(definition: Json, pipeline: Json) -> Json:
    """`definition`, a BPE tokenizer.json, as a class with that `pipeline` would have written it."""
    flags = {"fuse_unk": False, "byte_fallback": False, "unk_token": None, "ignore_merges": False}
    none = {"dropout": None, "continuing_subword_prefix": None, "end_of_word_suffix": None}
    model = {**_object(definition["model"]), **flags, **none, **_object(pipeline.get("model", {}))}
    return {**definition, "added_tokens": [], "normalizer": None, **pipeline, "model": model}


def _object(value: object) -> Json:
    return dict(value) if isinstance(value, Mapping) else {}


def _qwen(split: str) -> Callable[[Json, Mapping[str, str]], Json]:
    def pipeline(config: Json, named: Mapping[str, str]) -> Json:
        words = {"type": "Split", "pattern": {"Regex": split}, "behavior": "Isolated", "invert": False}
        steps = [words, _byte_level(config, use_regex=False)]
        return {"normalizer": {"type": "NFC"}, "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}}

    return pipeline


def _llama(config: Json, named: Mapping[str, str]) -> Json:
    prefix = config.get("add_prefix_space")
    scheme = "always" if config.get("legacy") else "first"
    if prefix is not None and not prefix:
        scheme = "never"
    words = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": False}
    return {"pre_tokenizer": words, "model": {"fuse_unk": True, "byte_fallback": True}}


def _gemma(config: Json, named: Mapping[str, str]) -> Json:
    space: Json = {"String": " "}
    flags = {"fuse_unk": True, "byte_fallback": True, "unk_token": named["unk_token"]}
    return {
        "normalizer": {"type": "Replace", "pattern": space, "content": "▁"},
        "pre_tokenizer": {
            "type": "Split",
            "pattern": space,
            "behavior": "MergedWithPrevious",
            "invert": False,
        },
        "model": flags,
    }


def _gpt2(config: Json, named: Mapping[str, str]) -> Json:
    return {"pre_tokenizer": _byte_level(config, use_regex=True)}


def _gpt_neox(config: Json, named: Mapping[str, str]) -> Json:
    # This class drops the file's post-processor, and with it the trimming of offsets.
    return {**_gpt2(config, named), "normalizer": {"type": "NFC"}, "post_processor": None}


def _byte_level(config: Json, *, use_regex: bool) -> Json:
    prefix = bool(config.get("add_prefix_space"))
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": use_regex}


_QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN3_5_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN_DEFAULTS = dict.fromkeys(("unk_token", "eos_token", "pad_token"), "<|endoftext|>")
_GPT_DEFAULTS = dict.fromkeys(("unk_token", "bos_token", "eos_token"), "<|endoftext|>")

CLASSES: Mapping[str, TokenizerClass] = {
    "Qwen2Tokenizer": TokenizerClass(_QWEN_DEFAULTS, _qwen(_QWEN2_SPLIT)),
    "Qwen3_5Tokenizer": TokenizerClass(_QWEN_DEFAULTS, _qwen(_QWEN3_5_SPLIT)),
    "LlamaTokenizer": TokenizerClass({"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}, _llama),
    "GemmaTokenizer": TokenizerClass(
        {
            "unk_token": "<unk>",
            "bos_token": "<bos>",
            "eos_token": "<eos>",
            "pad_token": "<pad>",
            "mask_token": "<mask>",
        },
        _gemma,
    ),
    "GPT2Tokenizer": TokenizerClass(_GPT_DEFAULTS, _gpt2),
    "GPTNeoXTokenizer": TokenizerClass({**_GPT_DEFAULTS, "pad_token": "<|padding|>"}, _gpt_neox),
}
