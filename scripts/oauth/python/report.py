"""What the Python clients share: the world on standard input, and a line on standard output for each check."""

import json
import sys

WORLD = json.load(sys.stdin)


def ensure(condition, text):
    if not condition:
        raise AssertionError(text)


def check(name, run):
    """Runs one check and prints its result."""
    result = {"check": name, "result": "ok"}
    try:
        run()
    except Exception as error:
        result = {"check": name, "result": "failed", "detail": f"{type(error).__name__}: {error}"}
    print(json.dumps(result), flush=True)


def check_exchange(tokens, claims, subject):
    """Checks the response of a token exchange (RFC 8693 section 2.2.1), and what its claims say about the login."""
    ensure(tokens["issued_token_type"] == WORLD["access_token_type"], tokens)
    ensure("refresh_token" not in tokens and 0 < tokens["expires_in"] <= 300, tokens)
    for name, value in subject["claims"].items():
        ensure(claims.get(name) == value, f"{name} {claims.get(name)} instead of {value}")
    for name in subject["present"]:
        ensure(name in claims, f"no claim {name}")
