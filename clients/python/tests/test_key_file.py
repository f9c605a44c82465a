"""Tests an export file that changes."""

import logging
import os
from pathlib import Path

import pytest

from bulla_sessions import BadExport, KeyFile, Keys, Refused

from .conftest import export, key

OLD, NEW = export(key(1)), export(key(2), key(1, "retired"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "billing.keys.json"
    path.write_text(OLD)
    return path


def replace(path: Path, text: str) -> None:
    following = path.with_suffix(".next")
    following.write_text(text)
    following.rename(path)


def test_a_new_export_is_in_force_at_once(path: Path) -> None:
    file = KeyFile(path)
    old, new = Keys(OLD).seal({}), Keys(NEW).seal({})
    assert file.open(old).kid == "00000001"
    with pytest.raises(Refused):
        file.open(new)
    replace(path, NEW)
    assert (file.open(new).kid, file.open(old).kid) == ("00000002", "00000001")
    assert file.open(file.seal({})).kid == "00000002"
    replace(path, export(key(2)))
    with pytest.raises(Refused):
        file.open(old)


def test_a_file_written_in_place_and_a_link_that_moves_are_seen(path: Path) -> None:
    new = Keys(NEW).seal({})
    file = KeyFile(path)
    path.write_text(NEW)
    assert file.open(new)
    # As Kubernetes mounts secrets: through a symbolic link to a directory.
    for name, text in (("old", OLD), ("new", NEW)):
        (path.parent / name).mkdir()
        (path.parent / name / "keys").write_text(text)
    (path.parent / "data").symlink_to("old")
    file = KeyFile(path.parent / "data" / "keys")
    (path.parent / "next").symlink_to("new")
    os.replace(path.parent / "next", path.parent / "data")
    assert file.open(new)


@pytest.mark.parametrize("broken", ["", OLD[:-1], "<html>", export(key(1), purpose="service"), export(key(1), audience="shop")])
def test_the_last_good_export_stays_in_force(path: Path, broken: str, caplog: pytest.LogCaptureFixture) -> None:
    file = KeyFile(path)
    token = file.seal({})
    replace(path, broken)
    with caplog.at_level(logging.WARNING, "bulla"):
        for _ in range(3):
            assert file.open(token)
    assert file.fault and file.fault.startswith("not a key export")
    assert len(caplog.records) == 1 and key(1)["key"] not in caplog.text
    replace(path, NEW)
    assert file.open(token) and file.seal({}) and file.keys.audience == "billing"
    assert file.fault is None


def test_a_file_that_goes_away_is_waited_for(path: Path) -> None:
    file = KeyFile(path)
    token = file.seal({})
    path.unlink()
    assert file.open(token) and file.fault
    path.mkdir()
    assert file.open(token) and file.fault
    path.rmdir()
    os.mkfifo(path)
    assert file.open(token) and file.fault and "not a regular file" in file.fault
    path.unlink()
    replace(path, NEW)
    assert file.open(token) and file.fault is None


def test_there_is_a_good_export_to_begin_with(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        KeyFile(path.parent / "none")
    path.write_text("{}")
    with pytest.raises(BadExport):
        KeyFile(path)
