"""The methods of the journal: what was done, undone, and done again. See `kvd.methods` for the rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvd.methods import method
from kvd.params import Count, Flag, Text
from kvd.protocol import MAX_STEPS

if TYPE_CHECKING:
    from kvd.session import Session

__all__ = ["redo", "steps", "undo"]


@method("daemon")
def steps(
    session: Session, *, connection: Text | None = None, step: Text | None = None, limit: Count = MAX_STEPS
) -> list[dict[str, Any]]:
    """The steps of the journal."""
    return []


@method("daemon")
def undo(
    session: Session,
    *,
    step: Text | None = None,
    connection: Text | None = None,
    never_expire: Flag = False,
    limit: Count = 500,
) -> dict[str, Any] | None:
    """Undo a step."""
    return None


@method("daemon")
def redo(
    session: Session,
    *,
    step: Text | None = None,
    connection: Text | None = None,
    never_expire: Flag = False,
    limit: Count = 500,
) -> dict[str, Any] | None:
    """Do a step again."""
    return None
