#!/usr/bin/env python3
"""Makes every documented call of the five dialects and compares each response with its API document. See README.md."""

import json
import sys
import traceback

import wire
from auth import auth
from mefp import mefp
from portal import portal
from salted import cloudbox, tms


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        settings = json.load(file)
    failures = 0
    for dialect in (cloudbox, tms, portal, mefp, auth):
        before = wire.CHECKS
        try:
            dialect(wire.Wire(settings))
            print(f"{dialect.__name__}: {wire.CHECKS - before} responses as documented")
        except Exception:
            failures += 1
            print(f"{dialect.__name__}: failed after {wire.CHECKS - before} responses\n{traceback.format_exc()}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
