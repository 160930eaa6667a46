"""Writes envelope.json with PyCryptodome: see README.md."""

import base64
import hashlib
import json

from Crypto.Cipher import AES
from Crypto.Util.Padding import pad

KEY = "mefp-secret-of-the-test-vectors!"
IV = "melinkmelink1234"

SAMPLES = {
    "register": '{\n    "login_name": "15068880258",\n    "password": "123456",\n    "captcha": "629457"\n}',
    "login": '{\n    "login_name": "13612345678",\n    "password": "123456"\n}',
    "captcha": '{\n    "login_name": "15068880258",\n    "usage": 1\n}',
    "forgot": '{\n    "login_name": "15068880258",\n    "new_password": "123456",\n    "captcha": "629457"\n}',
    "token": '{\n    "login_name": "15068880258",\n    "app_to": "melink"\n}',
    "check loginname": '{\n    "login_name": "15068880258"\n}',
    "check captcha": '{\n    "login_name": "15068880258",\n    "captcha": "629457"\n}',
    "chinese": '{"login_name":"13612345678","password":"密码密码密码"}',
    "whole blocks": '{"login_name":"13612345678","password":"1234567890123456789012"}',
    "one block": '{"token":"abcd"}',
    "empty object": "{}",
}

PADDINGS = {
    "pkcs7": lambda text: pad(text, 16, "pkcs7"),
    "zeros": lambda text: text + b"\0" * (-len(text) % 16),
    "spaces": lambda text: text + b" " * (-len(text) % 16),
    "a block of zeros": lambda text: text + b"\0" * (16 - len(text) % 16),
    "a block of spaces": lambda text: text + b" " * (16 - len(text) % 16),
    "pkcs7 of 32": lambda text: pad(text, 32, "pkcs7"),
    "iso7816": lambda text: pad(text, 16, "iso7816"),
    "x923": lambda text: pad(text, 16, "x923"),
    "iso10126": lambda text: text + noise(-len(text) % 16 or 16)[1:] + bytes([-len(text) % 16 or 16]),
    "a terminator, pkcs7": lambda text: pad(text + b"\0", 16, "pkcs7"),
    "a line break, zeros": lambda text: text + b"\n" + b"\0" * (-(len(text) + 1) % 16 or 16),
    "a byte order mark, pkcs7": lambda text: pad(b"\xef\xbb\xbf" + text, 16, "pkcs7"),
}


def noise(length: int) -> bytes:
    """What stands for the random bytes of ISO 10126; the same each time."""
    return hashlib.sha256(b"noise").digest()[:length]


def encrypt(padded: bytes) -> str:
    return base64.b64encode(AES.new(KEY.encode(), AES.MODE_CBC, IV.encode()).encrypt(padded)).decode()


vectors = [
    {"name": name, "padding": padding, "text": text, "encrypt": encrypt(fill(text.encode()))}
    for name, text in SAMPLES.items()
    for padding, fill in PADDINGS.items()
]
assert len(SAMPLES["one block"]) == 16 and len(SAMPLES["whole blocks"]) % 16 == 0
with open("envelope.json", "w", encoding="utf-8") as file:
    json.dump({"key": KEY, "iv": IV, "vectors": vectors}, file, ensure_ascii=False, indent=1)
    file.write("\n")
