"""Runs every case of tests/vectors; the README there describes their format."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bulla_sessions import Keys, Refused

FOLDER = Path(__file__).resolve().parents[3] / "tests/vectors"
VECTORS: list[dict[str, Any]] = [json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))]
# The results of checks before the cipher; they apply also to XChaCha20-Poly1305, which is unsupported here.
BEFORE = {"length", "encoding", "magic", "unknown_key", "suite"}


def expected(vector: dict[str, Any]) -> tuple[str, str]:
    said = ("payload", vector["payload"]) if "payload" in vector else ("refused", vector["refused"])
    unsupported = vector["token"].startswith("bulC") and said[1] not in BEFORE
    return ("refused", "unsupported") if unsupported else said


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_a_vector_opens_or_is_refused_for_the_reason_it_says(vector: dict[str, Any]) -> None:
    keys = Keys(json.dumps(vector["export"]))
    said: tuple[str, str]
    try:
        opened = keys.open(vector["token"], vector["now"])
        said = ("payload", opened.text)
        assert opened.payload == json.loads(opened.text)
    except Refused as refused:
        said = ("refused", refused.reason)
        assert str(refused) == "token refused"
    assert said == expected(vector)


def test_the_vectors_are_all_there() -> None:
    suites = Counter(vector["name"].split("-")[0] for vector in VECTORS)
    supported = sum(expected(vector)[1] != "unsupported" for vector in VECTORS)
    print(f"{len(VECTORS)} vectors, {supported} of them judged in full: {dict(suites)}")
    assert len(VECTORS) >= 320
    assert min(suites["x"], suites["a"], suites["c"]) >= 60
    assert supported >= 500
