"""The portal: forms whose password and code are base64-encoded."""

import re

from wire import BODIES, DECIMAL, b64

REGISTER, LOGIN, LOGOUT, RESET, SEND = "/i/register", "/i/login", "/i/logout", "/i/resetpwd", "/code/send"


def response_body(code, content, message=re.compile(".+")):
    return {"status": {"status_code": code, "status_message": message, "message": message}, "content": content}


def portal(wire):
    done, memo = response_body("200", {}, "OK"), response_body("200", {"memo": ""}, "OK")
    phone, email = "13912345678", "Somebody@Example.com"

    def send(to, form="form"):
        return wire.code(to, lambda: wire.expect(wire.post(form, SEND, {"username": to}), done))

    wire.expect(wire.post("form", SEND, {"username": "1391234567"}), response_body("3203", {}))
    wire.expect(wire.post("form", SEND, {"username": "somebody@"}), response_body("3204", {}))

    for to, form in ((phone, "form"), (email, "jquery")):
        user = {"username": to, "password": b64("secret-1"), "code": b64("000000")}
        code = send(to, form)
        if code != "000000":
            wire.expect(wire.post(form, REGISTER, user), response_body("3208", {}))
        user["code"] = b64(code)
        wire.expect(wire.post(form, REGISTER, user), memo)
        # The code is consumed. Only a valid code reveals that the user exists.
        wire.expect(wire.post(form, REGISTER, user), response_body("3208", {}))
        user["code"] = b64(send(to, "json"))
        wire.expect(wire.post("multipart", REGISTER, user), response_body("3207", {}))

    def person(to, mobile, address):
        return {
            "id": DECIMAL, "user_name": to, "mobile": mobile, "email": address, "user_type": 0, "gid": DECIMAL,
            "orgId": "", "passport": to, "memo": "",
        }  # fmt: skip

    first = None
    for form in BODIES:
        response = wire.post(form, LOGIN, {"username": phone, "password": b64("secret-1")})
        got = wire.expect(response, response_body("200", person(phone, phone, ""), "OK"))
        cookie = response.headers.get("set-cookie", "")
        assert "httponly" in cookie.lower(), f"not an HttpOnly cookie: {cookie!r}"
        first = first or got["content"]
        assert got["content"] == first and int(first["gid"]) > 100000
    wire.expect(wire.post("form", LOGIN, {"username": email.lower(), "password": b64("secret-1")}),
                response_body("200", person(email, "", email), "OK"))  # fmt: skip
    wire.expect(wire.post("form", LOGIN, {"username": phone, "password": b64("wrong-1")}), response_body("3202", {}))
    wire.expect(wire.post("form", LOGIN, {"username": "13900000000", "password": b64("wrong-1")}), response_body("3201", {}))
    # A login may contain a code, which must then be right.
    login = {"username": phone, "password": b64("secret-1"), "code": b64(send(phone))}
    wire.expect(wire.post("form", LOGIN, login), response_body("200", first, "OK"))
    wire.expect(wire.post("form", LOGIN, {"username": phone, "password": "%%%"}), response_body("400", {}), status=400)

    pair = cookie.split(";")[0]
    wire.expect(wire.post("form", LOGOUT, {"username": phone}, {"Cookie": pair}), done)
    wire.expect(wire.post("form", LOGOUT, {"username": phone}, {"Cookie": pair}), done)
    wire.expect(wire.post("form", LOGOUT, {"username": "unknown"}), done)

    reset = {"username": email, "password": b64("secret-2"), "code": b64("12")}
    wire.expect(wire.post("form", RESET, reset), response_body("3208", {}))
    reset["code"] = b64(send(email))
    wire.expect(wire.post("jquery", RESET, reset), memo)
    wire.expect(wire.post("form", LOGIN, {"username": email, "password": b64("secret-1")}), response_body("3202", {}))
    wire.expect(wire.post("form", LOGIN, {"username": email, "password": b64("secret-2")}),
                response_body("200", person(email, "", email), "OK"))  # fmt: skip
    stranger = {"username": "13900000001", "password": b64("secret-2"), "code": b64(send("13900000001"))}
    wire.expect(wire.post("form", RESET, stranger), response_body("3201", {}))
