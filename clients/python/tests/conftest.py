"""The keys of a test ring."""

import json
from typing import Any

import pytest

from bulla_sessions import wire

NOW = 1_700_000_000_000


def key(number: int, state: str = "active", suite: str = "xaes-256-gcm") -> dict[str, str]:
    return {"kid": f"{number:08x}", "state": state, "suite": suite, "key": wire.encode(bytes([number]) * 32)}


def export(*keys: dict[str, str], **changed: Any) -> str:
    fields = {"version": 1, "purpose": "access", "audience": "billing", "max_age": 120, "not_before": 0}
    return json.dumps({**fields, "keys": keys, **changed})


@pytest.fixture(params=["xaes-256-gcm", "aes-256-gcm"])
def suite(request: pytest.FixtureRequest) -> str:
    return str(request.param)
