"""Make a picture of a page smaller: with a palette, for pages have few colours (PNG specification, third edition)."""

from __future__ import annotations

import struct
import zlib
from collections import Counter

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOURS = 256


def smaller(picture: bytes) -> bytes:
    """Return the picture, of 8 bits a channel and not interlaced as browsers make it, with a palette."""
    chunks = _chunks(picture)
    width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", chunks["IHDR"])
    if depth != 8 or kind not in (2, 6) or interlaced:  # RGB and RGBA
        raise ValueError("no picture as a browser makes it")
    size = 3 if kind == 2 else 4
    rows = [
        [row[at : at + 3] for at in range(0, width * size, size)]
        for row in _unfiltered(zlib.decompress(chunks["IDAT"]), width * size, size)
    ]
    place = _places(Counter(pixel for row in rows for pixel in row))
    palette = sorted(set(place.values()))
    number = {pixel: palette.index(near) for pixel, near in place.items()}
    packed = b"".join(b"\x00" + bytes([number[pixel] for pixel in row]) for row in rows)
    return _SIGNATURE + b"".join(
        (
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", b"".join(palette)),
            _chunk(b"IDAT", zlib.compress(packed, 9)),
            _chunk(b"IEND", b""),
        )
    )


def _places(counted: Counter[bytes]) -> dict[bytes, bytes]:
    """Return for each colour the one that stands for it: itself if it is among the most used, else the nearest."""
    kept = [pixel for pixel, _ in counted.most_common(_COLOURS)]

    def near(pixel: bytes) -> bytes:
        return min(kept, key=lambda other: sum((a - b) ** 2 for a, b in zip(pixel, other, strict=True)))

    alone = set(kept)
    return {pixel: pixel if pixel in alone else near(pixel) for pixel in counted}


def _chunks(picture: bytes) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    at = len(_SIGNATURE)
    while at < len(picture):
        (length,) = struct.unpack_from(">I", picture, at)
        name = picture[at + 4 : at + 8].decode()
        found[name] = found.get(name, b"") + picture[at + 8 : at + 8 + length]
        at += length + 12
    return found


def _unfiltered(data: bytes, length: int, size: int) -> list[bytes]:
    """Undo what each row was filtered by (section 9)."""
    rows: list[bytes] = []
    above = bytearray(length)
    for start in range(0, len(data), length + 1):
        row = bytearray(data[start + 1 : start + 1 + length])
        match data[start]:
            case 1:
                for at in range(size, length):
                    row[at] = (row[at] + row[at - size]) & 255
            case 2:
                for at in range(length):
                    row[at] = (row[at] + above[at]) & 255
            case 3:
                for at in range(length):
                    row[at] = (row[at] + ((row[at - size] if at >= size else 0) + above[at]) // 2) & 255
            case 4:
                for at in range(length):
                    left, corner = (row[at - size], above[at - size]) if at >= size else (0, 0)
                    row[at] = (row[at] + _paeth(left, above[at], corner)) & 255
        rows.append(bytes(row))
        above = row
    return rows


def _paeth(left: int, above: int, corner: int) -> int:
    guess = left + above - corner
    return min((left, above, corner), key=lambda value: abs(guess - value))


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
