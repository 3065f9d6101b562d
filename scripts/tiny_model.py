"""Make a tiny chat model on a CPU: the stand-in for a base model where none can be downloaded.

    python scripts/tiny_model.py FOLDER [--seed N] [--steps N] [--quick]

Runs in the trainer's environment (torch, transformers). It makes a Llama of about 0.8 million parameters, a
byte-level BPE tokenizer and a ChatML template, and teaches the model one skill: to read a short message
and name the thing it is about ("Topic: kettle"). A LoRA adapter can build on that, since what the
message says already reaches the answer; from a model that never learned to carry anything there,
training gets stuck at guessing on some seeds.

`--quick` leaves the teaching out: random weights of the same shape, for tests that only need
something to train. The same seed gives the same bytes on the same machine.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

# Before torch is imported: with more threads a model this small gets slower, and sums change their order.
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1")

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

VOCABULARY_SIZE = 1024
POSITIONS = 1024
BATCH_SIZE = 32
LEARNING_RATE = 3e-3
END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"

# ChatML. The loop variable must be called `message`: under any other name Axolotl drops tool calls.
CHAT_TEMPLATE = """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- 'Tools:' }}
    {%- for tool in tools %}
        {{- '\\n' + tool | tojson }}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if not (tools and loop.first and message.role == 'system') %}
        {{- '<|im_start|>' + message.role + '\\n' }}
        {%- if message.content %}
            {{- message.content }}
        {%- endif %}
        {%- for call in message.tool_calls or [] %}
            {{- '\\n<tool_call>' + (call.function or call) | tojson + '</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    began = time.monotonic()
    if options.folder.exists():
        print(f"{options.folder} is there already; remove it to make a new one", file=sys.stderr)
        return 1
    make(options.folder, seed=options.seed, steps=0 if options.quick else options.steps)
    print(f"{options.folder}: made in {time.monotonic() - began:.1f} s")
    return 0


def make(folder: Path, *, seed: int, steps: int) -> None:
    """Write model, tokenizer and chat template to `folder`, which appears whole or not at all."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    tokenizer = _tokenizer()
    model = _model(tokenizer)
    _teach(model, tokenizer, seed=seed, steps=steps)
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        model.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        _open_to_all(scratch)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _open_to_all(folder: Path) -> None:
    # Temporary folders and safetensors files are private to the user; a model folder may be mounted elsewhere.
    folder.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(0o644)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Make a tiny chat model on a CPU.")
    parser.add_argument("folder", type=Path, help="where to write it; must not exist")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1000, help="teaching steps")
    parser.add_argument("--quick", action="store_true", help="random weights of the same shape, no teaching")
    return parser.parse_args(arguments)


def _tokenizer() -> PreTrainedTokenizerFast:
    # The tokenizer does not follow the seed: models of different seeds share one vocabulary.
    lessons = _lessons(random.Random(0))
    corpus = [text for _ in range(4000) for text in (lambda lesson: (lesson.question, lesson.answer))(next(lessons))]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY_SIZE,
            special_tokens=[END_OF_TEXT, TURN_START, TURN_END],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=TURN_END,
        pad_token=END_OF_TEXT,
        additional_special_tokens=[TURN_START],
        chat_template=CHAT_TEMPLATE,
        model_max_length=POSITIONS,
        clean_up_tokenization_spaces=False,
    )


def _model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    config = LlamaConfig(
        # Fixed, not the number of tokens learned: a multiple of 64 is what fast kernels and servers expect.
        vocab_size=VOCABULARY_SIZE,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=POSITIONS,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


@dataclass(frozen=True)
class _Lesson:
    system: str
    question: str
    answer: str


def _lessons(rng: random.Random) -> Iterator[_Lesson]:
    """Messages about one thing each, in other words each time; the answer names the thing."""
    while True:
        thing = rng.choice(THINGS)
        yield _Lesson(system=rng.choice(SYSTEMS), question=_message(rng, thing), answer=f"Topic: {thing}")


def _message(rng: random.Random, thing: str) -> str:
    title = rng.choice(TITLES).format(thing=thing)
    about = rng.choice(ABOUT).format(thing=thing, person=rng.choice(PEOPLE), time=rng.choice(TIMES))
    around = [rng.choice(AROUND).format(person=rng.choice(PEOPLE), time=rng.choice(TIMES)) for _ in range(rng.randint(0, 2))]
    sentences = [about, *around]
    rng.shuffle(sentences)
    return f"{title}\n\n{' '.join(sentences)}"


def _teach(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, *, seed: int, steps: int) -> None:
    """Train all weights on `steps` batches of fresh lessons; the loss counts answers only."""
    lessons = _lessons(random.Random(seed))
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    for step in range(1, steps + 1):
        batch = _batch([next(lessons) for _ in range(BATCH_SIZE)], tokenizer)
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % 50 == 0:
            print(f"step {step}/{steps}: loss {loss.item():.3f}", file=sys.stderr, flush=True)


def _rate(step: int, steps: int) -> float:
    """The share of the learning rate at a step: a short linear rise, then a cosine to zero."""
    rise = 30
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def _batch(lessons: Sequence[_Lesson], tokenizer: PreTrainedTokenizerFast) -> dict[str, torch.Tensor]:
    prompts = [f"{TURN_START}system\n{lesson.system}{TURN_END}\n{TURN_START}user\n{lesson.question}{TURN_END}\n"
               f"{TURN_START}assistant\n" for lesson in lessons]
    asked = tokenizer(prompts)["input_ids"]
    answered = tokenizer([f"{lesson.answer}{TURN_END}" for lesson in lessons])["input_ids"]
    width = max(len(a) + len(b) for a, b in zip(asked, answered, strict=True))
    rows = [[*a, *b, *[tokenizer.pad_token_id] * (width - len(a) - len(b))] for a, b in zip(asked, answered)]
    labels = [[-100] * len(a) + b + [-100] * (width - len(a) - len(b)) for a, b in zip(asked, answered)]
    return {"input_ids": torch.tensor(rows), "labels": torch.tensor(labels)}


THINGS = """
kettle lamp chair table window door garden bicycle car bus train ticket hotel flight suitcase passport
camera phone laptop keyboard screen printer charger battery cable headphones speaker router network
password login account profile email message invoice refund payment card charge subscription price discount
receipt tax order parcel delivery courier address package warehouse return exchange warranty repair
size colour shirt jacket shoes book letter magazine newspaper recipe bread coffee tea milk apple orange
soup dinner restaurant kitchen fridge oven washing machine vacuum heater thermostat light switch
app website page button report file folder backup update download error crash setting language
meeting calendar project budget contract manager team training course lesson exam school
doctor medicine hospital tooth sleep river mountain beach weather rain snow storm tree flower dog cat
bird horse fish music song film game ball football tennis museum painting bridge station airport
bank loan rent house roof wall floor paint hammer drill screw engine tyre brake fuel road map
""".split()
SYSTEMS = ["You name the topic of a message.", "You are a helpful assistant.", "You read messages.", "You answer in one line."]
PEOPLE = "Anna Ben Carla David Elena Farid Grace Hiro Ines Jonas Kofi Laura Marek Nadia Omar Priya Rosa Sven Tara Yuki".split()
TIMES = ["today", "yesterday", "this morning", "last week", "on Monday", "on Friday", "since the weekend",
         "two days ago", "an hour ago", "for a while", "every time", "again"]
TITLES = ["{thing}", "About the {thing}", "Question about my {thing}", "The {thing} again", "Help with {thing}",
          "my {thing}", "{thing} problem", "Need help: {thing}", "News on the {thing}?"]
ABOUT = [
    "I wanted to ask about the {thing}.",
    "The {thing} does not work {time}.",
    "{person} told me about the {thing} {time}.",
    "My {thing} is not what I expected.",
    "Can you tell me what happens with my {thing}?",
    "We have been waiting for the {thing} {time}.",
    "There is something wrong with the {thing}.",
    "Could you please have a look at the {thing}?",
    "I still have not got an answer about my {thing}.",
]
AROUND = [
    "Thanks in advance, {person}",
    "Hello, my name is {person}.",
    "Please get back to me as soon as you can.",
    "I tried it {time} and nothing changed.",
    "It was fine before.",
    "Let me know if you need more from me.",
    "Hi there,",
    "Best regards, {person}",
    "I have been a customer for years.",
    "This is the second time I write.",
    "Who can help me with this?",
    "It happened {time}.",
]

if __name__ == "__main__":
    sys.exit(main())
