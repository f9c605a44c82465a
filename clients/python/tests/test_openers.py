"""Tests several exports behind one opener, and which tokens a route admits."""

from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from bulla_sessions import Keys, Opened, Openers, Refused
from bulla_sessions.fastapi import Bearer

from .conftest import NOW, export, key

PEOPLE = Keys(export(key(1)))
# The same kid: derived from the same root key for another purpose.
MACHINES = Keys(export({**key(2), "kid": "00000001"}, purpose="service"))
BOTH = Openers(PEOPLE, MACHINES)


def test_the_export_that_verifies_a_token_opens_it() -> None:
    for keys, purpose in ((PEOPLE, "access"), (MACHINES, "service")):
        opened = BOTH.open(keys.seal({"id": "1"}, NOW), NOW)
        assert (opened.purpose, opened.audience) == (purpose, "billing")


@pytest.mark.parametrize(
    ("token", "now", "reason"),
    [
        ("", NOW, "length"),
        (MACHINES.seal({}, NOW), NOW + 120_000, "expired"),
        (Keys(export(key(3))).seal({}, NOW), NOW, "unknown_key"),
        (Keys(export({**key(3), "kid": "00000001"})).seal({}, NOW), NOW, "tag"),
    ],
)
def test_the_reason_is_that_of_the_export_that_came_furthest(token: str, now: int, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        BOTH.open(token, now)
    assert refused.value.reason == reason


def test_a_machines_token_is_refused_where_people_are_admitted(caplog: pytest.LogCaptureFixture) -> None:
    app = FastAPI()

    @app.get("/people")
    def people(who: Annotated[Opened, Depends(Bearer(BOTH))]) -> Any:
        return who.purpose

    @app.get("/machines")
    def machines(who: Annotated[Opened, Depends(Bearer(BOTH, {"service"}))]) -> Any:
        return who.purpose

    @app.get("/both")
    def both(who: Annotated[Opened, Depends(Bearer(BOTH, {"access", "service"}))]) -> Any:
        return who.purpose

    client = TestClient(app)

    def said(path: str, keys: Keys) -> Any:
        return client.get(path, headers={"Authorization": f"Bearer {keys.seal({})}"}).json()

    caplog.set_level("DEBUG", "bulla")
    refused = {"detail": "token refused"}
    assert (said("/people", PEOPLE), said("/people", MACHINES)) == ("access", refused)
    assert caplog.messages == ["token refused: purpose"]
    assert (said("/machines", PEOPLE), said("/machines", MACHINES)) == (refused, "service")
    assert (said("/both", PEOPLE), said("/both", MACHINES)) == ("access", "service")
