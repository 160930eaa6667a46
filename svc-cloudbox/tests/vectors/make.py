#!/usr/bin/env python3
"""Writes salted.json: salted password digests computed without code of Stele.

Needs only the standard library. Run it in this folder: python3 make.py > salted.json
"""

import hashlib
import json

PASSWORDS = [
    "123456",
    "hna123",
    "a",
    " leading and trailing spaces ",
    "p@$$w0rd!\"'\\&=%+",
    "密码密码密码",
    "Пароль",
    "e\u0301 is not \u00e9",
    "\u00e9 is not e\u0301",
    "🔑🔒🐉",
    "👩‍👩‍👧‍👦",
    "tab\tnewline\n",
    "nul\0inside",
    "x" * 128,
    "密" * 1000,
]

TIMESTAMPS = [0, 1, 1511839692, 1521515662, 1522395456, 1767254400, 4102444800, 2**63 - 1]


def md5(text):
    return hashlib.md5(text.encode("utf-8")).hexdigest()


vectors = [
    {
        "password": password,
        "digest": md5(password),
        "salted": [{"timestamp": at, "digest": md5(md5(password) + str(at))} for at in TIMESTAMPS],
    }
    for password in PASSWORDS
]
print(json.dumps(vectors, ensure_ascii=True, indent=1))
