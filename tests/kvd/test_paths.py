import os
from pathlib import Path

import pytest

from kvd import paths
from kvd.paths import UnsafePathError


def test_the_socket_is_in_the_runtime_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/somewhere")
    assert paths.socket_path() == Path("/somewhere/kvd/socket")


@pytest.mark.parametrize("value", ["", "relative/run"])
def test_a_runtime_folder_that_is_no_absolute_path_is_ignored(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", value)
    monkeypatch.setenv("TMPDIR", "/elsewhere")
    uid = os.getuid()
    assert paths.runtime_dir() in {Path(f"/run/user/{uid}/kvd"), Path(f"/tmp/kvd-{uid}")}


def test_a_private_folder_is_made_and_used_again(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    before = os.umask(0)
    try:
        assert paths.private_dir(folder) == folder
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert paths.private_dir(folder) == folder


def test_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(UnsafePathError, match="symbolic link"):
        paths.private_dir(tmp_path / "link")


def test_a_folder_that_others_may_enter_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "kvd"
    folder.mkdir()
    folder.chmod(0o750)
    with pytest.raises(UnsafePathError, match=r"mode 0750.*chmod 700"):
        paths.private_dir(folder)
    assert folder.stat().st_mode & 0o777 == 0o750


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)
    with pytest.raises(UnsafePathError, match="belongs to the user with id 12345"):
        paths.private_dir(folder)


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnsafePathError, match="not a folder"):
        paths.private_dir(tmp_path / "file")
    with pytest.raises(UnsafePathError, match="cannot be used"):
        paths.private_dir(tmp_path / "file" / "below")


def test_a_path_that_no_socket_can_have_is_refused() -> None:
    paths.check_socket_path(Path("/" + "x" * 100))
    with pytest.raises(UnsafePathError, match="109 bytes"):
        paths.check_socket_path(Path("/" + "é" * 54))


def test_who_has_no_home_has_a_daemon_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container, under a number that no name belongs to."""

    def nobody(_: int) -> None:
        raise KeyError

    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    assert str(paths.config_file()) == "/nonexistent/.config/kvd/connections.toml"
    assert str(paths.log_file()) == "/nonexistent/.local/state/kvd/kvd.log"
    assert str(paths.data_dir()) == "/nonexistent/.local/share/kvd"
    monkeypatch.setenv("HOME", "relative")
    assert str(paths.data_dir()) == "/nonexistent/.local/share/kvd"


def test_a_home_that_nobody_has_is_named() -> None:
    with pytest.raises(ValueError, match="there is no home ~nobody-at-all"):
        paths.expanded("~nobody-at-all/cache")
    assert paths.expanded("~/x") == Path.home() / "x"
