"""Streams are cut into parts, and a reader's offset stays true."""

from __future__ import annotations

import math
import random

from orchestrator.contract import (
    Record,
    Store,
    StreamWriter,
    parse_records,
    part_key,
    pieces_of_stream,
    read_stream,
)


def test_what_is_flushed_is_read_and_nothing_twice(store: Store) -> None:
    draw = random.Random(1)
    writer = StreamWriter(store, 1, "log", part_bytes=100)
    written, read = b"", b""
    for _ in range(200):
        chunk = draw.randbytes(draw.randint(0, 70))
        writer.append(chunk)
        written += chunk
        if draw.random() < 0.3:
            writer.flush()
            read += read_stream(store, 1, "log", len(read))
            assert written == read
    writer.flush()
    assert read_stream(store, 1, "log") == written
    assert writer.length == len(written)


def test_a_full_part_is_never_written_again(store: Store) -> None:
    writer = StreamWriter(store, 1, "metrics", part_bytes=10)
    writer.append(b"x" * 25)
    writer.flush()
    store.write(part_key(1, "metrics", 0), b"y" * 10)
    writer.append(b"x" * 5)
    writer.flush()
    assert read_stream(store, 1, "metrics") == b"y" * 10 + b"x" * 20


def test_a_long_stream_is_read_in_pieces_of_whole_lines(store: Store) -> None:
    writer = StreamWriter(store, 1, "metrics", part_bytes=100)
    lines = b"".join(b"%d\n" % number for number in range(1000))
    writer.append(lines + b"half a line")
    writer.flush()
    pieces = list(pieces_of_stream(store, 1, "metrics", 10, 250))
    assert b"".join(pieces) == (lines + b"half a line")[10:]
    assert max(map(len, pieces)) <= 250
    assert all(piece.endswith(b"\n") for piece in pieces[:-1])
    assert read_stream(store, 1, "metrics", 90, 20) == lines[90:110]
    writer.append(b"x" * 300)
    writer.flush()
    assert len(next(pieces_of_stream(store, 1, "metrics", len(lines), 250))) == 250


def test_what_is_written_while_pieces_are_read_waits_for_the_next_time(store: Store) -> None:
    writer = StreamWriter(store, 1, "metrics")
    writer.append(b"one\nhal")
    writer.flush()
    pieces = pieces_of_stream(store, 1, "metrics", 0, 100)
    assert next(pieces) == b"one\nhal"
    writer.append(b"f\n")
    writer.flush()
    assert list(pieces) == []


def test_attempts_have_streams_of_their_own(store: Store) -> None:
    for attempt in (1, 10):
        writer = StreamWriter(store, attempt, "log")
        writer.append(str(attempt).encode())
        writer.flush()
    assert read_stream(store, 1, "log") == b"1"
    assert read_stream(store, 3, "log") == b""


def test_records_survive_the_cut_of_a_line(store: Store) -> None:
    records = [Record("metrics", step, 1.5 * step, {"loss": 1 / step}) for step in (1, 2, 3)]
    lines = b"".join(record.to_line() for record in records)
    head, size = parse_records(lines[:-10])
    tail, rest = parse_records(lines[size:])
    assert head + tail == records
    assert size + rest == len(lines)


def test_floats_come_back_to_the_last_bit_and_not_a_number_too() -> None:
    value = 0.1 + 0.2
    (record,), _ = parse_records(Record("metrics", 1, 0.0, {"a": value, "b": math.nan}).to_line())
    assert record.values["a"] == value
    assert math.isnan(record.values["b"])
