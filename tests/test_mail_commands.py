"""The commands `everafter work` and `everafter mail`."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from everafter.cli import app
from everafter.core.errors import ConflictError, EverafterError, InputError, NotFoundError
from helpers_mail import add_message, get, sink, sql


@pytest.fixture
def cli(database: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a command on the database; our errors are raised."""
    monkeypatch.setenv("EVERAFTER_DATABASE_URL", database)
    monkeypatch.setenv("EVERAFTER_DATA", str(tmp_path))
    monkeypatch.delenv("EVERAFTER_SMTP_URL", raising=False)

    def run(*words: str) -> Result:
        result = CliRunner().invoke(app, list(words))
        if isinstance(result.exception, EverafterError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result

    return run


def test_work_once_sends_due_messages(
    cli: Any, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_message(database)
    add_message(database, "nobody1@example.com")
    with sink() as inbox:
        monkeypatch.setenv("EVERAFTER_SMTP_URL", inbox.url())
        assert (
            cli("work", "--once").stdout
            == "1 accepted by the mail server, 1 rejected permanently\n"
        )
        assert cli("work", "--once").stdout == "nothing was due\n"
        assert json.loads(cli("work", "--once", "--json").stdout)["accepted"] == 0


def test_work_without_a_server_only_runs_the_other_duties(cli: Any, database: str) -> None:
    stale, fresh = add_message(database, expires="-1 minute"), add_message(database)
    cli("work", "--once")
    assert [get(database, key).status for key in (stale, fresh)] == ["expired", "queued"]


def test_list(cli: Any, database: str) -> None:
    assert "the outbox is empty" in cli("mail", "list").stdout
    add_message(database, name="[red]Müller & Söhne[/red]")
    add_message(database, template="check_in", status="replayed")
    output = cli("mail", "list").stdout
    assert "[red]Müller" in output and "check_in" in output and "queued: 1" in output
    read = json.loads(cli("mail", "list", "--status", "replayed", "--json").stdout)
    assert [line["template"] for line in read["messages"]] == ["check_in"]
    assert read["counts"] == {"queued": 1, "replayed": 1}
    with pytest.raises(InputError, match="unknown status"):
        cli("mail", "list", "--status", "sent")
    with pytest.raises(InputError, match="cannot be a supplier's id"):
        cli("mail", "list", "--supplier", "x" * 201)


def test_show_before_and_after(cli: Any, database: str) -> None:
    key = add_message(database)
    output = cli("mail", "show", str(key.id)[:9]).stdout
    assert (
        "Subject:" in output
        and "3 forms are still waiting for an answer" in output
        and "14  couples on your list" in output
    )
    assert f"<{key.id}@localhost>" in output
    assert cli("mail", "show", str(key.id), "--html").stdout.startswith("<!DOCTYPE html>")
    assert json.loads(cli("mail", "show", str(key.id), "--json").stdout)["preview"] is True
    sql(
        database,
        "UPDATE outbox SET subject = 'As sent', body_text = 'As sent.', body_html = '<p>As sent.</p>'",
    )
    assert json.loads(cli("mail", "show", str(key.id), "--json").stdout)["subject"] == "As sent"
    with pytest.raises(NotFoundError, match="no message ffffffff"):
        cli("mail", "show", "ffffffff")
    with pytest.raises(NotFoundError, match="100%"):
        cli("mail", "show", "100%")


def test_resolve(cli: Any, database: str) -> None:
    sent, again, fine = (add_message(database) for _ in range(3))
    sql(
        database, "UPDATE outbox SET status = 'in_doubt', owner = 'stopped' WHERE id <> %s", fine.id
    )
    assert "marked as sent" in cli("mail", "resolve", str(sent.id), "--sent").stdout
    assert "queued again" in cli("mail", "resolve", str(again.id), "--resend").stdout
    assert [get(database, key).status for key in (sent, again, fine)] == [
        "accepted",
        "queued",
        "queued",
    ]
    with pytest.raises(ConflictError, match="is accepted, not in_doubt"):
        cli("mail", "resolve", str(sent.id), "--resend")
    with pytest.raises(InputError, match="either --sent or --resend"):
        cli("mail", "resolve", str(again.id))
    with pytest.raises(InputError, match="either --sent or --resend"):
        cli("mail", "resolve", str(again.id), "--sent", "--resend")


def test_pause_and_resume(cli: Any, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key = add_message(database)
    cli("mail", "pause", "the wrong playbook was live")
    assert "sending is paused: the wrong playbook was live" in cli("mail", "list").stdout
    with sink() as inbox:
        monkeypatch.setenv("EVERAFTER_SMTP_URL", inbox.url())
        assert cli("work", "--once").stdout == "nothing was due\n"
        assert cli("mail", "resume").stdout == "sending resumed\n"
        assert cli("mail", "resume").stdout == "sending was not paused\n"
        cli("work", "--once")
    assert get(database, key).status == "accepted"


def test_allow(cli: Any, database: str) -> None:
    sql(database, "INSERT INTO suppressions VALUES ('ann@example.com', '*', 'refused: 550')")
    assert "can get mail again" in cli("mail", "allow", "Ann@Example.com").stdout
    with pytest.raises(NotFoundError, match="not on the suppression list"):
        cli("mail", "allow", "ann@example.com")
