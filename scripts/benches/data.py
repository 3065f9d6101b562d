"""Rows through a three-role template, against a plain Polars scan and sink, and against `datasets.map`.

Then the whole prepare step but for tokens. Each measurement is a process of its own, and the variants take
turns; medians are shown. A machine is rarely idle, so look at the ratios.

`datasets.map` renders the same templates with Jinja, row by row, and a second time runs a Python function
written for these rows. Both read to Arrow first, use one process, and must write the mapping's own rows.
CSV is also written as Parquet, which is what preparing does: a CSV cell holds messages as JSON text only.
"""

from __future__ import annotations

import json
import random
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from benches._measure import Cost, cost, middle, most

WORK = Path(__file__).with_name("_data_work.py")
FORMATS = ("jsonl", "parquet", "csv")
LARGE = 10
BY_ROW = {"datasets": "datasets.map, templates", "datasets by hand": "datasets.map, by hand"}
COMPARED_ROWS = 50_000
WORDS = {
    "en": "parcel late broken refund invoice charge letter answer order number",
    "de": "Paket spät kaputt Rechnung Gebühr Brief Antwort Bestellung Nummer",
    "fr": "colis retard cassé facture frais lettre réponse commande numéro",
    "es": "paquete tarde roto factura cargo carta respuesta pedido número",
    "pl": "paczka późno zepsuty faktura opłata list odpowiedź zamówienie",
    "tr": "paket geç kırık fatura ücret mektup cevap sipariş numara",
    "ru": "посылка поздно сломан счёт плата письмо ответ заказ номер",
    "ja": "荷物 遅い 壊れた 返金 請求書 料金 手紙 返事 注文 番号",
}


def main(arguments: Sequence[str]) -> None:
    options = _options(arguments)
    with TemporaryDirectory(prefix="axo-bench-data-", dir=options.folder) as folder:
        bench = _Bench(Path(folder), options.rows, options.rounds)
        for form in options.formats:
            bench.compare(form, form)
            if form == "jsonl" and not options.no_datasets:
                bench.compare_by_row()
            if form == "csv":
                bench.compare(form, "parquet")
        if options.large:
            bench.grow(options.rows * LARGE)


def _options(arguments: Sequence[str]) -> Namespace:
    parser = ArgumentParser(prog="scripts/bench data", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="default 1,000,000 (0.9 GB of JSONL)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each variant; default 3")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS, help="default all three")
    parser.add_argument(
        "--no-datasets", action="store_true", help="without datasets.map, which takes minutes"
    )
    parser.add_argument("--large", action="store_true", help=f"then memory with {LARGE} times the rows")
    parser.add_argument("--folder", type=Path, help="where the files are made; default the temporary folder")
    return parser.parse_args(arguments)


class _Bench:
    """The files of one bench, and what is measured on them."""

    def __init__(self, folder: Path, rows: int, rounds: int) -> None:
        self.folder, self.rows, self.rounds = folder, rows, rounds
        self.source = folder / "rows.jsonl"
        self.head: list[int] = []
        write_rows(self.source, rows)

    def compare(self, form: str, out: str) -> None:
        """Variants on a file of one format, each written as `out`."""
        source = self._as(form)
        size = source.stat().st_size / 1e6
        print(f"\n{form} in, {out} out, {self.rows:,} rows, {size:,.0f} MB", flush=True)
        names = ("pass-through", "mapping", "prepare") if form == out else ("pass-through", "mapping")
        found = {name: list[Cost]() for name in names}
        for _ in range(self.rounds):
            for name, costs in found.items():
                costs.append(self._measure(name, source, out))
        plain = middle(found["pass-through"])
        for name, costs in found.items():
            _show(name, middle(costs), plain)
        mapped = middle(found["mapping"])
        print(f"  mapping / pass-through, {_ratios(mapped, plain, '.2f')} (goal at most 1.5)")

    def compare_by_row(self) -> None:
        """Row by row with `datasets`, once, between two runs of the mapping; all must write the same."""
        print("\njsonl in, jsonl out, row by row", flush=True)
        mapped = [self._measure("mapping", self.source, "jsonl")]
        wanted = self.head
        slow: dict[str, Cost] = {}
        for name in BY_ROW:
            slow[name] = self._measure(name, self.source, "jsonl")
            if self.head != wanted:
                raise SystemExit(f"{name} wrote other rows than the mapping")
        mapped.append(self._measure("mapping", self.source, "jsonl"))
        for name, cost_by_row in slow.items():
            _show(BY_ROW[name], cost_by_row, middle(mapped))
        for name, goal in zip(BY_ROW, (" (goal at least 30)", ""), strict=True):
            print(f"  {BY_ROW[name]} / mapping, {_ratios(slow[name], middle(mapped), '.0f')}{goal}")

    def grow(self, rows: int) -> None:
        """Memory of the product's variants with the rows of this bench, and with many more.

        How far threads run ahead of each other is chance, and a long run has more of it: so it is held
        against the highest of several short ones.
        """
        few = {
            name: most([self._measure(name, self.source, "jsonl") for _ in range(self.rounds)])
            for name in ("mapping", "prepare")
        }
        self.source.unlink()
        write_rows(self.source, rows)
        print(f"\njsonl, {rows:,} rows, {self.source.stat().st_size / 1e6:,.0f} MB, once", flush=True)
        plain = self._measure("pass-through", self.source, "jsonl")
        _show("pass-through", plain, plain)
        for name, before in few.items():
            after = self._measure(name, self.source, "jsonl")
            _show(name, after, plain)
            ratio = after.anonymous / before.anonymous
            print(f"  {name}, memory against that of {self.rows:,} rows: {ratio:.2f} (goal at most 1.2)")

    def _as(self, form: str) -> Path:
        path = self.source.with_suffix(f".{form}")
        if form == "parquet":
            pl.scan_ndjson(self.source).sink_parquet(path, compression="zstd", compression_level=1)
        elif form == "csv":
            pl.scan_ndjson(self.source).sink_csv(path)
        return path

    def _measure(self, name: str, source: Path, out: str) -> Cost:
        with TemporaryDirectory(dir=self.folder) as made:
            target = Path(made) / f"out.{out}"
            found = cost([sys.executable, str(WORK), name, str(source), str(target)])
            if out == "jsonl" and target.is_file():
                self.head = _first_rows(target)
            return found


def _first_rows(path: Path) -> list[int]:
    """A hash of each, whatever the spelling of its JSON."""
    with path.open(encoding="utf-8") as lines:
        return [hash(json.dumps(json.loads(line), sort_keys=True)) for line in islice(lines, COMPARED_ROWS)]


def write_rows(path: Path, rows: int) -> None:
    """JSON lines of some 900 bytes: id, text, label, lang, system (empty in every fourth) and context."""
    chance = random.Random(42)
    texts = {lang: " ".join(chance.choices(words.split(), k=200_000)) for lang, words in WORDS.items()}
    with path.open("w", encoding="utf-8") as out:
        out.writelines(_rows(chance, rows, texts))


def _rows(chance: random.Random, rows: int, texts: dict[str, str]) -> Iterable[str]:
    languages = tuple(texts.items())
    for number in range(rows):
        lang, corpus = languages[number % len(languages)]
        start, length = chance.randrange(1_000_000), chance.randrange(150, 900)
        start %= len(corpus) - 2000
        text, context = corpus[start : start + length], corpus[start + 1000 : start + 1000 + length // 3]
        system = f"Answer in {lang}." if number % 4 else ""
        yield (
            f'{{"id": {number}, "text": "  {text} {number} ", "label": "queue {number % 7}", '
            f'"lang": "{lang}", "system": "{system}", "context": "{context}"}}\n'
        )


def _ratios(one: Cost, other: Cost, form: str) -> str:
    """Wall time tells what a user waits for, processor time less of what else the machine does."""
    wall, processor = one.seconds / other.seconds, one.processor / other.processor
    return f"wall: {wall:{form}}, processor: {processor:{form}}"


def _show(name: str, found: Cost, plain: Cost) -> None:
    print(
        f"  {name:<24} {found.seconds:7.1f} s  {found.processor:7.1f} s of processor "
        f"({found.processor / plain.processor:4.1f}x)  {found.anonymous:6,.0f} MB held, "
        f"{found.resident:6,.0f} MB resident",
        flush=True,
    )
