"""MeFP: JSON inside AES-256-CBC inside base64 inside JSON."""

import base64
import json
import re

from wire import ANY, aes, assert_same, parse_unique_names

ERRORS = {
    40001: "用户名已存在", 40002: "验证码错误", 40003: "用户名或密码错误", 40004: "电话号码错误", 40005: "用户名不存在",
    40006: "获取token失败", 40007: "用户不存在",
}  # fmt: skip
DONE = {"result": 1}
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


def failed(code):
    return {"result": 0, "errors": {"code": code, "message": ERRORS[code]}}


def pad_pkcs7(data):
    size = 16 - len(data) % 16
    return data + bytes([size]) * size


def pad_zeros(data):
    return data + b"\0" * (-len(data) % 16)


def pad_spaces(data):
    return data + b" " * (-len(data) % 16)


def remove_padding(data, pad):
    """Removes the padding of a response, which must be of the same kind as the padding of its request."""
    text = data[: -data[-1]] if pad is pad_pkcs7 else data.rstrip(b"\0 ")
    assert pad(text) == data, f"not padded by {pad.__name__}: {data!r}"
    return text


class App:
    def __init__(self, wire, name):
        self.wire, self.name = wire, name
        self.shared, self.own = wire.settings["mefp_secret"], wire.settings["apps"][name]
        assert (len(self.shared), len(self.own)) == (32, 16), "mefp_secret has 32 characters, app_secret 16"

    def call(self, path, message, expected, pad=pad_pkcs7):
        """Sends an encrypted message and compares the decrypted response."""
        plain = json.dumps(message).encode()
        encrypted = aes("-e", pad(plain), self.shared, self.own)
        envelope = {"encrypt": base64.b64encode(encrypted).decode(), "app_from": self.name}
        response = self.wire.post("json", path, envelope)
        outer = self.wire.expect(response, {"encrypt": ANY})
        text = aes("-d", base64.b64decode(outer["encrypt"], validate=True), self.shared, self.own)
        # A request that needs no padding gets a PKCS#7 response.
        text = remove_padding(text, pad_pkcs7 if pad(plain) == plain else pad)
        got = json.loads(text.decode(), object_pairs_hook=parse_unique_names)
        assert_same(got, expected, f"{path} {message}")
        return got


def mefp(wire):
    melink, wlfz = App(wire, "melink"), App(wire, "wlfz")
    phone, password = "15068880258", "7264091"
    user = {"login_name": phone}

    def captcha(usage, app=melink, to=phone):
        return wire.code(to, lambda: app.call("/auth/captcha", {"login_name": to, "usage": usage}, DONE))

    melink.call("/auth/check/loginname", user, failed(40005))
    melink.call("/auth/captcha", {"login_name": phone, "usage": 2}, failed(40007))
    melink.call("/auth/captcha", {"login_name": "1506888", "usage": 1}, failed(40004))
    melink.call("/auth/register", {**user, "password": password, "captcha": "000000"}, failed(40002))
    first = captcha(1)
    code = captcha("1")
    if first != code:
        melink.call("/auth/check/captcha", {**user, "captcha": first}, failed(40002))
    # Checking a code does not consume it.
    melink.call("/auth/check/captcha", {**user, "captcha": code}, DONE, pad_zeros)
    melink.call("/auth/check/captcha", {**user, "captcha": code}, DONE, pad_spaces)
    melink.call("/auth/register", {**user, "password": password, "captcha": code}, DONE)
    melink.call("/auth/check/captcha", {**user, "captcha": code}, failed(40002))
    melink.call("/auth/captcha", {"login_name": phone, "usage": 1}, failed(40001))
    registered = {"result": 1, "reg_app": "melink", "reg_time": TIME}
    response = melink.call("/auth/check/loginname", user, registered)
    assert wlfz.call("/auth/check/loginname", user, registered) == response

    for pad in (pad_pkcs7, pad_zeros, pad_spaces):
        melink.call("/auth/login", {**user, "password": password}, DONE, pad)
    melink.call("/auth/login", {"login_name": int(phone), "password": int(password)}, DONE)
    melink.call("/auth/login", {**user, "password": "wrong-1"}, failed(40003))
    melink.call("/auth/login", {"login_name": "15068880259", "password": password}, failed(40003))
    melink.call("/auth/login", {"login_name": "test", "password": password}, failed(40004))

    # melink hands its user over to wlfz, which can redeem the token once.
    token = melink.call("/auth/token", {**user, "app_to": "wlfz"}, {"result": 1, "token": ANY})["token"]
    melink.call("/auth/check/token", {"token": token}, failed(40006))
    wlfz.call("/auth/check/token", {"token": token}, {"result": 1, "login_name": phone, "app_from": "melink"})
    wlfz.call("/auth/check/token", {"token": token}, failed(40006))
    wlfz.call("/auth/token", {**user, "app_to": "melink"}, failed(40006))
    melink.call("/auth/token", {**user, "app_to": "unknown"}, failed(40006))
    melink.call("/auth/token", {"login_name": "15068880259", "app_to": "wlfz"}, failed(40006))

    melink.call("/auth/forgot", {**user, "new_password": "secret-2", "captcha": "12"}, failed(40002))
    code = captcha(2)
    melink.call("/auth/forgot", {**user, "new_password": "secret-2", "captcha": code}, DONE)
    melink.call("/auth/forgot", {**user, "new_password": "secret-2", "captcha": code}, failed(40002))
    melink.call("/auth/login", {**user, "password": password}, failed(40003))
    melink.call("/auth/login", {**user, "password": "secret-2"}, DONE)

    # Every envelope that cannot be decrypted gets the same response, byte for byte.
    plain = {"result": 0, "errors": {"code": 40000, "message": "请求无法解密"}}
    encrypted = base64.b64encode(aes("-e", pad_pkcs7(b"{}"), melink.shared, melink.own)).decode()
    unpadded = base64.b64encode(aes("-e", b"\x11" * 16, melink.shared, melink.own)).decode()
    no_json = base64.b64encode(aes("-e", pad_pkcs7(b"{"), melink.shared, melink.own)).decode()
    undecryptable = [("unknown", encrypted), ("melink", "***"), ("melink", encrypted[:-4]), ("melink", unpadded), ("melink", no_json)]
    undecryptable += [("melink", base64.b64encode(b"\0" * size).decode()) for size in (1, 15, 16, 17, 32)]
    responses = [wire.post("json", "/auth/login", {"encrypt": text, "app_from": name}) for name, text in undecryptable]
    for response in responses:
        wire.expect(response, plain, status=responses[0].status)
    assert len({response.body for response in responses}) == 1
    malformed = {"result": 0, "errors": {"code": 40000, "message": ANY}}
    wire.expect(wire.call("POST", "/auth/login", b"{", {"Content-Type": "application/json"}), malformed, status=400)
    for envelope in ({"app_from": "melink"}, {"encrypt": encrypted}, {"encrypt": "", "app_from": "melink"}, {}):
        wire.expect(wire.post("json", "/auth/login", envelope), malformed, status=400)
