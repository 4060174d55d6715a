"""A descriptor's number is ours only as long as the file is that we opened."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from bgjob import seal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODES = pytest.mark.parametrize("sealing", [True, False], ids=["sealed files", "no sealed files"])


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "ours", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@MODES
def test_an_open_file_keeps_its_seal_also_under_another_number(
    ours: int, monkeypatch: pytest.MonkeyPatch, *, sealing: bool
) -> None:
    monkeypatch.setattr(seal, "_CAN_BE_SEALED", sealing)
    put = seal.put_on(ours)

    os.write(ours, b"more")
    kept = os.dup(ours)
    os.close(ours)
    os.dup2(kept, ours)  # as a job does that redirects its output for a while
    os.close(kept)

    assert put is not None
    assert seal.of(ours) == put


@MODES
def test_another_file_under_the_number_has_another_seal(
    ours: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, sealing: bool
) -> None:
    monkeypatch.setattr(seal, "_CAN_BE_SEALED", sealing)
    put = seal.put_on(ours)

    other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT, 0o666)
    os.dup2(other, ours)
    os.close(other)

    assert seal.of(ours) != put


@pytest.mark.skipif(not seal._CAN_BE_SEALED, reason="open files can't be sealed here")
def test_the_same_file_opened_again_has_another_seal(ours: int, tmp_path: Path) -> None:
    put = seal.put_on(ours)

    again = os.open(tmp_path / "ours", os.O_RDWR)
    os.dup2(again, ours)
    os.close(again)

    assert seal.of(ours) != put


@MODES
def test_a_file_of_ours_in_the_place_of_another_one_is_told_apart(
    ours: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, sealing: bool
) -> None:
    monkeypatch.setattr(seal, "_CAN_BE_SEALED", sealing)
    put = seal.put_on(ours)
    other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT, 0o666)
    seal.put_on(other)

    os.dup2(other, ours)  # as a job does that sends its output where its input comes from
    os.close(other)

    assert seal.of(ours) != put


def test_a_seal_that_is_put_on_twice_is_the_first_one(ours: int) -> None:
    assert seal.put_on(ours) == seal.put_on(ours)


@MODES
@pytest.mark.parametrize("sealed", ["both", "one", "none"])
def test_several_files_are_whole_until_one_is_another(
    ours: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, sealing: bool, sealed: str
) -> None:
    monkeypatch.setattr(seal, "_CAN_BE_SEALED", sealing)
    other, stranger = (os.open(tmp_path / name, os.O_RDWR | os.O_CREAT, 0o666) for name in ("other", "stranger"))
    for file in {"both": [ours, other], "one": [ours], "none": []}[sealed]:
        seal.put_on(file)
    seals, none_open = seal.Seals([ours, other]), seal.Seals([ours, 4_242])
    assert seals.are_whole()
    assert none_open.are_whole()

    kept = os.dup(other)
    os.close(other)
    assert not seals.are_whole()
    os.dup2(stranger, other)
    assert not seals.are_whole()
    os.dup2(kept, other)
    assert seals.are_whole()
    for file in (kept, other, stranger):
        os.close(file)


@MODES
def test_a_closed_number_has_no_seal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, sealing: bool) -> None:
    monkeypatch.setattr(seal, "_CAN_BE_SEALED", sealing)
    descriptor = os.open(tmp_path / "ours", os.O_RDWR | os.O_CREAT, 0o666)
    seal.put_on(descriptor)

    os.close(descriptor)

    assert seal.of(descriptor) is None


def test_what_can_not_be_sealed_is_known_by_its_file(ours: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcntl.fcntl", refuse)

    assert seal.put_on(ours) == seal.of(ours) == (os.fstat(ours).st_dev, os.fstat(ours).st_ino)


def refuse(*_: object) -> int:
    raise OSError
