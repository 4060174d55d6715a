"""A disk that forgets what was not synced: rebuilt from the system calls of a process, as a power cut leaves it.

The model is as strict as POSIX allows: of a file only what was written before its last fsync is sure to be there, of a
folder only the names that it had at its last fsync; of the rest any part may be there, in pages of 4 KB.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

PAGE = 4096

# All that changes a file or a folder, or makes such changes last.
_CALLS = (
    "open,openat,creat,write,writev,pwrite64,pwritev,pwritev2,ftruncate,truncate,fallocate,copy_file_range,sendfile,"
    "fsync,fdatasync,sync_file_range,rename,renameat,renameat2,unlink,unlinkat,rmdir,link,linkat,symlink,symlinkat,"
    "mkdir,mkdirat"
)
# Descriptors with their paths (-y), all text in hexadecimal and as long as it is (-xx, -s).
STRACE = ("-f", "-y", "-xx", "-s", "100000000", "-e", f"trace={_CALLS}")


class Call(NamedTuple):
    """One system call that has succeeded: its name, the files and texts among its arguments, the rest as it stands."""

    name: str
    files: list[str]
    texts: list[bytes]
    told: str


_BEGUN = re.compile(r"(\d+) +(.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"(\d+) +<\.\.\. \w+ resumed>(.*)$")
_ENDED = re.compile(r"\d+ +(\w+)\((.*)\)\s+= (\d+)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_FILE = re.compile(r"\d+<((?:\\x[0-9a-f]{2})+)>(\(deleted\))?")


def calls(seen: str) -> Iterator[Call]:
    """Yield the calls that strace has seen, in the order in which they ended."""
    begun: dict[str, str] = {}
    for line in seen.splitlines():
        whole = line
        if match := _BEGUN.match(line):
            begun[match[1]] = match[2]
            continue
        if match := _RESUMED.match(line):
            whole = f"{match[1]} {begun.pop(match[1])}{match[2]}"
        if match := _ENDED.match(whole):
            name, told, _ = match.groups()
            files = [_bytes(file).decode() + deleted for file, deleted in _FILE.findall(told)]
            yield Call(name, files, [_bytes(text) for text in _TEXT.findall(told)], _TEXT.sub('""', told))


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


class File:
    """What a file holds, and what of it was synced."""

    def __init__(self, content: bytes = b"") -> None:
        """Hold `content`, which is synced."""
        self._synced = content
        self._pending: list[tuple[int, bytes | None]] = []  # offset and bytes; None: cut off there

    def write(self, offset: int, text: bytes) -> None:
        """Write, not synced."""
        end = offset + len(text)
        while offset < end:
            upto = min(offset - offset % PAGE + PAGE, end)
            self._pending.append((offset, text[len(text) - (end - offset) : len(text) - (end - upto)]))
            offset = upto

    def cut(self, size: int) -> None:
        """Cut the file off, not synced."""
        self._pending.append((size, None))

    def sync(self) -> None:
        """Make all that was written last."""
        self._synced = self._with(self._pending)
        self._pending = []

    def after_power_cut(self, dice: random.Random | None) -> bytes:
        """Return what is left: what was synced, and with `dice` any part of what was not."""
        return self._with([change for change in self._pending if dice is not None and dice.random() < 0.5])

    def _with(self, changes: list[tuple[int, bytes | None]]) -> bytes:
        content = bytearray(self._synced)
        for offset, text in changes:
            content.extend(bytes(max(offset - len(content), 0)))
            if text is None:
                del content[offset:]
            else:
                content[offset : offset + len(text)] = text
        return bytes(content)


class Folder:
    """Which names a folder has, and which of them were synced."""

    def __init__(self) -> None:
        """Be empty."""
        self.names: dict[str, File | Folder] = {}
        self._synced: dict[str, File | Folder] = {}
        self._pending: list[tuple[str, File | Folder | None]] = []

    def name(self, name: str, thing: File | Folder | None) -> None:
        """Give a name to something, or to nothing any more; not synced."""
        self._pending.append((name, thing))
        self.names = _renamed(self.names, [(name, thing)])

    def sync(self) -> None:
        """Make all names last."""
        self._synced, self._pending = self.names, []

    def after_power_cut(self, dice: random.Random | None) -> dict[str, File | Folder]:
        """Return the names that are left: those synced, and with `dice` some of the changes since, in their order."""
        return _renamed(self._synced, self._pending[: dice.randint(0, len(self._pending)) if dice else 0])


def _renamed(
    names: dict[str, File | Folder], changes: list[tuple[str, File | Folder | None]]
) -> dict[str, File | Folder]:
    changed = {**names, **dict(changes)}
    return {name: thing for name, thing in changed.items() if thing is not None}


class Disk:
    """All that is below one folder."""

    def __init__(self, root: Path) -> None:
        """Take the files below `root` as they are now, all of them synced."""
        self._root = root
        self._top = _taken(root)

    def apply(self, call: Call) -> bool:
        """Do what `call` did; return whether it changed anything on this disk, or made it last."""
        if call.name == "write":
            return False  # notes and logs: they tell when something happened, and are no part of the database
        if act := getattr(self, f"_{call.name}", None):
            return bool(act(call))
        touched = [*call.files, *(text.decode(errors="replace") for text in call.texts)]
        assert not any(self._at(path) for path in touched), f"{call.name} has no place in this model"
        return False

    def _openat(self, call: Call) -> bool:
        file = self._at(call.texts[0].decode())
        if file is None and "O_CREAT" in call.told:
            return self._name(call.texts[0], File())
        if isinstance(file, File) and "O_TRUNC" in call.told:
            file.cut(0)
            return True
        return False

    def _pwrite64(self, call: Call) -> bool:
        file = self._at(call.files[0])
        if isinstance(file, File):
            file.write(_last_number(call), call.texts[0])
        return isinstance(file, File)

    def _ftruncate(self, call: Call) -> bool:
        file = self._at(call.files[0])
        if isinstance(file, File):
            file.cut(_last_number(call))
        return isinstance(file, File)

    def _fdatasync(self, call: Call) -> bool:
        thing = self._at(call.files[0])
        if thing is not None:
            thing.sync()
        return thing is not None

    _fsync = _fdatasync

    def _mkdir(self, call: Call) -> bool:
        return self._name(call.texts[0], Folder())

    def _unlink(self, call: Call) -> bool:
        return self._name(call.texts[0], None)

    def _rename(self, call: Call) -> bool:
        before, after = call.texts
        return self._name(after, self._at(before.decode())) and self._name(before, None)

    def _at(self, path: str) -> File | Folder | None:
        place = Path(os.path.normpath(self._root / path))
        if not place.is_relative_to(self._root):
            return None
        thing: File | Folder | None = self._top
        for part in place.relative_to(self._root).parts:
            thing = thing.names.get(part) if isinstance(thing, Folder) else None
        return thing

    def _name(self, path: bytes, thing: File | Folder | None) -> bool:
        folder, name = os.path.split(path.decode())
        parent = self._at(folder or ".")
        if isinstance(parent, Folder):
            parent.name(name, thing)
        return isinstance(parent, Folder)

    def rebuild(self, place: Path, dice: random.Random | None) -> None:
        """Write to `place` what a power cut now would leave: only what is sure, or with `dice` some of the rest."""
        _rebuild(self._top, place, dice)


def _taken(place: Path) -> Folder:
    folder = Folder()
    for entry in place.iterdir():
        if entry.is_dir():
            folder.name(entry.name, _taken(entry))
        elif entry.is_file():
            folder.name(entry.name, File(entry.read_bytes()))
    folder.sync()
    return folder


def _rebuild(folder: Folder, place: Path, dice: random.Random | None) -> None:
    place.mkdir()
    for name, thing in folder.after_power_cut(dice).items():
        if isinstance(thing, Folder):
            _rebuild(thing, place / name, dice)
        else:
            (place / name).write_bytes(thing.after_power_cut(dice))


def _last_number(call: Call) -> int:
    return int(call.told.rsplit(",", 1)[1])
