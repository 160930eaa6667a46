"""The JWT dialect: login, logout, password reset by a code, captchas."""

import base64
import json
import re
import time
import urllib.parse

from wire import ANY, BODIES, UUID, assert_same

V1, VI = "/api/v1/Auth/", "/api/vi/Auth/"
JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+")


def succeeded(message):
    return {"code": 0, "message": message}


def failed(message=ANY):
    return {"code": -1, "message": message}


def check_claims(token, issued_to):
    head, body, _ = (json.loads(base64.urlsafe_b64decode(part + "==")) if n < 2 else part
                     for n, part in enumerate(token.split(".")))  # fmt: skip
    assert head["alg"] == "EdDSA" and head["kid"], head
    assert set(body) == {"sub", "jti", "iat", "exp", "iss"} and body["sub"] == issued_to, body
    assert type(body["exp"]) is int and body["iat"] <= time.time() + 5 and body["exp"] - body["iat"] == 12 * 3600, body
    return body


def auth(wire):
    person = wire.settings["jwt"]
    account, password = person["name"], person["password"]
    user = {
        "userId": UUID, "account": account, "realName": "钱七", "organizationName": "组织", "departmentName": "部门",
        "roleName": ANY, "description": "说明", "avatar": "https://example.com/a.png", "gender": True,
    }  # fmt: skip
    logged_in = {"code": 0, "message": "登录成功", "user": user, "token": JWT}

    def login(secret, form="jquery", path=V1 + "Login", name=account):
        response = wire.post(form, path, {"account": name, "password": secret})
        got = wire.expect(response, logged_in)
        assert response.headers.get("authorization") == "Bearer " + got["token"], response.headers
        assert got["user"]["userId"] == person["id"]
        return got["token"]

    tokens = [login(password, form) for form in BODIES]
    tokens += [login(password, path=path) for path in (VI + "Login", "/api/v1/auth/login", "/API/V1/AUTH/LOGIN")]
    tokens += [login(password, name=name) for name in (person["phone"], person["email"], account.upper())]
    assert len({check_claims(token, person["id"])["jti"] for token in tokens}) == len(tokens)
    wrong = wire.expect(wire.post("jquery", V1 + "Login", {"account": account, "password": "wrong-1"}), failed())
    wire.expect(wire.post("jquery", V1 + "Login", {"account": "unknown", "password": "wrong-1"}), failed(wrong["message"]))
    wire.expect(wire.post("jquery", V1 + "Login", {"account": account}), failed(), status=400)

    sample = {"Content-Type": "multipart/form-data"}
    token_headers = [{"token": tokens[0], **sample}, {"Authorization": "Bearer " + tokens[1]}, {"Authorization": tokens[2]},
               {"token": "Bearer " + tokens[3]}]  # fmt: skip
    for headers in token_headers:
        wire.expect(wire.call("GET", V1 + "Logout", headers=headers), succeeded("注销成功"))
        wire.expect(wire.call("GET", V1 + "Logout", headers=headers), failed("注销失败"), status=401)
    wire.expect(wire.call("GET", V1 + "Logout"), failed("注销失败"), status=401)

    def forget(fields, path=VI):
        return wire.expect(wire.post("jquery", path + "ForgetPassword", fields), succeeded("发送短信成功"))

    def validate(code, form):
        response = wire.post(form, VI + "validatePhone", {"account": account, "identifyCode": code})
        got = wire.expect(response, {**succeeded("验证码正确"), "token": ANY})
        assert response.headers.get("authorization") == "Bearer " + got["token"], response.headers
        return got["token"]

    def update(token, secret, form="jquery"):
        headers = {"Authorization": token} if token else {}
        return wire.post(form, VI + "updatePassword", {"account": account, "password": secret}, headers)

    reset_request = {"account": account, "phone": person["phone"]}
    forget({"account": account, "phone": "13700000000"})
    forget({"account": "unknown", "phone": "13700000001"})
    requests = [(person["phone"], reset_request, VI, "query"), (person["email"], {"account": account, "email": person["email"]}, V1, "jquery")]
    for index, (to, fields, path, form) in enumerate(requests):
        code = wire.code(to, lambda: forget(fields, path))
        bad = {"account": account, "identifyCode": "1230"}
        wire.expect(wire.post(form, VI + "validatePhone", bad), failed("验证码错误"))
        token, secret = validate(code, form), f"123456-{index}"
        wire.expect(wire.post(form, VI + "validatePhone", {**bad, "identifyCode": code}), failed("验证码错误"))
        for invalid in (None, "0" * 32):
            wire.expect(update(invalid, secret), failed("更新密码失败"), status=401)
        other = {"account": wire.settings["cloudbox"]["name"], "password": secret}
        refused = wire.post("jquery", VI + "updatePassword", other, {"Authorization": token})
        assert_same(refused.json(), failed("更新密码失败"), "another user's account")
        wire.expect(update("Bearer " + token if index else token, secret), succeeded("更新密码成功"))
        wire.expect(update(token, secret), failed("更新密码失败"), status=401)
    assert wire.codes("13700000000") == wire.codes("13700000001") == [], "a code was sent to a stranger"
    wire.expect(wire.call("GET", V1 + "Logout", headers={"token": tokens[4]}), failed("注销失败"), status=401)

    # The token of a recent login also authorizes a password change, in either header.
    wire.expect(update(login("123456-1"), "123456-2", "json"), succeeded("更新密码成功"))
    fields = {"account": account, "password": "123456-3"}
    response = wire.post("form", VI + "updatePassword", fields, {"token": login("123456-2")})
    wire.expect(response, succeeded("更新密码成功"))
    login("123456-3")

    picture = {"code": 0, "message": "获取验证码成功", "data": {"id": int, "URL": ANY}}
    seen = set()
    for response in (wire.call("GET", VI + "getCAPTCHA"), wire.post("jquery", VI + "CAPTCHA", {}), wire.call("GET", V1 + "getCAPTCHA")):
        data = wire.expect(response, picture)["data"]
        assert 0 <= data["id"] < 2**53
        url = urllib.parse.urlsplit(urllib.parse.urljoin(wire.settings["url"] + VI + "getCAPTCHA", data["URL"]))
        assert url.netloc == wire.host, data
        served = wire.call("GET", url.path + ("?" + url.query if url.query else ""))
        assert served.status == 200 and served.headers["content-type"] == "image/png", (served.status, served.headers)
        assert served.body.startswith(b"\x89PNG\r\n\x1a\n") and served.body.endswith(b"IEND\xaeB`\x82")
        seen.add((data["id"], served.body))
    assert len(seen) == 3
