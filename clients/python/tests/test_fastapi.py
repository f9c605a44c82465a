"""Tests the FastAPI dependency in a real application, and runs the example of the client's README."""

from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from bulla_sessions import Keys, Opened
from bulla_sessions.fastapi import Bearer

from .conftest import NOW, export, key

RING = Keys(export(key(1)))
README = Path(__file__).resolve().parents[1] / "README.md"


def application() -> TestClient:
    app = FastAPI()

    @app.get("/invoices")
    def invoices(who: Annotated[Opened, Depends(Bearer(RING))]) -> Any:
        return who.payload

    return TestClient(app)


def test_a_token_passes_and_its_payload_is_there() -> None:
    client = application()
    for scheme in ("Bearer", "bearer", "BEARER"):
        answer = client.get("/invoices", headers={"Authorization": f"{scheme} {RING.seal({'id': '42'})}"})
        assert (answer.status_code, answer.json()) == (200, {"id": "42"})
    assert "bulla" in client.get("/openapi.json").json()["components"]["securitySchemes"]


def test_every_refusal_gets_the_same_answer() -> None:
    client, token = application(), RING.seal({})
    bearer = [f"Bearer {RING.seal({}, NOW)}", f"Bearer  {token}", f"Bearer {token},{token}", "Bearer", "Bearer ", f"Basic {token}", token, ""]
    attempts = [[("Authorization", value)] for value in bearer]
    attempts += [[], [("Authorization", f"Bearer {token}")] * 2]
    answers = [client.get("/invoices", headers=attempt) for attempt in attempts]
    assert {(answer.status_code, answer.content) for answer in answers} == {(401, b'{"detail":"token refused"}')}
    assert {answer.headers["www-authenticate"] for answer in answers} == {"Bearer"}


def test_the_example_of_the_page_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("billing.keys.json").write_text(export(key(1)))
    block = README.read_text().split("\n```python\n")[1].split("\n```")[0]
    assert len(block.splitlines()) <= 10
    names: dict[str, Any] = {}
    exec(compile(block, str(README), "exec"), names)
    client = TestClient(names["app"])
    answer = client.get("/invoices", headers={"Authorization": f"Bearer {RING.seal({'id': '42'})}"})
    assert (answer.status_code, answer.json()) == (200, {"invoices of": "42"})
    assert client.get("/invoices").status_code == 401
