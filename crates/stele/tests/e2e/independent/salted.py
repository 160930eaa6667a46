"""Cloudbox and TMS: salted proofs, md5(md5(password) + timestamp)."""

import re

from wire import ANY, BODIES, HEX32, UUID, md5, salted

LOGIN = "/api/v1/cloudbox/smarttms/auth/authsalt"
LOGOUT = "/api/v1/cloudbox/smarttms/logout"
RESET = "/api/v1/cloudbox/auth/pwdreset"
TMS = "/container/api/v1/cloudbox/tms/auth/"
ZULU = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
CHINA = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+08:00")


def succeeded(data):
    return {"message": "Succ", "code": "0000", "data": data}


def failed(code, message=ANY):
    return {"message": message, "code": code}


def cloudbox(wire):
    person = wire.settings["cloudbox"]
    password, name = person["password"], person["name"]
    user = {
        "user_id": person["id"], "user_name": name, "register_time": ZULU, "status": "", "avatar_url": "",
        "user_phone": person["phone"], "user_email": person["email"], "user_token": HEX32, "role": "user",
        "user_real_name": "fff", "user_gender": "男", "user_nickname": "", "user_alias_id": HEX32,
        "enterprise": "e8d3bc38-beb0-11e7-888f-525400d25920", "group": "rentuser",
    }  # fmt: skip

    def proof(secret=password, username=name, number=True, upper=False):
        at = wire.timestamp()
        hexed = salted(secret, at)
        return {"username": username, "password": hexed.upper() if upper else hexed, "timestamp": at if number else str(at)}

    tokens = []
    for form in BODIES:
        for number, upper in ((True, False), (False, True)):
            response = wire.expect(wire.post(form, LOGIN, proof(number=number, upper=upper)), succeeded(user))
            tokens.append(response["data"]["user_token"])
    for username in (person["phone"], person["email"], name.upper(), person["email"].upper()):
        response = wire.expect(wire.post("json", LOGIN, proof(username=username)), succeeded(user))
        tokens.append(response["data"]["user_token"])
    assert len(set(tokens)) == len(tokens), "a session token twice"
    alias = response["data"]["user_alias_id"]

    wrong = wire.expect(wire.post("json", LOGIN, proof("nonsense")), failed("1002"))
    unknown = wire.post("json", LOGIN, proof("nonsense", "unknown"))
    wire.expect(unknown, failed("1002", wrong["message"]))
    sent = proof()
    wire.expect(wire.post("json", LOGIN, sent), succeeded(user))
    wire.expect(wire.post("json", LOGIN, sent), failed("1004"))
    old = wire.timestamp() - 100_000
    stale = {"username": name, "password": salted(password, old), "timestamp": old}
    wire.expect(wire.post("json", LOGIN, stale), failed("1003"))
    for field in ("username", "password", "timestamp"):
        incomplete = {key: value for key, value in proof().items() if key != field}
        wire.expect(wire.post("json", LOGIN, incomplete), failed("1001", re.compile(f".*{field}.*")), status=400)

    logged_out = {"msg": "退出成功"}
    wire.expect(wire.call("POST", LOGOUT, headers={"Authorization": tokens[0]}), logged_out)
    wire.expect(wire.call("POST", LOGOUT, headers={"Authorization": tokens[0]}), failed("1005"), status=401)
    wire.expect(wire.call("POST", LOGOUT), failed("1005"), status=401)
    wire.expect(wire.post("json", LOGOUT, {}, {"Authorization": tokens[1].upper()}), logged_out)

    secret, latest = password, tokens[2]
    ids = (person["id"], person["id"].replace("-", ""), person["id"].upper(), person["id"].replace("-", "").upper())
    for index, user_id in enumerate(ids):
        new, at = f"changed-{index}", wire.timestamp()
        digest = md5(new).upper() if index % 2 else md5(new)
        body = {"user_id": user_id, "orig_password": salted(secret, at), "new_password": digest, "timestamp": at}
        response = wire.expect(wire.post(BODIES[index % 4], RESET, body), succeeded(user))
        assert response["data"]["user_alias_id"] == alias, "user_alias_id changed"
        wire.expect(wire.call("POST", LOGOUT, headers={"Authorization": latest}), failed("1005"), status=401)
        secret, latest = new, response["data"]["user_token"]
    # Cloudbox does not accept the user's number as an id: the right proof is treated as an unknown user's.
    for number in (person["number"], int(person["number"])):
        at = wire.timestamp()
        body = {"user_id": number, "orig_password": salted(secret, at), "new_password": md5("x-password"), "timestamp": at}
        wire.expect(wire.post("json", RESET, body), failed("1002", wrong["message"]))
    wire.expect(wire.post("json", LOGIN, proof()), failed("1002"))
    wire.expect(wire.post("json", LOGIN, proof(secret)), succeeded(user))
    wire.expect(wire.call("POST", LOGOUT, headers={"Authorization": latest}), logged_out)


def tms(wire):
    admin, person, client = wire.settings["admin"], wire.settings["tms"], wire.settings["client_token"]

    def user(account, role, group):
        return {
            "user_id": account["id"], "user_name": account["name"], "register_time": CHINA, "status": "", "avatar_url": "",
            "user_phone": account["phone"], "user_email": account["email"], "user_token": HEX32, "user_real_name": "",
            "user_gender": "", "user_nickname": "", "user_alias_id": HEX32, "role": role, "group": group,
        }  # fmt: skip

    the_admin, the_user = user(admin, "1", "admin"), user(person, "2", "user")
    authorization = {"Authorization": client}

    def proof(account, secret=None, number=True, digest=False):
        at, secret = wire.timestamp(), secret or account["password"]
        hexed = md5(secret) if digest else salted(secret, at)
        return {"username": account["name"], "password": hexed, "timestamp": at if number else str(at)}

    for form in BODIES:
        for number, digest in ((True, False), (False, True)):
            sent = proof(admin, number=number, digest=digest)
            response = wire.expect(wire.post(form, TMS + "adminauthsalt", sent, authorization), succeeded(the_admin))
            sent = proof(person, number=number, digest=digest)
            wire.expect(wire.post(form, TMS + "authsalt", sent, authorization), succeeded(the_user))
    # A valid user token is accepted in place of a client token.
    live = {"Authorization": response["data"]["user_token"]}
    wire.expect(wire.post("json", TMS + "authsalt", proof(person), live), succeeded(the_user))
    wire.expect(wire.post("json", TMS + "authsalt", proof(admin), live), succeeded(the_admin))
    # Other users get the response of a wrong password from the admin login.
    wrong = wire.expect(wire.post("json", TMS + "adminauthsalt", proof(admin, "wrong"), authorization), failed("1002"))
    rejected = failed("1002", wrong["message"])
    wire.expect(wire.post("json", TMS + "adminauthsalt", proof(person), authorization), rejected)
    wire.expect(wire.post("json", TMS + "authsalt", proof(person, "wrong"), authorization), rejected)
    for headers in ({}, {"Authorization": "0" * 32}):
        wire.expect(wire.post("json", TMS + "authsalt", proof(person), headers), failed("1005"), status=401)

    own = wire.expect(wire.post("json", TMS + "authsalt", proof(person), authorization), succeeded(the_user))
    token, secret = own["data"]["user_token"], person["password"]
    assert UUID.fullmatch(own["data"]["user_id"])
    for index, user_id in enumerate((person["number"], person["id"], int(person["number"]))):
        new, at = f"tms-changed-{index}", wire.timestamp()
        before = md5(secret) if index == 1 else salted(secret, at)
        body = {"user_id": user_id, "orig_password": before, "new_password": md5(new), "timestamp": at}
        wire.expect(wire.post("json", TMS + "pwdreset", body), failed("1005"), status=401)
        wire.expect(wire.post("json", TMS + "pwdreset", body, authorization), failed("1005"), status=401)
        response = wire.expect(wire.post(BODIES[index], TMS + "pwdreset", body, {"Authorization": token}), succeeded(the_user))
        wire.expect(wire.post("json", TMS + "pwdreset", body, {"Authorization": token}), failed("1005"), status=401)
        token, secret = response["data"]["user_token"], new
    wire.expect(wire.post("json", TMS + "authsalt", proof(person), authorization), rejected)
    wire.expect(wire.post("json", TMS + "authsalt", proof(person, secret), authorization), succeeded(the_user))
