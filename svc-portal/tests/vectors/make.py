"""Writes base64.json: values that portal clients may send, and the text that each encodes (null: rejected).

All values are computed by Python's base64 module, without code of this project.
"""

import base64
import json
import pathlib
import urllib.parse

TEXTS = [
    "123456",
    "12345",
    "1234",
    "hna123",
    "密码密码密码",
    "пароль",
    "🔑🔑",
    "叾",  # base64 ends in two pluses
    "ab>",  # base64 ends in one plus
    "ab~",
    "???>>>~~~",
    "a b\tc\n",
    " leading and trailing ",
    "x" * 128,
    "\x00",
]


def writings(text):
    """Every way to write the text that is accepted."""
    raw = text.encode("utf-8")
    standard = base64.b64encode(raw).decode("ascii")
    safe = base64.urlsafe_b64encode(raw).decode("ascii")
    yield from (standard, standard.rstrip("="), safe, safe.rstrip("="))
    yield from (standard.replace("+", " "), standard.rstrip("=").replace("+", " "))
    yield from (f" {standard}", f"\t\r\n{standard}\n", f"{standard}\r\n", f"{standard}=", f"{standard.rstrip('=')}===")
    # Line breaks, as MIME and Android insert them, at any width.
    yield base64.encodebytes(raw).decode("ascii")
    yield "\r\n".join(standard[at : at + 5] for at in range(0, len(standard), 5))
    # Percent-encoded twice; the form decoding undoes one of them.
    for written in (standard, standard.rstrip("="), base64.encodebytes(raw).decode("ascii")):
        yield urllib.parse.quote(written, safe="")


def refused():
    """What is no base64, or stands for no text."""
    yield from ("", " ", "=", "====", "!", "MTIzNDU2!", "MTIz.NDU2", "ＭＴＩｚ", "%4D", "MQ%", "MQ%3", "%FF")
    # Truncated, wrongly padded, or with nonzero trailing bits.
    yield from ("M", "MTIzN", "M===", "MQ==MQ==", "=MQ", "M=Q", "MR==", "MTJ=", "MR")
    for raw in (b"\xff", b"\xc3", b"\xed\xa0\x80", "密码".encode("gbk"), b"\xfb\xef\xbe"):
        assert not decodes(raw)
        yield base64.b64encode(raw).decode("ascii")


def decodes(raw):
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def main():
    vectors = {}
    for text in TEXTS:
        for sent in writings(text):
            assert vectors.setdefault(sent, text) == text, f"{sent!r} would be ambiguous"
    for sent in refused():
        assert vectors.setdefault(sent, None) is None, f"{sent!r} is good"
    lines = ",\n".join(json.dumps(pair) for pair in vectors.items())
    path = pathlib.Path(__file__).with_name("base64.json")
    path.write_text(f"[\n{lines}\n]\n", encoding="ascii")


if __name__ == "__main__":
    main()
