"""The ledger of promotions: what MLflow's aliases lack, namely history, compare-and-swap and a way to finish.

Takes intents, transitions and reports; gives them back as they were recorded, in a chain of hashes. A transition runs
its effect and records itself in one transaction that nobody shares, so an effect that was recorded has happened, and
one that was not may be repeated. At most one promotion of a model is open. Does not touch MLflow: effects are passed
in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from components.records.chain import START, chain_faults, link_hash
from components.records.codec import from_json, to_json
from components.schema.identity import stable_hash
from flows.shared.faults import UserFault
from flows.shared.ledger_records import FINAL, Entry, Intent, Open, Serving, State, content, name_of
from flows.shared.ledger_store import ENTRIES, HEADS, LOOKS, SERVINGS, open_engine

Effect = Callable[[], Mapping[str, Any]]
"""Does something that may be repeated; gives what is recorded of it."""
Clock = Callable[[], datetime]


class PromotionLost(UserFault):
    """Somebody else was faster; the message says who and what to do."""


class Ledger:
    """The promotions of one model."""

    def __init__(self, address: str, model: str, clock: Clock = lambda: datetime.now(UTC)) -> None:
        self.model = model
        self._clock = clock
        self._engine = open_engine(address)

    def close(self) -> None:
        """Gives the connections back."""
        self._engine.dispose()

    # --- promotions

    def found(self, champion: str | None, digest: str) -> None:
        """Begin the ledger of a model that has (or has no) champion already; nothing where it was begun."""
        with self._engine.begin() as connection:
            if self._head(connection) is not None:
                return
            connection.execute(insert(HEADS).values(model=self.model, champion=None, number=0, hash=START))
            if champion is not None:
                intent = Intent("adopt", None, champion, digest, "qanat", "was champion when the ledger was begun")
                self._append(connection, self._id(intent, START), "DONE", to_json(intent))
                self._set_head(connection, champion=champion)

    def champion(self) -> str | None:
        """Version that is champion on record; None before the first."""
        with self._engine.begin() as connection:
            return self._known_head(connection).champion  # type: ignore[no-any-return]

    def begin(self, intent: Intent) -> str:
        """Record the intent if `source` is still champion and nothing is open; its id. Else `PromotionLost`."""
        with self._engine.begin() as connection:
            head = self._known_head(connection)
            if head.open_id is not None:
                raise PromotionLost(self._who_is_first(connection, head.open_id, head.open_state))
            if head.champion != intent.source:
                raise PromotionLost(self._who_moved(connection, head.champion, intent))
            promotion_id = self._id(intent, head.hash)
            self._append(connection, promotion_id, "INTENT", to_json(intent))
            self._set_head(connection, open_id=promotion_id, open_state="INTENT")
            return promotion_id

    def advance(self, promotion_id: str, before: State, after: State, effect: Effect) -> bool:
        """Run the effect and record the transition; False when somebody else has taken it meanwhile."""
        with self._engine.begin() as connection:
            head = self._known_head(connection)
            if (head.open_id, head.open_state) != (promotion_id, before):
                return False
            self._append(connection, promotion_id, after, dict(effect()))
            if after not in FINAL:
                self._set_head(connection, open_state=after)
                return True
            target = self._intent(connection, promotion_id).target
            self._set_head(connection, open_id=None, open_state=None)
            if after == "DONE":
                self._set_head(connection, champion=target)
            return True

    def open_promotion(self) -> Open | None:
        """The promotion that is under way or was left half done."""
        with self._engine.begin() as connection:
            head = self._known_head(connection)
            if head.open_id is None:
                return None
            rows = self._entries(connection, head.open_id)
            intent = from_json(Intent, dict(rows[0].body))
            return Open(head.open_id, intent, head.open_state, datetime.fromisoformat(rows[-1].at))

    def entries(self) -> tuple[Entry, ...]:
        """Every transition, the oldest first."""
        with self._engine.begin() as connection:
            return self._entries(connection)

    def faults(self) -> tuple[str, ...]:
        """What is wrong with the record, one sentence a fault: edited, missing or unfounded rows."""
        with self._engine.begin() as connection:
            head, rows = self._known_head(connection), self._entries(connection)
        broken = chain_faults((row.link for row in rows), end=head.hash)
        if broken:
            return broken
        told = _champion_told(rows)
        if told == head.champion:
            return ()
        return (f"the rows make {name_of(told)} champion, the head of the ledger says {name_of(head.champion)}",)

    # --- looks

    def look(self, *, champion: str, problems: str, challenger: str) -> int:
        """Which challenger of this champion this is on these problems, from 1; the same one keeps its number."""
        where = (LOOKS.c.model == self.model, LOOKS.c.champion == champion, LOOKS.c.problems == problems)
        with self._engine.begin() as connection:
            known = connection.scalar(select(LOOKS.c.look).where(*where, LOOKS.c.challenger == challenger))
            if known is not None:
                return int(known)
            look = int(connection.scalar(select(func.count()).select_from(LOOKS).where(*where)) or 0) + 1
            key = {"model": self.model, "champion": champion, "problems": problems, "challenger": challenger}
            connection.execute(insert(LOOKS).values(**key, look=look, at=self._now()))
            return look

    # --- servers

    def report_served(self, version: str, digest: str, *, server: str, fault: str | None = None) -> None:
        """What a server says: it answers with this version and payload, or (`fault`) why it keeps the one before."""
        row = {"model": self.model, "version": version, "digest": digest, "server": server, "fault": fault}
        with self._engine.begin() as connection:
            connection.execute(insert(SERVINGS).values(**row, at=self._now()))

    def last_report(self) -> int:
        """Number of the newest report of all; 0 when there is none."""
        with self._engine.begin() as connection:
            return int(connection.scalar(select(func.max(SERVINGS.c.id))) or 0)

    def served(self, intent: Intent) -> Serving | None:
        """The newest report on the intent's payload since the intent; None before there is one."""
        wanted = (
            SERVINGS.c.model == self.model,
            SERVINGS.c.version == intent.target,
            SERVINGS.c.digest == intent.digest,
            SERVINGS.c.id > intent.reports_before,
        )
        with self._engine.begin() as connection:
            row = connection.execute(select(SERVINGS).where(*wanted).order_by(SERVINGS.c.id.desc())).first()
        return None if row is None else Serving(row.server, row.fault, row.at)

    # --- private

    def _head(self, connection: Connection) -> Any:
        return connection.execute(select(HEADS).where(HEADS.c.model == self.model)).first()

    def _known_head(self, connection: Connection) -> Any:
        head = self._head(connection)
        if head is None:
            raise UserFault(f"the ledger knows no model {self.model!r}")
        return head

    def _set_head(self, connection: Connection, **values: Any) -> None:
        connection.execute(update(HEADS).where(HEADS.c.model == self.model).values(**values))

    def _append(self, connection: Connection, promotion_id: str, state: State, body: Mapping[str, Any]) -> None:
        head, at = self._known_head(connection), self._now()
        number, held = head.number + 1, content(promotion_id, state, at, body)
        hashed = link_hash(number, held, head.hash)
        row = {"number": number, "previous": head.hash, "hash": hashed}
        values = {**held, "body": json.dumps(body, sort_keys=True), "model": self.model, **row}
        connection.execute(insert(ENTRIES).values(**values))
        self._set_head(connection, number=number, hash=hashed)

    def _entries(self, connection: Connection, promotion_id: str | None = None) -> tuple[Entry, ...]:
        query = select(ENTRIES).where(ENTRIES.c.model == self.model).order_by(ENTRIES.c.number)
        if promotion_id is not None:
            query = query.where(ENTRIES.c.promotion_id == promotion_id)
        return tuple(
            Entry(row.number, row.promotion_id, row.state, row.at, _body(row.body), row.hash, row.previous)
            for row in connection.execute(query)
        )

    def _intent(self, connection: Connection, promotion_id: str) -> Intent:
        return from_json(Intent, dict(self._entries(connection, promotion_id)[0].body))

    def _id(self, intent: Intent, after: str) -> str:
        """Unique: the same intent after the same history is the same promotion."""
        return stable_hash([self.model, intent.kind, intent.source, intent.target, intent.digest, after], length=32)

    def _now(self) -> str:
        return self._clock().astimezone(UTC).isoformat(timespec="milliseconds")

    def _who_is_first(self, connection: Connection, promotion_id: str, state: str) -> str:
        intent = self._intent(connection, promotion_id)
        return (
            f"the {intent.kind} of version {intent.target} by {intent.by} is under way (state {state}): wait, or "
            "`qanat reconcile` when its process is gone"
        )

    def _who_moved(self, connection: Connection, champion: str | None, intent: Intent) -> str:
        last = next((row for row in reversed(self._entries(connection)) if row.state == "DONE"), None)
        by = f", by {self._intent(connection, last.promotion_id).by} at {last.at}" if last is not None else ""
        return (
            f"version {intent.target} was to replace {name_of(intent.source)}, but the champion is now "
            f"{name_of(champion)}{by}: compare with that one"
        )


def _body(text: str) -> dict[str, Any]:
    """A recorded body; what somebody made unreadable is kept, so that its hash shows it."""
    try:
        read = json.loads(text)
    except json.JSONDecodeError:
        return {"unreadable": text}
    return read if isinstance(read, dict) else {"unreadable": text}


def _champion_told(rows: tuple[Entry, ...]) -> str | None:
    """The champion that the rows lead to."""
    intents = {row.promotion_id: row.body for row in rows if "target" in row.body}
    done = [intents[row.promotion_id]["target"] for row in rows if row.state == "DONE"]
    return str(done[-1]) if done else None
