"""Small model folders made on the spot: a tokenizer, a config, a chat template in the manner of a family."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
from tokenizers.models import BPE

SENTENCES = (
    "You are a helpful assistant. You route support tickets to a queue.",
    "The weather in Zürich is sunny today, with 21 degrees and a light wind.",
    "What is the capital of France? The capital of France is Paris.",
    "def add(left, right):\n    return left + right\n",
    '{"name": "get_weather", "arguments": {"city": "Zürich", "days": 3}}',
    "Straße, naïve café, 東京は日本の首都です。 Привет, мир! 🙂🙃",
    "user assistant system tool function call response id type parameters object string",
)

# A safetensors file that is whole and holds no weight.
NO_WEIGHTS = (2).to_bytes(8, "little") + b"{}"

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + "
    "'<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

HEADERS = """{{- bos_token }}
{%- if note is defined %}{{- note }}{% endif %}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {%- if message.role == 'assistant' %}
        {%- generation %}{{ message['content'] | trim }}{% endgeneration %}
    {%- else %}
        {{- message['content'] | trim }}
    {%- endif %}
    {{- '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

# Written for this test in the manner of models that know no system turn and want turns to alternate.
ALTERNATING = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{%- for message in messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Roles must alternate user, assistant, user, ...') }}
    {%- endif %}
    {%- set role = 'model' if message['role'] == 'assistant' else message['role'] %}
    {{- '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}
"""

# The loop variable is not `message`, only the last turns show their thinking, tools are printed as JSON.
TOOLS = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
    {{- '# Tools' }}
    {%- for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{%- endfor %}
    {{- '<|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(last=messages | length - 1, searching=true) %}
{%- for entry in messages[::-1] %}
    {%- if ns.searching and entry.role == 'user' %}
        {%- set ns.searching = false %}
        {%- set ns.last = messages | length - 1 - loop.index0 %}
    {%- endif %}
{%- endfor %}
{%- for entry in messages %}
    {%- if entry.role == 'user' or (entry.role == 'system' and not loop.first) %}
        {{- '<|im_start|>' + entry.role + '\\n' + entry.content + '<|im_end|>\\n' }}
    {%- elif entry.role == 'assistant' %}
        {{- '<|im_start|>assistant\\n' }}
        {%- if loop.index0 > ns.last and entry.reasoning_content is defined %}
            {{- '<think>\\n' + entry.reasoning_content.strip('\\n') + '\\n</think>\\n\\n' }}
        {%- endif %}
        {{- entry.content or '' }}
        {%- for call in entry.tool_calls or [] %}
            {%- set function = call.function or call %}
            {{- '\\n<tool_call>\\n{"name": "' + function.name + '", "arguments": ' }}
            {{- function.arguments if function.arguments is string else function.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif entry.role == 'tool' %}
        {%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\\n<tool_response>\\n' + (entry.name or '') + entry.content + '\\n</tool_response>' }}
        {%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{- '<|im_end|>\\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""

INSTRUCTIONS = (
    "{{ bos_token }}{% for turn in messages %}{% if turn['role'] == 'user' %}"
    "{{ '[INST] ' + turn['content'] + ' [/INST]' }}{% elif turn['role'] == 'assistant' %}"
    "{{ ' ' + turn['content'] + eos_token }}{% else %}{{ '<<SYS>>' + turn['content'] + '<</SYS>>' }}"
    "{% endif %}{% endfor %}"
)


@dataclass(frozen=True)
class ToyModel:
    """What decides a model's counts; `pieces` marks spaces with ▁ and falls back to bytes.

    `old_layout` puts the special tokens into special_tokens_map.json and the template into the config.
    `around` is what the tokenizer makes of a plain text `$A`, such as `<s> $A`.
    """

    template: str
    model_type: str
    tokenizer_class: str
    named: dict[str, str]
    further: tuple[str, ...] = ()
    pieces: bool = False
    old_layout: bool = False
    around: str | None = None
    settings: dict[str, object] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Make `folder` with tokenizer.json, tokenizer_config.json, chat_template.jinja and config.json."""
        folder.mkdir(parents=True)
        tokenizer = _pieces(self) if self.pieces else _bytes(self)
        (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
        config = {"tokenizer_class": self.tokenizer_class, **self.settings}
        if self.old_layout:
            config["chat_template"] = self.template
            special = {name: {"content": token, "lstrip": False} for name, token in self.named.items()}
            (folder / "special_tokens_map.json").write_text(json.dumps(special), encoding="utf-8")
        else:
            config |= self.named
            (folder / "chat_template.jinja").write_text(self.template, encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
        (folder / "config.json").write_text(json.dumps(_model_config(self.model_type)), encoding="utf-8")
        return folder

    @property
    def special(self) -> list[str]:
        return list(dict.fromkeys([*self.named.values(), *self.further]))


MODELS = {
    "chatml": ToyModel(
        CHATML,
        "llama",
        "PreTrainedTokenizerFast",
        {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
        ("<|im_start|>",),
    ),
    "headers": ToyModel(
        HEADERS,
        "llama",
        "PreTrainedTokenizerFast",
        {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
        ("<|start_header_id|>", "<|end_header_id|>"),
    ),
    "bos": ToyModel(
        HEADERS,
        "llama",
        "PreTrainedTokenizerFast",
        {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
        ("<|start_header_id|>", "<|end_header_id|>"),
        around="<|begin_of_text|> $A",
        settings={"add_bos_token": False},
    ),
    "bos and eos": ToyModel(
        HEADERS,
        "qwen3",
        "Qwen2Tokenizer",
        {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
        ("<|start_header_id|>", "<|end_header_id|>"),
        around="<|begin_of_text|> $A <|eot_id|>",
    ),
    "alternating": ToyModel(
        ALTERNATING,
        "gemma2",
        "GemmaTokenizer",
        {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>"},
        ("<start_of_turn>", "<end_of_turn>"),
        pieces=True,
    ),
    "tools": ToyModel(
        TOOLS,
        "qwen3",
        "Qwen2Tokenizer",
        {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
        ("<|im_start|>", "<think>", "</think>", "<tool_call>", "</tool_call>"),
    ),
    "instructions": ToyModel(
        INSTRUCTIONS,
        "mistral",
        "LlamaTokenizer",
        {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
        pieces=True,
    ),
    "pieces": ToyModel(
        INSTRUCTIONS,
        "llama",
        "LlamaTokenizer",
        {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
        pieces=True,
        settings={"legacy": True},
    ),
    "pieces first": ToyModel(
        INSTRUCTIONS,
        "llama",
        "LlamaTokenizer",
        {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
        pieces=True,
        old_layout=True,
        settings={"legacy": False},
    ),
    "old layout": ToyModel(
        HEADERS,
        "qwen2",
        "PreTrainedTokenizerFast",
        {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
        ("<|start_header_id|>",),
        old_layout=True,
        settings={
            "additional_special_tokens": ["<|end_header_id|>", "capital"],
            "image_token": "<|image|>",
        },
    ),
    "listed": ToyModel(
        CHATML,
        "qwen3_5",
        "Qwen2TokenizerFast",
        {"eos_token": "<|im_end|>"},
        ("<|im_start|>",),
        settings={
            "bos_token": None,
            "added_tokens_decoder": {
                "0": {"content": "<|im_end|>", "special": True, "normalized": False},
                "1": {"content": "<|im_start|>", "special": True, "normalized": False},
                "2000": {"content": "assistant", "special": False, "single_word": True, "lstrip": True},
            },
        },
    ),
    "gpt": ToyModel(CHATML, "gpt2", "GPT2Tokenizer", {}, ("<|im_start|>", "<|im_end|>")),
    "neox": ToyModel(CHATML, "gpt_neox", "GPTNeoXTokenizer", {"eos_token": "<|im_end|>"}, ("<|im_start|>",)),
}


def _bytes(model: ToyModel) -> str:
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    trainer = trainers.BpeTrainer(
        vocab_size=450,
        special_tokens=model.special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    if model.around:
        special = [(token, tokenizer.token_to_id(token)) for token in model.special if token in model.around]
        tokenizer.post_processor = processors.TemplateProcessing(single=model.around, special_tokens=special)
    return str(tokenizer.to_str())


def _pieces(model: ToyModel) -> str:
    """In the manner of a converted SentencePiece model: its own normalizer, bytes for unknown letters."""
    tokenizer = Tokenizer(BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    letters = [f"<0x{number:02X}>" for number in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=[*model.special, *letters], show_progress=False
    )
    tokenizer.train_from_iterator([word for line in SENTENCES for word in line.split()], trainer)
    definition = json.loads(tokenizer.to_str())
    definition["added_tokens"] = [
        token for token in definition["added_tokens"] if token["content"] not in letters
    ]
    return json.dumps(definition)


def _model_config(model_type: str) -> dict[str, object]:
    return {
        "model_type": model_type,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "vocab_size": 1000,
        "max_position_embeddings": 4096,
    }
