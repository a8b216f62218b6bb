"""Who works on what, among processes that share a database: leases that end with their owner. Imports SQLAlchemy.

A row a lease. Its owner raises `beat` every few seconds; whoever sees it stand still for a minute, by its own clock,
may take the lease over, so the clocks of machines need not agree. On one machine the end of a process is seen at once:
each holds a lock on a file of its own, which the system releases however the process ends.
"""

import fcntl
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import sqlalchemy as sql
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

Made = TypeVar("Made")

BEAT = 5.0  # seconds between two signs of life
SILENCE = 60.0  # seconds without one after which an owner counts as dead


def persistently(make: Callable[[], Made], tries: int = 5) -> Made:
    """Makes tables, again if another process was making them at the same time."""
    while True:
        try:
            return make()
        except (IntegrityError, OperationalError, ProgrammingError):
            tries -= 1
            if tries <= 0:
                raise
            time.sleep(0.3)


class Leases:
    """The leases of one process."""

    def __init__(self, engine: sql.Engine, folder: Path, silence: float = SILENCE) -> None:
        """Opens the table.

        Args:
            engine: the database.
            folder: for the file that shows processes of this machine that this one lives; made if missing.
            silence: see `SILENCE`.
        """
        self._engine, self._folder, self._silence = engine, folder / "workers", silence
        self._host, name = socket.gethostname(), uuid.uuid4().hex
        self._owner = f"{self._host}/{name}"
        self._seen: dict[str, tuple[str, int, float]] = {}  # owner and beat by lease, and since when
        self._held: set[str] = set()
        self._lost: set[str] = set()
        self._table = sql.Table(
            "gan_jax_leases",
            sql.MetaData(),
            sql.Column("name", sql.String(255), primary_key=True),
            sql.Column("owner", sql.String(255), nullable=False),
            sql.Column("beat", sql.BigInteger, nullable=False),
        )
        persistently(lambda: self._table.metadata.create_all(engine))
        self._folder.mkdir(parents=True, exist_ok=True)
        self._alive = (self._folder / name).open("w")
        fcntl.flock(self._alive, fcntl.LOCK_EX)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="leases", daemon=True)
        self._thread.start()

    def claim(self, name: str) -> bool:
        """Takes a lease if nobody alive holds it; True if it is this process's now."""
        table = self._table
        with self._engine.begin() as connection:
            row = connection.execute(sql.select(table).where(table.c.name == name)).one_or_none()
        if row is not None and row.owner != self._owner and not self._dead(row):
            return False
        try:
            with self._engine.begin() as connection:
                if row is None:
                    connection.execute(table.insert().values(name=name, owner=self._owner, beat=0))
                elif row.owner != self._owner:
                    same = (table.c.name == name) & (table.c.owner == row.owner) & (table.c.beat == row.beat)
                    taken = connection.execute(table.update().where(same).values(owner=self._owner, beat=0))
                    if taken.rowcount != 1:
                        return False  # another process was quicker, or the owner lives after all
        except IntegrityError:
            return False  # another process was quicker
        self._held.add(name)
        self._lost.discard(name)
        return True

    def release(self, name: str) -> None:
        """Gives a lease back; does nothing if it was lost."""
        self._held.discard(name)
        own = (self._table.c.name == name) & (self._table.c.owner == self._owner)
        with self._engine.begin() as connection:
            connection.execute(self._table.delete().where(own))

    def lost(self, name: str) -> bool:
        """Whether another process took a lease over because this one seemed dead, e.g. after it had been suspended."""
        return name in self._lost

    def others(self) -> set[str]:
        """Names of the leases that other living processes hold."""
        with self._engine.begin() as connection:
            rows = connection.execute(sql.select(self._table)).all()
        return {row.name for row in rows if row.owner != self._owner and not self._dead(row)}

    @contextmanager
    def holding(self, name: str, poll: float = 0.1) -> Iterator[None]:
        """Waits for a lease and holds it for a short piece of work."""
        while not self.claim(name):
            time.sleep(poll)
        try:
            yield
        finally:
            self.release(name)

    def close(self) -> None:
        """Ends the signs of life and gives everything back."""
        self._stop.set()
        self._thread.join()
        for name in list(self._held):
            self.release(name)
        Path(self._alive.name).unlink(missing_ok=True)
        self._alive.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _dead(self, row: Any) -> bool:
        host, _, name = row.owner.rpartition("/")
        if host == self._host and self._gone(self._folder / name):
            return True
        owner, beat, since = self._seen.get(row.name, ("", -1, 0.0))
        now = time.monotonic()
        if (owner, beat) != (row.owner, row.beat):
            self._seen[row.name] = row.owner, row.beat, now
            return False
        return now - since > self._silence

    @staticmethod
    def _gone(path: Path) -> bool:
        """Whether the process that held the lock on a file has ended; False if there is no such file to ask."""
        try:
            with path.open("r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            return False

    def renew(self) -> None:
        """A sign of life for every lease; those that were taken over are `lost` from here on."""
        table = self._table
        for name in list(self._held):
            own = (table.c.name == name) & (table.c.owner == self._owner)
            try:
                with self._engine.begin() as connection:
                    alive = connection.execute(table.update().where(own).values(beat=table.c.beat + 1)).rowcount
            except OperationalError:
                continue  # busy or away for a moment; the others wait for longer than that
            if not alive and name in self._held:
                self._lost.add(name)

    def _beat(self) -> None:
        while not self._stop.wait(BEAT):
            self.renew()
