"""The log rotates, shows no secret, and never raises."""

import logging
from pathlib import Path

import pytest

from kvd import log as daemon_log
from kvd.log import Redactor, open_log


@pytest.fixture
def redactor() -> Redactor:
    return Redactor()


def close(log: logging.Logger) -> None:
    for handler in list(log.handlers):
        handler.close()
        log.removeHandler(handler)
    logging.getLogger("asyncio").handlers.clear()
    logging.getLogger("asyncio").propagate = True


def test_secrets_are_taken_out_of_messages_and_tracebacks(tmp_path: Path, redactor: Redactor) -> None:
    redactor.learn("open sesame")
    redactor.learn("open")
    log = open_log(tmp_path / "a" / "log", redactor, terminal=False)
    log.info("with %s and redis://me:pa55@host:1/0?x=1", "open sesame")
    try:
        int("inside: open sesame")
    except ValueError:
        log.exception("failed")
    close(log)
    text = (tmp_path / "a" / "log").read_text()
    assert "sesame" not in text
    assert "pa55" not in text
    assert "redis://***@host:1/0?x=1" in text
    assert "Traceback" in text


def test_what_is_too_short_to_be_a_secret_leaves_texts_alone(redactor: Redactor) -> None:
    redactor.learn("a")
    assert redactor.redact("a banana") == "a banana"


def test_files_are_put_aside_and_the_oldest_goes(tmp_path: Path, redactor: Redactor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_log, "MAX_BYTES", 1000)
    log = open_log(tmp_path / "log", redactor, terminal=False)
    for number in range(200):
        log.info("line %03d %s", number, "x" * 50)
    close(log)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1", "log.2", "log.3"]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
    assert "line 199" in (tmp_path / "log").read_text()


def test_it_comes_back_when_what_was_in_its_way_is_gone(tmp_path: Path, redactor: Redactor) -> None:
    (tmp_path / "folder").write_text("in the way")
    log = open_log(tmp_path / "folder" / "log", redactor, terminal=False)
    log.info("lost")
    (tmp_path / "folder").unlink()
    log.info("kept")
    close(log)
    assert (tmp_path / "folder" / "log").read_text().endswith("kept\n")


def test_a_link_in_its_place_is_not_followed(tmp_path: Path, redactor: Redactor) -> None:
    (tmp_path / "elsewhere").write_text("precious")
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    log = open_log(tmp_path / "log", redactor, terminal=False)
    log.info("no")
    close(log)
    assert (tmp_path / "elsewhere").read_text() == "precious"
