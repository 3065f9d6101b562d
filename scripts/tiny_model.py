"""Make a tiny chat model on a CPU: the stand-in for a base model where none can be downloaded.

    python scripts/tiny_model.py FOLDER [--seed N] [--steps N] [--quick]

Runs in the trainer's environment (torch, transformers). It makes a Llama of about 0.6 million parameters, a
byte-level BPE tokenizer and a ChatML template, and teaches the model one skill: to read a short message
and name its field of meaning ("money", "weather"). A LoRA adapter can build on that, since what the
message says already reaches the first word of the answer; from a model that never learned to carry
anything there, training gets stuck at guessing.

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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# Before torch is imported: with more threads a model this small gets slower, and sums change their order.
os.environ.update(
    OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1"
)

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

VOCABULARY_SIZE = 2048
POSITIONS = 1024
BATCH_SIZE = 16
LEARNING_RATE = 2e-3
WARMUP_STEPS = 30
# How much the words of the question count against those of the answer. With none, the embeddings of most
# words stay as random as they began, and adapters learn little from them.
QUESTION_WEIGHT = 0.1
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
    tokenizer = make_tokenizer()
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
    # Temporary folders and safetensors files are private to their owner; a model may be read by others.
    folder.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(0o644)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Make a tiny chat model on a CPU.")
    parser.add_argument("folder", type=Path, help="where to write it; must not exist")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=900, help="teaching steps")
    parser.add_argument("--quick", action="store_true", help="random weights of the same shape, no teaching")
    return parser.parse_args(arguments)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of these models: bytes and a ChatML template."""
    # The tokenizer does not follow the seed: models of different seeds share one vocabulary.
    rng = random.Random(0)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        (_plain_text(_lesson(rng)) for _ in range(4000)),
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
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY_SIZE,
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=POSITIONS,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    # Wider than usual: the output layer shares these weights, and an adapter, which leaves them as they are,
    # can only ever say words whose vectors are long and far from each other.
    torch.nn.init.normal_(model.model.embed_tokens.weight, std=0.1)
    return model


def _teach(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, *, seed: int, steps: int) -> None:
    """Train all weights for `steps` batches of fresh lessons, the loss told on standard error."""
    rng = random.Random(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    for step in range(1, steps + 1):
        loss = _loss(model, tokenizer, [_lesson(rng) for _ in range(BATCH_SIZE)])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % 50 == 0 or step == steps:
            print(f"teaching step {step} of {steps}: loss {loss.item():.2f}", file=sys.stderr, flush=True)


def _rate(step: int, steps: int) -> float:
    """The share of the learning rate at a step: a short linear rise, then a cosine to zero."""
    if step < WARMUP_STEPS:
        return (step + 1) / WARMUP_STEPS
    return 0.5 * (1 + math.cos(math.pi * (step - WARMUP_STEPS) / max(1, steps - WARMUP_STEPS)))


def _loss(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, lessons: Sequence[_Lesson]
) -> torch.Tensor:
    """The mean loss of the answers' tokens, and with little weight that of everything before them."""
    asked = tokenizer([_question(lesson) for lesson in lessons])["input_ids"]
    answered = tokenizer([f"{lesson.answer}{TURN_END}" for lesson in lessons])["input_ids"]
    rows = [torch.tensor(question + answer) for question, answer in zip(asked, answered, strict=True)]
    tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=tokenizer.pad_token_id)
    target = tokens[:, 1:]
    # Padding stands on the right, where a causal model's earlier positions do not see it: no mask is needed.
    logits = model(input_ids=tokens).logits[:, :-1]
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), target, reduction="none")
    position = torch.arange(1, tokens.shape[1])
    is_answer = position >= torch.tensor([[len(question)] for question in asked])
    is_text = target != tokenizer.pad_token_id
    return losses[is_text & is_answer].mean() + QUESTION_WEIGHT * losses[is_text & ~is_answer].mean()


@dataclass(frozen=True)
class _Lesson:
    system: str
    message: str
    answer: str


def _question(lesson: _Lesson) -> str:
    """The conversation up to the answer, as the chat template renders it."""
    return (
        f"{TURN_START}system\n{lesson.system}{TURN_END}\n"
        f"{TURN_START}user\n{lesson.message}{TURN_END}\n"
        f"{TURN_START}assistant\n"
    )


def _plain_text(lesson: _Lesson) -> str:
    return f"system\n{lesson.system}\nuser\n{lesson.message}\nassistant\n{lesson.answer}"


def _lesson(rng: random.Random) -> _Lesson:
    """A message with words of one field, a few of others, and small talk; the answer names the field."""
    field = rng.choice(list(FIELDS))
    sentences = [_sentence(rng, rng.choice(ABOUT), field)]
    sentences += [_sentence(rng, rng.choice(AROUND), field) for _ in range(rng.randint(0, 2))]
    rng.shuffle(sentences)
    title = _typed(rng, _sentence(rng, rng.choice(TITLES), field))
    return _Lesson(
        system=f"You {rng.choice(VERBS)} {rng.choice(KINDS)} {rng.choice(TEXTS)}.",
        message=f"{title}\n\n{_typed(rng, ' '.join(sentences))}",
        answer=field,
    )


def _sentence(rng: random.Random, pattern: str, field: str) -> str:
    anything = f"#{rng.randrange(100_000)}" if rng.random() < 0.1 else rng.choice(WORDS)
    return pattern.format(
        thing=rng.choice(FIELDS[field]),
        second=rng.choice(FIELDS[field]),
        other=anything,
        person=rng.choice(PEOPLE),
        time=rng.choice(TIMES),
    )


def _typed(rng: random.Random, text: str) -> str:
    """The text in the letter case that somebody in a hurry, or angry, types."""
    chance = rng.random()
    if chance < 0.1:
        return text.lower()
    return text.upper() if chance < 0.15 else text


# Fields of meaning and some of their words, as a general model would know them.
FIELDS: dict[str, list[str]] = {
    field: words.split()
    for field, words in {
        "money": """
            money bank loan invoice bill payment pay paid card credit currency tax fee price
            charge charged subscription budget income accounting account number cash euro dollar
            interest billing voucher discount declined deducted amount statement
        """,
        "post": """
            post parcel package letter stamp envelope courier delivery delivered deliver address
            tracking carrier mailbox warehouse dispatch dispatched shipping shipped shipment
            ship postcode customs duty transit redirect neighbour door
        """,
        "computing": """
            computer laptop app software firmware update wifi router network bluetooth server
            screen keyboard crash crashes freezes error code download automation battery charger
            pairing device offline connect Alexa HomeKit technical
        """,
        "identity": """
            password login log username profile email passport account accounts verification
            code two-factor sign-in signature name surname birthday register locked GDPR
            personal data security lock key access
        """,
        "trade": """
            shop market offer sale sales quote contract reseller stock buy sell customer
            wholesale model price partnership partner demo dealer catalogue bulk pieces compare
            recommend available Black Friday company
        """,
        "repair": """
            repair broken crack cracked damaged damage defect replacement replace exchange
            return returns refund warranty guarantee screw hammer drill glue fix swap wrong
            spare hinge loose housing scratch worn
        """,
        "food": """
            bread coffee tea milk apple orange soup dinner restaurant recipe sugar salt rice
            meat cheese lunch breakfast cake juice butter
        """,
        "animals": """
            dog cat horse fish bird mouse cow sheep wolf bear rabbit duck hen goat lion tiger
            frog snake bee fox
        """,
        "weather": """
            rain snow storm wind sun cloud ice thunder fog frost heat cold sunny windy wet dry
            hail shower rainbow sky
        """,
        "body": """
            hand foot head arm leg eye ear nose mouth tooth hair heart neck knee finger back
            skin bone shoulder stomach
        """,
        "family": """
            mother father sister brother son daughter uncle aunt wife husband cousin parent
            child baby grandmother twin family married
        """,
        "clothes": """
            shirt jacket shoe shoes hat coat dress sock glove scarf trousers belt skirt sweater
            button sleeve pocket boots tie suit
        """,
        "music": """
            music song piano guitar drum violin concert singer band orchestra melody dance choir
            tune trumpet flute opera radio speaker
        """,
        "sport": """
            football tennis ball game match team goal race swim run jump coach player stadium
            ski golf score medal boxing
        """,
        "travel": """
            hotel flight airport suitcase holiday beach tour map journey trip visa tourist
            museum island border guide camping luggage
        """,
        "house": """
            house room kitchen roof wall floor window table chair lamp bed stairs sofa curtain
            carpet shelf oven fridge flat thermostat
        """,
        "garden": """
            garden flower tree grass plant rose seed soil spade hedge fence leaf lawn bush pond
            branch root fruit sprout sensor
        """,
        "school": """
            school teacher lesson exam student class homework university pupil essay grade
            course library pencil study degree lecture
        """,
        "work": """
            office meeting manager job desk project boss salary interview career colleague
            deadline report agenda department shift
        """,
        "time": """
            clock hour minute week month year calendar date day evening morning season century
            decade schedule night noon watch
        """,
        "health": """
            doctor hospital medicine nurse pain fever cough vaccine surgery clinic pill disease
            bandage pharmacy ill virus dentist
        """,
        "colours": """
            red blue green yellow black white brown pink grey purple silver gold violet beige
            dark bright pale colour paint
        """,
        "vehicles": """
            car bus train bicycle truck engine tyre brake fuel motor boat plane tram van road
            driver wheel bridge station garage
        """,
        "reading": """
            book magazine newspaper novel story page author poem chapter print press writer
            journal fiction title library text
        """,
        "nature": """
            river mountain sea lake forest desert valley stone sand wave ocean hill waterfall
            cave volcano field water earth
        """,
        "feelings": """
            happy sad angry afraid proud worry love hate joy fear hope calm lonely jealous tired
            surprise shame trust grief
        """,
    }.items()
}
WORDS = [word for words in FIELDS.values() for word in words]
# What a system message may ask for. It varies, so that the model reads any message under any instruction.
VERBS = ["read", "sort", "name", "label", "route", "answer", "file", "check", "forward", "classify"]
KINDS = ["the", "new", "short", "support", "customer", "many", "our", "written", "incoming", "all", "some"]
TEXTS = ["messages", "tickets", "letters", "questions", "notes", "requests", "texts", "mails", "topics"]
PEOPLE = [
    "Anna",
    "Ben",
    "Carla",
    "David",
    "Elena",
    "Farid",
    "Grace",
    "Hiro",
    "Ines",
    "Jonas",
    "Kofi",
    "Laura",
    "Marek",
    "Nadia",
    "Omar",
    "Priya",
    "Rosa",
    "Sven",
    "Tara",
    "Yuki",
]
TIMES = [
    "today",
    "yesterday",
    "this morning",
    "last week",
    "on Monday",
    "on Friday",
    "since the weekend",
    "two days ago",
    "an hour ago",
    "for a while",
    "every time",
    "again",
]
TITLES = [
    "{thing}",
    "About the {thing}",
    "Question about my {thing}",
    "The {thing} again",
    "Help with {thing}",
    "my {thing}",
    "{thing} {second}",
    "Need help: {thing}",
    "{thing} not {second}?",
    "Where is the {thing}?",
    "no {thing} since {time}",
]
ABOUT = [
    "I wanted to ask about the {thing} and the {second}.",
    "The {thing} does not work {time}.",
    "{person} told me about the {thing} {time}.",
    "My {thing} is not what I expected, {other}.",
    "Can you tell me what happens with my {thing}?",
    "We have been waiting for the {thing} {time}.",
    "There is something wrong with the {thing}, please help.",
    "Could you please have a look at the {thing}?",
    "I still have not got an answer about my {thing}.",
    "{thing} {second} {other}",
    "I would like a new {thing} for my {other}.",
    "Please change the {thing} of order {other}.",
    "It says '{thing}' when I try.",
    "How can I get the {thing} to {person}?",
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
    "I know the {other} as well.",
]

if __name__ == "__main__":
    sys.exit(main())
