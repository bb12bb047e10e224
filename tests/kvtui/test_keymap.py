import inspect

import pytest

from kvtui import keymap
from kvtui.app import KvtuiApp
from kvtui.screens.browser import BrowserScreen
from kvtui.widgets.editor import Editor
from kvtui.widgets.keys_pane import KeysPane
from kvtui.widgets.lines import Lines
from kvtui.widgets.sidebar import Sidebar
from kvtui.widgets.value_pane import ValuePane

CARRIERS: dict[str, type] = {
    "app": KvtuiApp,
    "browser": BrowserScreen,
    "entry": BrowserScreen,
    "sidebar": Sidebar,
    "keys": KeysPane,
    "value": ValuePane,
    "editor": Editor,
}


@pytest.mark.parametrize(
    "command", [command for command in keymap.COMMANDS if command.scope not in {"list", "filter"}], ids=lambda c: c.id
)
def test_every_command_can_be_carried_out(command: keymap.Command) -> None:
    assert inspect.isfunction(getattr(CARRIERS[command.scope], f"action_{command.name}"))


def test_the_lists_have_the_keys_that_help_promises() -> None:
    promised = {key for command in keymap.by_scope("list") for key in command.keys.split(",")}
    bound = {key for binding in Lines.BINDINGS for key in str(getattr(binding, "key", "")).split(",")}
    assert promised == bound


@pytest.mark.parametrize(
    "scopes", [("app", "browser", "sidebar"), ("app", "browser", "entry", "keys"), ("app", "browser", "entry", "value")]
)
def test_no_key_means_two_things_in_one_pane(scopes: tuple[keymap.Scope, ...]) -> None:
    keys = [key for command in keymap.by_scope(*scopes, "list") for key in command.keys.split(",") if key]
    assert len(keys) == len(set(keys))


def test_ctrl_d_never_deletes() -> None:
    delete = next(command for command in keymap.COMMANDS if command.id == "entry.delete")
    assert "ctrl+d" not in delete.keys


def test_help_is_never_cut() -> None:
    assert max(len(command.help) for command in keymap.COMMANDS) <= 54
    assert max(len(keymap.key_label(command.keys)) for command in keymap.COMMANDS) <= 13


def test_ids_are_unique() -> None:
    assert len({command.id for command in keymap.COMMANDS}) == len(keymap.COMMANDS)
