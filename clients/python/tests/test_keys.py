"""Tests sealing, the age of tokens, and inputs that are not exports."""

import json
from itertools import count
from typing import Any

import pytest

from bulla_sessions import BadExport, Keys, Refused, SealError, keys, wire

from .conftest import NOW, export, key


def reason(ring: Keys, token: str, now: int = NOW) -> str:
    with pytest.raises(Refused) as refused:
        ring.open(token, now)
    return refused.value.reason


def test_what_was_sealed_opens_until_it_is_too_old(suite: str) -> None:
    ring = Keys(export(key(1, suite=suite)))
    token = ring.seal({"id": "42", "name": "é"}, NOW)
    for now in (NOW, NOW - 60_000, NOW + 119_999):
        opened = ring.open(token, now)
        assert (opened.text, opened.kid, opened.issued_at) == ('{"id":"42","name":"é"}', "00000001", NOW)
        assert opened.payload == {"id": "42", "name": "é"}
    assert reason(ring, token, NOW - 60_001) == "future"
    assert reason(ring, token, NOW + 120_000) == "expired"
    assert reason(Keys(export(key(1, suite=suite), not_before=NOW + 1)), token) == "not_before"
    assert reason(ring, ring.seal({})) == "future", "by the system's clock"


def test_each_token_has_a_nonce_of_its_own(suite: str) -> None:
    ring = Keys(export(key(1, suite=suite)))
    assert len({ring.seal("{}", NOW) for _ in range(100)}) == 100


def test_a_mutated_byte_opens_nowhere(suite: str) -> None:
    ring = Keys(export(key(1, suite=suite)))
    token = ring.seal({"id": "42"}, NOW)
    for at in range(len(token)):
        for other in {"A", "B", "-", "+", "=", "\n", "\0", "é", "\udc80"} - {token[at]}:
            reason(ring, token[:at] + other + token[at + 1 :])
    for other in (token + "=", token + "\n", " " + token, token[:-1], token + token, ""):
        assert reason(ring, other) in ("length", "encoding", "tag")


def test_a_token_is_sealed_under_the_active_key_alone(suite: str) -> None:
    both = Keys(export(key(1, "staged", suite), key(2, "active", suite), key(3, "retired", suite)))
    token = both.seal({}, NOW)
    assert both.open(token, NOW).kid == "00000002"
    for state in ("staged", "retired"):
        ring = Keys(export(key(2, state, suite)))
        assert ring.open(token, NOW).text == "{}"
        with pytest.raises(SealError, match="no active key"):
            ring.seal({}, NOW)


def test_a_suite_that_is_not_supported_spoils_nothing_else() -> None:
    ring = Keys(export(key(1), key(2, "staged", "xchacha20-poly1305")))
    assert ring.open(ring.seal({}, NOW), NOW).text == "{}"
    with pytest.raises(SealError, match="suite not supported"):
        Keys(export(key(2, suite="xchacha20-poly1305"))).seal({})
    sealed = wire.encode(b"\x6e\xe9\x42" + bytes([0, 0, 0, 2]) + bytes(60))
    assert reason(ring, sealed) == "unsupported"


def test_what_is_no_strict_object_is_not_sealed() -> None:
    ring = Keys(export(key(1)))
    deep: Any = "x"
    for _ in range(2000):
        deep = {"a": deep}
    bad: list[Any] = [
        "", "[]", "null", '{"a":1,"a":2}', '{"a":NaN}', '{"a":"\\ud800"}', '{"a":"\ud800"}', "\ufeff{}", '{"a":01}',
        '{"a":\u0661}', {"a": float("nan")}, {"a": "\ud800"}, {"a": b""}, {1: 0, "1": 0}, deep, {"a": [[[[[[[[]]]]]]]]},
    ]
    for payload in bad:
        with pytest.raises(SealError, match="strict JSON"):
            ring.seal(payload, NOW)


def test_a_token_has_at_most_4096_characters(suite: str) -> None:
    ring = Keys(export(key(1, suite=suite)))
    room = 4096 * 3 // 4 - 7 - (24 if suite == "xaes-256-gcm" else 12) - 6 - 16 - len('{"a":""}')
    token = ring.seal({"a": "x" * room}, NOW)
    assert len(token) <= 4096 and ring.open(token, NOW).payload["a"] == "x" * room
    with pytest.raises(SealError, match="too long"):
        ring.seal({"a": "x" * (room + 1)}, NOW)
    for now in (-1, 1 << 48):
        with pytest.raises(SealError, match="out of range"):
            ring.seal({}, now)


def test_suite_a_stops_at_2_to_32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_sealed", {"00000001": count((1 << 32) - 1), "00000002": count(1 << 32)})
    ring = Keys(export(key(1, suite="aes-256-gcm")))
    ring.seal({})
    with pytest.raises(SealError, match=r"2\^32"):
        ring.seal({})
    Keys(export(key(2, suite="xaes-256-gcm"))).seal({})


def test_what_is_no_export_is_refused() -> None:
    good = json.loads(export(key(1)))
    assert Keys(json.dumps(good)).max_age == 120
    changes: list[dict[str, Any]] = [
        {"version": 2}, {"version": True}, {"version": 1.0}, {"version": "1"}, {"purpose": "Access"}, {"purpose": "access\n"},
        {"purpose": ""}, {"audience": "-"}, {"audience": None}, {"max_age": -1}, {"max_age": "120"}, {"max_age": 2**64},
        {"max_age": 120.0}, {"not_before": None}, {"not_before": 2**63}, {"keys": {}}, {"keys": [1]}, {"more": 1},
        {"keys": [key(1), key(1, "staged")]}, {"keys": [key(1), key(2)]}, {"keys": [key(1, "revoked")]},
        {"keys": [{**key(1), "more": 1}]}, {"keys": [{**key(1), "suite": "aes-128-gcm"}]},
        {"keys": [{**key(1), "kid": "0000000A"}]}, {"keys": [{**key(1), "kid": "1"}]},
        {"keys": [{**key(1), "key": "A" * 42 + "B"}]}, {"keys": [{**key(1), "key": "A" * 44}]}, {"keys": [{**key(1), "key": 1}]},
    ]
    texts = [json.dumps({**good, **change}) for change in changes]
    texts += ["", "[]", "null", export(key(1))[:-1], "\ufeff" + export(), export(key(1)).replace('"version": 1', '"version": 1, "version": 1')]
    texts += [json.dumps({name: value for name, value in good.items() if name != missing}) for missing in good]
    for text in texts:
        with pytest.raises(BadExport) as bad:
            Keys(text)
        assert key(1)["key"] not in str(bad.value)
    with pytest.raises(BadExport, match="UTF-8"):
        Keys.from_bytes(b"\xff")


def test_the_environment_holds_an_export_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULLA_EXPORT", wire.encode(export(key(1)).encode()))
    assert Keys.from_env().audience == "billing"
    for value in ("", "e", export(key(1)), wire.encode(b"\xff\xff"), wire.encode(export(key(1)).encode()) + "="):
        monkeypatch.setenv("BULLA_EXPORT", value)
        with pytest.raises(BadExport):
            Keys.from_env()
    monkeypatch.delenv("BULLA_EXPORT")
    with pytest.raises(BadExport):
        Keys.from_env()


def test_no_key_shows_in_what_python_prints() -> None:
    ring = Keys(export(key(1)))
    assert repr(ring) == "Keys('access', 'billing', ['00000001'])"
    assert "\\x01\\x01" not in repr(vars(ring)) and key(1)["key"] not in repr(vars(ring))
