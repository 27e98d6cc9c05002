"""Prints one line per test in the form the rig reads, and counts."""

import os
import random
import time
import traceback

BROKER = os.environ["BROKER"]
GROUPS_TOO = "GROUPS_TOO" in os.environ
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]

_count = 0


def report(name, start, failure):
    """Prints the line of one test; failure is None or an exception."""
    global _count
    _count += 1
    print("FAIL" if failure else "PASS", name, f"{time.monotonic() - start:.2f}")
    if failure:
        for line in traceback.format_exception(failure)[-8:]:
            for part in line.rstrip("\n").split("\n"):
                print("|", part)


def test(name, function, *args):
    """Runs one test to its end."""
    start = time.monotonic()
    try:
        function(*args)
        report(name, start, None)
    except Exception as e:  # noqa: BLE001 - a failure is what is to be reported
        report(name, start, e)


def done():
    """Says that nothing was left out."""
    print("DONE", _count)


def name(prefix):
    """A topic name nobody else uses."""
    return f"{prefix}-{random.getrandbits(32):08x}"


def equal(what, got, want):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, expected {want!r}")


def that(what, holds):
    if not holds:
        raise AssertionError(what)


def raises(kind, function, *args, **kwargs):
    """Expects function to raise kind (a class or a tuple of them) and returns what was raised."""
    try:
        got = function(*args, **kwargs)
    except kind as e:
        return e
    raise AssertionError(f"expected {kind}, got {got!r}")


def until(what, function, limit=20.0):
    """Calls function until it returns something true, for at most limit seconds."""
    deadline = time.monotonic() + limit
    while True:
        got = function()
        if got:
            return got
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {limit} s: {what}")
