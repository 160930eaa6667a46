"""Generates imported.txt: hashes of one password by other implementations.

    python3 -m venv env && env/bin/pip install argon2-cffi bcrypt && env/bin/python make.py > imported.txt
"""
import hashlib

import argon2.low_level as argon2
import bcrypt

PASSWORD = b"correct horse"


def phc(kind: argon2.Type, memory: int, passes: int, lanes: int) -> str:
    return argon2.hash_secret(PASSWORD, b"0123456789abcdef", passes, memory, lanes, 32, kind).decode()


print("# Made by make.py: argon2-cffi", "(the reference C code), bcrypt (PyPI) and Python's hashlib.")
print(phc(argon2.Type.ID, 19_456, 2, 1))
print(phc(argon2.Type.ID, 256, 2, 1))
print(phc(argon2.Type.I, 256, 2, 2))
print(phc(argon2.Type.D, 256, 1, 1))
for prefix in (b"2b", b"2a"):
    print(bcrypt.hashpw(PASSWORD, bcrypt.gensalt(5, prefix)).decode())
print(bcrypt.hashpw(PASSWORD, bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$"))
SALT = "s盐".encode()
print(f"$md5ps${SALT.hex()}${hashlib.md5(PASSWORD + SALT).hexdigest()}")
print(f"$md5sp${SALT.hex()}${hashlib.md5(SALT + PASSWORD).hexdigest()}")
