"""What all commands share: help, variables, colours, errors in words and in JSON, exit codes."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from stored_run import store_run

from orchestrator.cli import axo
from orchestrator.cli.frame import SENTENCES, variable_of
from orchestrator.cli.output import fields, table

AXO = Path(sys.executable).parent / "axo"


def run_axo(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AXO_", "MLFLOW_"))}
    return subprocess.run(
        [AXO, *arguments],
        env={**kept, "AXO_HOME": str(home), "COLUMNS": "80", **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("name", SENTENCES)
def test_the_help_of_a_command_fits_one_screen_with_an_example(name: str) -> None:
    done = CliRunner().invoke(axo, [name, "--help"], terminal_width=80)
    lines = done.output.splitlines()
    assert done.exit_code == 0, done.output
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert f"  axo {name}" in done.output.partition("Example")[2]


@pytest.mark.parametrize("name", SENTENCES)
def test_every_option_of_a_command_has_a_variable_of_its_own(name: str) -> None:
    command = axo.get_command(click.Context(axo), name)
    assert command is not None
    for path, each in with_those_below(name, command):
        options = [o for o in each.params if isinstance(o, click.Option) and not o.hidden]
        variables = [variable_of(path, option) for option in options]
        assert [option.envvar for option in options] == variables
        assert len(set(variables)) == len(variables)
        if options:
            assert variables[0] in CliRunner().invoke(axo, [*path.split(), "--help"]).output


def with_those_below(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    for name, each in command.commands.items() if isinstance(command, click.Group) else ():
        yield from with_those_below(f"{path} {name}", each)


def test_the_help_of_axo_lists_every_command_once_and_every_exit_code() -> None:
    text = CliRunner().invoke(axo, ["--help"], terminal_width=80).output
    for name, sentence in SENTENCES.items():
        assert text.count(f"  {name} ") == 1
        assert sentence in text  # whole, on one line
    for code in (0, 1, 2, 3, 4, 5, 124, 130):
        assert f"{code} " in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_variable_sets_an_option_and_the_line_wins_over_it(tmp_path: Path) -> None:
    done = run_axo(tmp_path, "get", AXO_GET_OUTPUT="json")
    assert (done.returncode, json.loads(done.stdout)) == (0, [])
    assert run_axo(tmp_path, "get", "-o", "name", AXO_GET_OUTPUT="json").stdout == ""
    assert run_axo(tmp_path, "get", AXO_OUTPUT="json").stdout == "[]\n"
    assert run_axo(tmp_path, "get", "--limit", "3", AXO_GET_LIMIT="none").returncode == 0
    assert "none" in run_axo(tmp_path, "get", AXO_GET_LIMIT="none").stderr
    assert "AXO_OUTPUT" in run_axo(tmp_path, "get", AXO_OUTPUT="xml").stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["chek"], "did you mean 'check'"),
        (["check", "--strct", "x"], "Did you mean '--strict'"),
        (["fly"], "there is no command 'fly'"),
    ],
)
def test_a_slip_in_a_name_is_told_with_the_name_meant(
    tmp_path: Path, arguments: list[str], told: str
) -> None:
    done = run_axo(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr


def test_a_spec_that_is_not_there_is_told_with_the_one_meant(tmp_path: Path) -> None:
    (tmp_path / "tickets.yaml").write_text("")
    assert "did you mean" in run_axo(tmp_path, "check", str(tmp_path / "tickts.yaml")).stderr
    assert "that is a folder" in run_axo(tmp_path, "check", str(tmp_path)).stderr


@pytest.mark.parametrize(
    ("arguments", "code", "exit_code"),
    [
        (["get", "nobody", "-o", "json"], "not_found", 5),
        (["get", "--limt", "-ojson"], "usage", 2),
        (["check", "no-such.yaml", "--output=json"], "not_found", 5),
    ],
)
def test_errors_are_json_where_the_result_would_be(
    tmp_path: Path, arguments: list[str], code: str, exit_code: int
) -> None:
    done = run_axo(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (exit_code, "")
    error = json.loads(done.stderr)["error"]
    assert (error["code"], error["exit_code"]) == (code, exit_code)
    assert error["message"]


def test_faults_are_json_with_their_places(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text("name: Bad!\ntraning: {}\n")
    error = json.loads(run_axo(tmp_path, "plan", str(spec), "-o", "json").stderr)["error"]
    assert error["code"] == "spec"
    assert {(fault["line"], fault["path"]) for fault in error["faults"]} >= {(1, "name"), (2, "traning")}


@pytest.mark.parametrize("before", [True, False])
def test_a_traceback_is_shown_with_debug_only(tmp_path: Path, before: bool) -> None:
    assert "Traceback" not in run_axo(tmp_path, "get", "nobody").stderr
    arguments = ["--debug", "get", "nobody"] if before else ["get", "nobody", "--debug"]
    done = run_axo(tmp_path, *arguments)
    assert (done.returncode, "Traceback" in done.stderr) == (5, True)
    assert "Traceback" in run_axo(tmp_path, "get", "nobody", AXO_DEBUG="1").stderr


def test_no_colour_without_a_terminal_and_none_where_it_is_not_wanted(tmp_path: Path) -> None:
    assert "\x1b" not in run_axo(tmp_path, "get", "nobody").stderr
    command = f"{AXO} get nobody"
    assert "\x1b[31m" in on_a_terminal(command, tmp_path)
    assert "\x1b[3" not in on_a_terminal(command, tmp_path, NO_COLOR="1")
    assert "\x1b[3" not in on_a_terminal(f"{command} --no-color", tmp_path)


def on_a_terminal(command: str, home: Path, **environment: str) -> str:
    """What a command prints where all its streams are one terminal."""
    words = " ".join(f"{name}={value}" for name, value in {"TERM": "xterm", "CI": "", **environment}.items())
    script = "import os, pty, sys\nsys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
    done = subprocess.run(
        [sys.executable, "-c", script, "/bin/sh", "-c", f"AXO_HOME={home} {words} {command}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    return done.stdout.decode()


def test_ctrl_c_ends_a_command_with_130_and_no_word_about_python(tmp_path: Path) -> None:
    store_run(tmp_path, "triage-1")
    watching = subprocess.Popen(
        [AXO, "get", "-w"],
        env={**os.environ, "AXO_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    assert watching.stdout.readline().startswith("NAME")
    watching.send_signal(signal.SIGINT)
    _, errors = watching.communicate(timeout=60)
    assert (watching.returncode, errors) == (130, "")


def test_the_help_takes_less_than_300_ms_of_a_processor(tmp_path: Path) -> None:
    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run_axo(tmp_path, "--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.3


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    done = subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", f"{AXO} run --help | true; echo ${{PIPESTATUS[0]}}"],
        env={**os.environ, "AXO_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.stdout.strip(), done.stderr) == ("0", "")


LONG = {
    "NAME": f"{'very-long-name-of-a-run' * 2}-x7k2p",
    "STATUS": "publishing",
    "REASON": "registry_refused",
    "STEP": "100000/200000",
    "LOSS": "0.1234",
    "AGE": "12m",
}


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_a_table_fits_the_terminal_and_keeps_both_ends_of_a_name(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = table([LONG]).splitlines()
    assert max(map(len, lines)) < columns
    assert lines[1].startswith("very")
    assert "7k2p " in lines[1]
    assert ("…" in lines[1]) == (columns < 200)
    assert LONG["NAME"] in table([LONG], width=1000)


def test_spare_columns_go_before_others_get_too_narrow_to_read() -> None:
    spare = ("REASON", "LOSS")
    row = {**LONG, "NAME": "triage-x7k2p-abcdefgh"}
    assert table([row], width=79, spare=spare).split()[:3] == ["NAME", "STATUS", "REASON"]
    assert table([row], width=58, spare=spare).split()[:5] == ["NAME", "STATUS", "STEP", "LOSS", "AGE"]
    narrow = table([row], width=45, spare=spare).splitlines()
    assert narrow[0].split() == ["NAME", "STATUS", "STEP", "AGE"]
    assert max(map(len, narrow)) <= 45


def test_fields_wrap_between_words_and_leave_addresses_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    url = "http://mlflow.example/#/experiments/1/runs/0123456789abcdef0123456789abcdef"
    text = fields({"reason": "the step's program vanished again and again and again", "mlflow": url})
    assert url in text
    wrapped = text.partition("mlflow:")[0].rstrip().splitlines()
    assert len(wrapped) == 2
    assert all(len(line) < 50 for line in wrapped)
    assert wrapped[1].startswith("        ")


@pytest.mark.parametrize(
    "group", ["models", "datasets", "mappings", "context", "admin", "admin keys", "admin audit"]
)
def test_commands_of_a_group_are_told_in_whole_sentences(group: str) -> None:
    done = CliRunner().invoke(axo, [*group.split(), "--help"])
    listed = done.stdout.partition("Commands:")[2].partition("Options may")[0].splitlines()
    assert len(listed) > 1
    assert [line for line in listed if line.endswith("...")] == []
