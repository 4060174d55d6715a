"""Passwords of the dashboard: kept as hashes, compared in constant time, and costly to guess.

scrypt (RFC 7914) with N = 2**15, r = 8, p = 1: some 60 ms and 32 MiB each time.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import threading

from bgjob.config_texts import PASSWORD_HASH
from bgjob.dashboard.guard import credentials
from bgjob.dashboard.response import Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LOG2_COST, _BLOCK, _PARALLEL = 15, 8, 1
_MOST_MEMORY = 128 * 1024 * 1024  # bytes; scrypt takes 128 * N * r, and some more
_MOST_REMEMBERED = 64
_PATIENCE = 0.2  # seconds that one sign-in waits for another; whoever is in already waits for none


def hashed(password: str) -> str:
    """Return the text that stands for `password` in the config or the environment."""
    salt = os.urandom(16)
    key = _key(password, salt, (_LOG2_COST, _BLOCK, _PARALLEL), length=32)
    return f"scrypt:{_LOG2_COST}:{_BLOCK}:{_PARALLEL}:{_base64(salt)}:{_base64(key)}"


def _key(password: str, salt: bytes, cost: tuple[int, int, int], *, length: int) -> bytes:
    raw = password.encode("utf-8", "surrogatepass")
    log2_cost, block, parallel = cost
    return hashlib.scrypt(raw, salt=salt, n=2**log2_cost, r=block, p=parallel, maxmem=2 * _MOST_MEMORY, dklen=length)


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def fits(password: str, password_hash: str) -> bool:
    """Return whether `password` is the one whose hash this is; ValueError for a text that is no hash."""
    found = PASSWORD_HASH.fullmatch(password_hash)
    if found is None:
        raise ValueError("this is no hash of a password; `bgjob dashboard --hash-password` makes one")
    log2_cost, block, parallel = map(int, found.groups()[:3])
    if 128 * block * 2**log2_cost > _MOST_MEMORY:
        raise ValueError("this hash takes more memory than a machine should be asked for")
    cost = log2_cost, block, parallel
    try:
        salt, key = map(base64.b64decode, found.groups()[3:])
    except binascii.Error:
        raise ValueError("this hash was cut off, or lacks a character") from None
    return hmac.compare_digest(_key(password, salt, cost, length=len(key)), key)


class Passwords:
    """Lets one user in, who knows the password; an authenticator of the dashboard."""

    challenge = 'Basic realm="bgjob", charset="UTF-8"'

    def __init__(self, user: str, password_hash: str) -> None:
        """Raises ValueError for a text that is no hash, or one that costs more than a machine should be asked for."""
        fits("", password_hash)
        self._user = user
        self._hash = password_hash
        # Computed for one request at a time, so that a flood of guesses can't take all memory and processors; and once
        # for each browser, by a digest whose key nobody knows.
        self._turn = threading.Lock()
        self._secret = os.urandom(32)
        self._known: set[bytes] = set()

    def __call__(self, environ: dict[str, Any]) -> str | None:
        """Return the user's name if name and password are right, else None; raises Refusal while too many sign in."""
        sent = credentials(environ)
        if sent is None:
            return None
        name, password = (text.encode("utf-8", "surrogatepass") for text in sent)
        digest = hmac.digest(self._secret, len(name).to_bytes(4) + name + password, "sha256")
        if any(hmac.compare_digest(digest, known) for known in tuple(self._known)):
            return self._user
        is_user = hmac.compare_digest(name, self._user.encode("utf-8", "surrogatepass"))
        if not self._turn.acquire(timeout=_PATIENCE):
            raise Refusal(429, "Too many sign in at this moment; try again.", [("Retry-After", "1")])
        try:
            is_password = fits(sent[1], self._hash)
        finally:
            self._turn.release()
        if not (is_user and is_password):
            return None
        if len(self._known) < _MOST_REMEMBERED:
            self._known.add(digest)
        return self._user
