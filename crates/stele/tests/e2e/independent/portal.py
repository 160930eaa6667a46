"""The portal: forms whose password and code are base64."""

import re

from wire import BODIES, DECIMAL, b64

REGISTER, LOGIN, LOGOUT, RESET, SEND = "/i/register", "/i/login", "/i/logout", "/i/resetpwd", "/code/send"


def said(code, content, message=re.compile(".+")):
    return {"status": {"status_code": code, "status_message": message, "message": message}, "content": content}


def portal(wire):
    done, memo = said("200", {}, "OK"), said("200", {"memo": ""}, "OK")
    phone, email = "13912345678", "Somebody@Example.com"

    def send(to, form="form"):
        return wire.code(to, lambda: wire.expect(wire.post(form, SEND, {"username": to}), done))

    wire.expect(wire.post("form", SEND, {"username": "1391234567"}), said("3203", {}))
    wire.expect(wire.post("form", SEND, {"username": "somebody@"}), said("3204", {}))

    for to, form in ((phone, "form"), (email, "jquery")):
        user = {"username": to, "password": b64("secret-1"), "code": b64("000000")}
        code = send(to, form)
        if code != "000000":
            wire.expect(wire.post(form, REGISTER, user), said("3208", {}))
        user["code"] = b64(code)
        wire.expect(wire.post(form, REGISTER, user), memo)
        # The code is consumed; a valid one reveals that the user exists.
        wire.expect(wire.post(form, REGISTER, user), said("3208", {}))
        user["code"] = b64(send(to, "json"))
        wire.expect(wire.post("multipart", REGISTER, user), said("3207", {}))

    def person(to, mobile, address):
        return {
            "id": DECIMAL, "user_name": to, "mobile": mobile, "email": address, "user_type": 0, "gid": DECIMAL,
            "orgId": "", "passport": to, "memo": "",
        }  # fmt: skip

    first = None
    for form in BODIES:
        answer = wire.post(form, LOGIN, {"username": phone, "password": b64("secret-1")})
        got = wire.expect(answer, said("200", person(phone, phone, ""), "OK"))
        cookie = answer.headers.get("set-cookie", "")
        assert "httponly" in cookie.lower(), f"not an HttpOnly cookie: {cookie!r}"
        first = first or got["content"]
        assert got["content"] == first and int(first["gid"]) > 100000
    wire.expect(wire.post("form", LOGIN, {"username": email.lower(), "password": b64("secret-1")}),
                said("200", person(email, "", email), "OK"))  # fmt: skip
    wire.expect(wire.post("form", LOGIN, {"username": phone, "password": b64("wrong-1")}), said("3202", {}))
    wire.expect(wire.post("form", LOGIN, {"username": "13900000000", "password": b64("wrong-1")}), said("3201", {}))
    # A code in a login is optional, but must be correct.
    login = {"username": phone, "password": b64("secret-1"), "code": b64(send(phone))}
    wire.expect(wire.post("form", LOGIN, login), said("200", first, "OK"))
    wire.expect(wire.post("form", LOGIN, {"username": phone, "password": "%%%"}), said("400", {}), status=400)

    pair = cookie.split(";")[0]
    wire.expect(wire.post("form", LOGOUT, {"username": phone}, {"Cookie": pair}), done)
    wire.expect(wire.post("form", LOGOUT, {"username": phone}, {"Cookie": pair}), done)
    wire.expect(wire.post("form", LOGOUT, {"username": "unknown"}), done)

    reset = {"username": email, "password": b64("secret-2"), "code": b64("12")}
    wire.expect(wire.post("form", RESET, reset), said("3208", {}))
    reset["code"] = b64(send(email))
    wire.expect(wire.post("jquery", RESET, reset), memo)
    wire.expect(wire.post("form", LOGIN, {"username": email, "password": b64("secret-1")}), said("3202", {}))
    wire.expect(wire.post("form", LOGIN, {"username": email, "password": b64("secret-2")}),
                said("200", person(email, "", email), "OK"))  # fmt: skip
    stranger = {"username": "13900000001", "password": b64("secret-2"), "code": b64(send("13900000001"))}
    wire.expect(wire.post("form", RESET, stranger), said("3201", {}))
