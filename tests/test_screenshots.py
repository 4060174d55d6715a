"""The pictures of the dashboard in the documentation: all are there, small, and made anew by `make screenshots`."""

from __future__ import annotations

import re
import struct
import zlib
from typing import TYPE_CHECKING

import pytest

from tests import screenshots
from tests.conftest import CODE
from tests.png import smaller

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

pytest_plugins = ["tests.browsing"]

PAGES = [CODE / "README.md", *sorted((CODE / "docs").glob("*.md"))]
TAKEN = {f"{name}-{scheme}.png" for name in screenshots.PICTURES for scheme in screenshots.SCHEMES}


def test_the_documentation_shows_only_pictures_that_are_taken_and_each_in_light_and_dark() -> None:
    shown = {
        name
        for page in PAGES
        for name in re.findall(r'"(?:docs/)?screenshots/([^"]+)"', page.read_text(encoding="utf-8"))
    }

    assert shown
    assert shown <= TAKEN
    assert {name.replace("light", "dark") for name in shown} == {name for name in shown if "dark" in name}
    assert {name.replace("dark", "light") for name in shown} == {name for name in shown if "light" in name}


def test_each_picture_is_there_and_is_small() -> None:
    sizes = {path.name: path.stat().st_size for path in screenshots.FOLDER.iterdir()}

    assert set(sizes) == TAKEN
    assert max(sizes.values()) < 150_000


@pytest.mark.slow
@pytest.mark.usefixtures("browser")  # or skip
def test_make_screenshots_takes_them_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, browser: Browser) -> None:
    monkeypatch.setattr(screenshots, "smaller", lambda picture: picture)  # which takes a second for each

    taken = screenshots.take(tmp_path, browser)

    assert set(taken) == {path.name for path in tmp_path.iterdir()} == TAKEN
    assert len(taken) == len(TAKEN)
    for name in taken:
        (width,) = struct.unpack(">I", (tmp_path / name).read_bytes()[16:20])
        assert width == screenshots.PICTURES[name.rpartition("-")[0]][1]


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def test_a_picture_is_made_smaller_whatever_its_rows_are_filtered_by() -> None:
    red, blue = b"\xff\x00\x00", b"\x00\x00\xff"
    # Each row is red, red, blue, by the filters none, sub, up, average and Paeth.
    rows = (
        b"\x00" + red + red + blue
        + b"\x01" + red + b"\x00\x00\x00" + b"\x01\x00\xff"
        + b"\x02" + bytes(9)
        + b"\x03" + b"\x80\x00\x00" + b"\x00\x00\x00" + b"\x81\x00\x80"
        + b"\x04" + bytes(9)
    )  # fmt: skip
    head = struct.pack(">IIBBBBB", 3, 5, 8, 2, 0, 0, 0)
    picture = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")

    made = smaller(picture)

    assert chunk(b"PLTE", blue + red) in made
    assert chunk(b"IDAT", zlib.compress(b"\x00\x01\x01\x00" * 5, 9)) in made


def test_a_colour_that_finds_no_place_in_the_palette_becomes_the_nearest() -> None:
    many = [bytes([shade, 0, 0]) for shade in range(256)]
    row = b"\x00" + b"".join(many * 2) + b"\x07\x01\x00"
    head = struct.pack(">IIBBBBB", 513, 1, 8, 2, 0, 0, 0)

    made = smaller(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    )

    assert chunk(b"PLTE", b"".join(many)) in made
    assert chunk(b"IDAT", zlib.compress(b"\x00" + bytes(range(256)) * 2 + b"\x07", 9)) in made
