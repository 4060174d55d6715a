"""What the single texts of a config mean: numbers, durations, sizes, names and paths. Knows nothing of YAML."""

from __future__ import annotations

import builtins
import keyword
import re

KB, MB, GB = 1024, 1024**2, 1024**3
SIZE_UNITS = {"KB": KB, "MB": MB, "GB": GB}
DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}  # seconds; "ms" stands before "s"
LONGEST_DURATION = 365 * 86400.0
MOST_DIGITS = 30  # int() and float() would take thousands, and then a long time or infinity


def parse_integer(text: str) -> int:
    """Return a whole number of plain decimal digits; ValueError for anything else (`-1`, `1_000`, `0o17`, `017`)."""
    if not _is_digits(text) or (text[0] == "0" and text != "0"):
        raise ValueError(text)
    return int(text)


def parse_decimal(text: str) -> float:
    """Return a plain decimal number such as `4` or `0.5`; ValueError for anything else (`-1`, `1e3`, `.5`, `nan`)."""
    whole, point, fraction = text.partition(".")
    parse_integer(whole)
    if point and not _is_digits(fraction):
        raise ValueError(text)
    return float(text)


def parse_duration(text: str) -> float:
    """Return the seconds of `<n>` or `<n>(ms|s|m|h|d)`, n a plain decimal; ValueError beyond 0 to 365 days."""
    unit = next((unit for unit in DURATION_UNITS if text.endswith(unit)), "")
    number = parse_decimal(text.removesuffix(unit))
    # A division by 1000 is exact where a product with 0.001 is not: 1500ms is 1.5.
    seconds = number / 1000 if unit == "ms" else number * DURATION_UNITS.get(unit, 1.0)
    if seconds > LONGEST_DURATION:
        raise ValueError(text)
    return seconds


def parse_size(text: str) -> int:
    """Return the bytes of `<n>` or `<n>(KB|MB|GB)`, n a whole number and 1KB 1024 bytes; ValueError otherwise."""
    unit = text[-2:] if text[-2:] in SIZE_UNITS else ""
    return parse_integer(text.removesuffix(unit)) * SIZE_UNITS.get(unit, 1)


def size_text(size: int) -> str:
    """Return the shortest text that `parse_size` reads as so many bytes."""
    unit = next((unit for unit in reversed(SIZE_UNITS) if size and size % SIZE_UNITS[unit] == 0), "")
    return f"{size // SIZE_UNITS.get(unit, 1)}{unit}"


def wrong_class_name(text: str) -> str | None:
    """Return why `text` can't be approved as a class, or None."""
    *modules, last = text.split(".")
    if not modules:
        return "names no module; write it as app.custom_jobs.ExampleJob"
    if modules[0] == "__main__":
        return "stands in the script that was started, which is another one for the runner; give it a module"
    if last.startswith("_"):
        return "is private; approve public classes only"
    return wrong_module_name(text)


def wrong_method_name(text: str) -> str | None:
    """Return why `text` can't be approved as a method, or None."""
    if text.startswith("_"):
        return "is private or one of Python's own; approve public methods only"
    return _wrong_identifier(text)


def wrong_module_name(text: str) -> str | None:
    """Return why `text` can't be the dotted name of a module, or None."""
    return next(filter(None, map(_wrong_identifier, text.split("."))), None)


def wrong_exception_name(text: str) -> str | None:
    """Return why `text` can't be the name of an exception, or None."""
    if "." not in text and text not in OWN_EXCEPTIONS:
        return "is none of Python's own exceptions; write another with its module"
    return wrong_module_name(text)


OWN_EXCEPTIONS = frozenset(
    name for name, found in vars(builtins).items() if isinstance(found, type) and issubclass(found, BaseException)
)


def wrong_path(text: str) -> str | None:
    """Return why `text` can't be a path, or None."""
    if not text:
        return "is empty"
    if text.startswith("~"):
        return "begins with '~', which is another folder for cron than for you; write that folder out"
    if not text.isprintable():
        return "holds a character that can't be seen, such as NUL or a line break"
    return None


def wrong_metrics_path(text: str) -> str | None:
    """Return why `text` can't be the path of the metrics, or None."""
    if text and not text.endswith(".prom"):
        return "does not end in .prom, so node_exporter would not read it"
    return wrong_path(text)


def wrong_report_path(text: str) -> str | None:
    """Return why `text` can't be the path of the report, or None."""
    if text and not text.endswith((".html", ".htm")):
        return "does not end in .html, so no browser would show it as a page"
    return wrong_path(text)


def wrong_pattern(text: str) -> str | None:
    """Return why `text` can't be held against names, or None."""
    if not text:
        return "is empty, and no name is"
    return None if text.isprintable() else "holds a character that can't be seen, such as a line break"


def wrong_password_hash(text: str) -> str | None:
    """Return why `text` can't be the hash of a password, or None."""
    return (
        None if PASSWORD_HASH.fullmatch(text) else "is no hash of a password, and a password itself must not stand here"
    )


# Also in jobs.schema.json. The cost as powers of two, block size, parallelism, salt and key as base64: RFC 7914.
PASSWORD_HASH = re.compile(
    r"scrypt:([1-9][0-9]?):([1-9][0-9]?):([1-9]):([A-Za-z0-9+/]{22,88}=*):([A-Za-z0-9+/]{43,88}=*)"
)


def wrong_web_address(text: str) -> str | None:
    """Return why `text` can't be an address to ping, or None."""
    if not text.startswith(("http://", "https://")):
        return "does not begin with http:// or https://"
    if not _WEB_ADDRESS.fullmatch(text):
        return "is no address: host, port or path hold what they can't hold"
    return None


# Also in jobs.schema.json. What stands behind a '#' would not be sent.
_WEB_ADDRESS = re.compile(
    r"https?://([!-~]*@)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?([/?][!-\"$-~]*)?", re.ASCII
)


def _wrong_identifier(part: str) -> str | None:
    if not part.isascii():
        return "holds a character beyond ASCII"
    if keyword.iskeyword(part):
        return f"holds Python's own word {part!r}"
    return None if part.isidentifier() else "is no name in Python"


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS
