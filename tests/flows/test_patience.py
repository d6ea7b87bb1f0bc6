"""Waiting for a store: as long as it is away and no longer, never twice where twice would count."""

from __future__ import annotations

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, TEMPORARILY_UNAVAILABLE

from flows.shared.patience import PATIENCE_SECONDS, Patient, StoreAway
from flows.shared.registry import away

GONE = MlflowException(
    "(psycopg2.OperationalError) server closed the connection\n[SQL: SELECT]", TEMPORARILY_UNAVAILABLE
)
LOCKED = MlflowException("(sqlite3.OperationalError) database is locked", TEMPORARILY_UNAVAILABLE)
FULL = MlflowException("(sqlite3.OperationalError) database or disk is full", TEMPORARILY_UNAVAILABLE)
REFUSED = MlflowException("no such run", INVALID_PARAMETER_VALUE)


class Store:
    """Fails so often, then answers."""

    name = "a store"

    def __init__(self, failures: int, error: Exception) -> None:
        self.failures, self.error, self.asked = failures, error, 0

    def get(self, key: str, *, more: str = "") -> str:
        self.asked += 1
        if self.asked <= self.failures:
            raise self.error
        return key + more

    create = get


class World:
    """A clock that only sleep moves."""

    def __init__(self) -> None:
        self.now, self.told = 0.0, list[str]()

    def patient(self, store: Store) -> Patient:
        return Patient(
            store, away=away, once=("create",), told=self.told.append, clock=lambda: self.now, sleep=self._sleep
        )

    def _sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("error", [GONE, LOCKED])
def test_a_store_that_comes_back_is_waited_for_and_that_is_told_once(error: Exception) -> None:
    world, store = World(), Store(4, error)
    assert world.patient(store).get("a", more="b") == "ab"
    assert (store.asked, len(world.told)) == (5, 1)
    assert world.now < 10


def test_a_store_that_stays_away_ends_in_one_line_that_says_what_to_do() -> None:
    world, store = World(), Store(10**6, GONE)
    with pytest.raises(
        StoreAway, match=r"MLflow's store does not answer .*closed the connection.*run the same again"
    ) as told:
        world.patient(store).get("a")
    assert "\n" not in str(told.value)
    assert PATIENCE_SECONDS / 2 < world.now <= PATIENCE_SECONDS


@pytest.mark.parametrize("error", [REFUSED, FULL, KeyError("a")])
def test_a_refusal_is_passed_on_at_once(error: Exception) -> None:
    world, store = World(), Store(1, error)
    with pytest.raises(type(error)):
        world.patient(store).get("a")
    assert (store.asked, world.now) == (1, 0.0)


def test_what_must_not_be_done_twice_is_asked_once() -> None:
    store = Store(1, GONE)
    with pytest.raises(StoreAway):
        World().patient(store).create("a")
    assert store.asked == 1


def test_what_is_no_method_is_as_it_was() -> None:
    assert World().patient(Store(0, GONE)).name == "a store"
