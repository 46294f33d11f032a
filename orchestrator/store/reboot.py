"""A SQLite store after its machine was started anew: its times are put on the boot clock that counts now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.ratelimit import return_after_reboot
from orchestrator.store import sql
from orchestrator.store.database import Row

if TYPE_CHECKING:
    from orchestrator.store.sqlite import SqliteTransaction


def rebase(tx: SqliteTransaction) -> None:
    """Put all store times on the present boot clock; a new store has none yet."""
    meta, now, wall = tx.meta(), tx.now(), tx.epoch()
    if meta["boot_id"] is not None:
        _rebase_buckets(tx, meta["last_wall"], now=now, wall=wall)
        _shift(tx, meta, now=now, wall=wall)
    tx.remember_calendar()


def _rebase_buckets(tx: SqliteTransaction, last_wall: float, *, now: float, wall: float) -> None:
    """Tokens and gates: in only when the calendar leaves no doubt."""
    for token in tx.rows(sql.ALL_TOKENS):
        returns_at = return_after_reboot(
            hold=token["returns_at"] - token["written_at"],
            written_wall=token["written_wall"],
            last_wall=last_wall,
            wall=wall,
            now=now,
            full_hold=token["full_hold"],
        )
        changed = {"returns_at": returns_at, "written_at": now, "written_wall": wall}
        tx.change(sql.WRITE_RETURN, **{**token, **changed, "task": None, "attempt": None})
    for gate in tx.rows(sql.CLOSED_GATES):
        hold = gate["gate_until"] - gate["gate_closed_at"]
        until = return_after_reboot(
            hold=hold,
            written_wall=gate["gate_wall"],
            last_wall=last_wall,
            wall=wall,
            now=now,
            full_hold=hold,
        )
        values = {"closings": gate["gate_closings"], "probe_task": None, "probe_attempt": None}
        tx.change(sql.SAVE_GATE, bucket=gate["id"], closed_at=now, until=until, wall=wall, **values)


def _shift(tx: SqliteTransaction, meta: Row, *, now: float, wall: float) -> None:
    """All else by what the calendar says has passed since the last grant; waits for evidence begin again."""
    passed = max(0.0, wall - meta["last_wall"])
    for statement in sql.SHIFT:
        tx.change(statement, shift=now - passed - meta["last_at"], wait=now - meta["last_at"])
