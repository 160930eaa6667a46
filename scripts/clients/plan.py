"""The plan: 200 calls in five rounds with eight calls of each dialect, as the dialects' WIRE.md documents them.

Each dialect is a generator: it yields a call, or a list of calls that a client may send in one run, and receives the
answer or the answers. A round takes one step of each dialect in turn.
"""

import base64
import hashlib
import json
import time
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

ROUNDS = 5
KINDS = ("form", "json", "multipart")
PASSWORD = "p&ss =+%41/1"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass
class Call:
    """A request, and the requirements that the answer must meet."""

    path: str
    kind: str = "none"
    fields: dict = field(default_factory=dict)
    method: str = "POST"
    text: str = ""
    headers: dict = field(default_factory=dict)
    cookie: str = ""
    status: int = 200
    expect: str = ""
    names: tuple = ()
    read: object = bytes.decode

    def body(self, kind):
        """The body in the form that clients receive; form fields are percent-encoded."""
        return self.text or (json.dumps(self.fields) if kind == "json" else urlencode(self.fields))


@dataclass
class Answer:
    status: int
    headers: list
    text: str

    def header(self, name):
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    def find(self, *keys):
        """The value at these keys of the JSON answer; an empty string if there is none."""
        try:
            found = json.loads(self.text)
            for key in keys:
                found = found[key]
            return str(found)
        except (ValueError, KeyError, TypeError):
            return ""


@dataclass
class World:
    """Everything that the calls of one client need: unique names, tokens, keys, and the sent codes."""

    name: str
    phones: object  # an iterator of phone numbers
    add_user: object  # (name, phone or None) adds a user with PASSWORD
    code: object  # (phone) waits for the code sent to the phone
    client_token: str
    admin: str
    apps: dict  # of MeFP: name and Envelope
    stamps: int = 0

    def stamp(self):
        """A new timestamp for a proof. One from before the state store's creation would be stale."""
        self.stamps += 1
        return int(time.time()) + self.stamps


def digest(password):
    return hashlib.md5(password.encode()).hexdigest()


def proof(password, stamp):
    return hashlib.md5(f"{digest(password)}{stamp}".encode()).hexdigest()


def encode_base64(text):
    return base64.b64encode(text.encode()).decode()


class Envelope:
    """MeFP's AES-256-CBC envelope of one app."""

    def __init__(self, app, key, vector):
        self.app = app
        self.cipher = Cipher(algorithms.AES(key.encode()), modes.CBC(vector.encode()))

    def encrypt(self, **inner):
        pad, encryptor = padding.PKCS7(128).padder(), self.cipher.encryptor()
        plain = pad.update(json.dumps(inner).encode()) + pad.finalize()
        return {"app_from": self.app, "encrypt": base64.b64encode(encryptor.update(plain) + encryptor.finalize()).decode()}

    def decrypt(self, body):
        try:
            encrypted = base64.b64decode(json.loads(body)["encrypt"])
            decryptor, unpad = self.cipher.decryptor(), padding.PKCS7(128).unpadder()
            return (unpad.update(decryptor.update(encrypted) + decryptor.finalize()) + unpad.finalize()).decode()
        except (ValueError, KeyError) as fault:
            return f"cannot decrypt the envelope: {fault!r}: {body!r}"


def plan(world):
    """Yields lists of calls and receives the lists of their answers: five rounds of all dialects, then an empty list."""
    parts = [cloudbox(world), tms(world), portal(world), mefp(world), jwt(world)]
    steps = {part: next(part) for part in parts}
    while steps:
        for part, step in list(steps.items()):
            several = isinstance(step, list)
            answers = yield step if several else [step]
            try:
                steps[part] = part.send(answers if several else answers[0])
            except StopIteration:
                del steps[part]
    yield []


def cloudbox(world):
    base, user, password = "/api/v1/cloudbox/", f"{world.name}-cloudbox", PASSWORD
    ident = world.add_user(user, None)

    def login(kind, stamp, secret, **rest):
        fields = {"username": user, "password": proof(secret, stamp), "timestamp": stamp}
        return Call(f"{base}smarttms/auth/authsalt", kind, fields, **rest)

    def logout(kind, token, **rest):
        return Call(f"{base}smarttms/logout", kind, headers={"Authorization": token}, **rest)

    for turn in range(ROUNDS):
        kind, stamp = KINDS[turn % 3], world.stamp()
        answer = yield login(kind, stamp, password, expect='"code":"0000"', names=("Content-Type",))
        token = answer.find("data", "user_token")
        yield login(kind, stamp, password, expect='"code":"1004"')
        yield login(kind, world.stamp(), "wrong", expect="用户名或密码错误", headers={"X-CSRF-Token": "1"})
        if turn % 2:
            yield logout("json", token, fields={"username": user}, expect="退出成功")
        else:
            yield logout("none", token, expect="退出成功")
        yield logout("form", token, fields={"username": user}, status=401, expect="1005", names=("WWW-Authenticate",))
        stamp, new = world.stamp(), f"{PASSWORD}{turn}"
        fields = {"user_id": ident, "orig_password": proof(password, stamp), "new_password": digest(new)}
        answer = yield Call(f"{base}auth/pwdreset", kind, {**fields, "timestamp": stamp}, expect='"code":"0000"')
        password = new
        yield logout("none", f"Bearer {answer.find('data', 'user_token')}", expect="退出成功")
        yield login(kind, world.stamp(), password, expect=f'"user_name":"{user}"')


def tms(world):
    base, user, password = "/container/api/v1/cloudbox/tms/auth/", f"{world.name}-tms", PASSWORD
    ident = world.add_user(user, None)

    def login(path, kind, name, given, token, **rest):
        fields = {"username": name, "password": given, "timestamp": world.stamp()}
        return Call(base + path, kind, fields, headers={"Authorization": token} if token else {}, **rest)

    for turn in range(ROUNDS):
        kind, client = KINDS[(turn + 1) % 3], world.client_token
        admin = login("adminauthsalt", kind, world.admin, digest(PASSWORD), client, expect='"role":"1"')
        yield [admin, Call(f"{base}authsalt", kind, admin.fields, headers=admin.headers, expect='"code":"0000"')]
        answer = yield login("authsalt", kind, user, digest(password), f"Bearer {client}", expect='"role":"2"')
        token, stamp = answer.find("data", "user_token"), world.stamp()
        fields = {"username": user, "password": proof(password, stamp).upper(), "timestamp": stamp}
        yield Call(f"{base}authsalt", kind, fields, headers={"Authorization": token}, expect='"code":"0000"')
        refused = {"status": 401, "expect": "1005", "names": ("WWW-Authenticate",)}
        yield login("authsalt", kind, user, digest(password), None, **refused)
        yield login("authsalt", kind, user, digest("wrong"), client, expect='"code":"1002"')
        rest = {"headers": {"Authorization": client, "traceparent": f"00-{'1' * 32}-{'2' * 16}-01"}}
        yield Call(f"{base}authsalt", kind, {"username": user}, status=400, expect="缺少参数", **rest)
        stamp, new = world.stamp(), f"{PASSWORD}{turn}"
        fields = {"user_id": ident, "orig_password": proof(password, stamp), "new_password": digest(new)}
        rest = {"headers": {"Authorization": token}, "expect": '"code":"0000"'}
        yield Call(f"{base}pwdreset", kind, {**fields, "timestamp": stamp}, **rest)
        password = new


def portal(world):
    for turn in range(ROUNDS):
        kind, phone, new = KINDS[(turn + 2) % 3], next(world.phones), f"{PASSWORD}{turn}"
        success = '"status_code":"200"'

        def call(path, form=kind, expect=success, phone=phone, password=None, code=None, **rest):
            given = {"password": password and encode_base64(password), "code": code and encode_base64(code)}
            fields = {"username": phone, **{name: value for name, value in given.items() if value}}
            return Call(path, form, fields, expect=expect, **rest)

        yield call("/code/send")
        yield call("/i/register", password=PASSWORD, code=world.code(phone))
        # Like the portal's clients: base64 in a form, without percent-encoding.
        raw = {"text": f"username={phone}&password={encode_base64(PASSWORD)}", "headers": FORM}
        answer = yield call("/i/login", "text", expect=f'"mobile":"{phone}"', names=("Set-Cookie",), **raw)
        cookie = answer.header("Set-Cookie").split(";")[0]
        yield call("/i/logout", kind if turn % 2 else "none", cookie=cookie, names=("Set-Cookie",))
        yield call("/i/login", password="wrong", expect='"3202"')
        yield call("/code/send")
        yield call("/i/resetpwd", password=new, code=world.code(phone))
        yield call("/i/login", password=new, names=("Set-Cookie",))


def mefp(world):
    success, (app, envelope), (_, other) = '"result":1', *world.apps.items()

    def call(path, kind, by=envelope, expect=success, **inner):
        return Call(f"/auth/{path}", kind, by.encrypt(**inner), expect=expect, read=by.decrypt)

    for turn in range(ROUNDS):
        kind = KINDS[turn % 3]
        if turn % 2 == 0:
            phone = next(world.phones)
            login_name = {"login_name": phone}
            yield call("captcha", kind, usage=1, **login_name)
            captcha = world.code(phone)
            yield call("check/captcha", kind, captcha=captcha, **login_name)
            yield call("register", kind, password=PASSWORD, captcha=captcha, **login_name)
            answer = yield call("token", kind, app_to=other.app, **login_name)
            yield call("check/token", kind, by=other, expect=f'"app_from":"{app}"', token=answer.find("token"))
            yield call("captcha", kind, usage=2, **login_name)
            yield call("forgot", kind, new_password=f"{PASSWORD}{turn}", captcha=world.code(phone), **login_name)
            yield call("login", kind, password=f"{PASSWORD}{turn}", **login_name)
        else:
            encrypted_login = call("login", kind, password=f"{PASSWORD}{turn - 1}", app_to=other.app, **login_name)
            rest = {"kind": kind, "fields": encrypted_login.fields, "read": envelope.decrypt}
            checked = Call("/auth/check/loginname", expect=f'"reg_app":"{app}"', **rest)
            answers = yield [encrypted_login, checked, Call("/auth/token", expect='"token"', **rest)]
            token = answers[2].find("token")
            yield call("check/token", kind, by=other, expect=f'"login_name":"{phone}"', token=token)
            yield call("check/token", kind, by=other, expect="40006", token=token)
            yield call("login", kind, password="wrong", expect="40003", **login_name)
            yield call("check/loginname", kind, login_name=next(world.phones), expect="40005")
            broken = {"app_from": app, "encrypt": "AAAA"}
            yield Call("/auth/login", kind, broken, status=400, expect="请求无法解密")


def jwt(world):
    base, user, password, phone = "/api/v1/Auth/", f"{world.name}-jwt", PASSWORD, next(world.phones)
    world.add_user(user, phone)

    def login(kind, secret, path=base, expect="登录成功", **rest):
        return Call(f"{path}Login", kind, {"account": user, "password": secret}, expect=expect, **rest)

    for turn in range(ROUNDS):
        kind = KINDS[turn % 3]
        if turn % 2 == 0:
            # As in the samples of JWT's API document: a form with the content type of multipart, without a boundary.
            sample = {"text": f"account={user}&password={quote(password, safe='')}"}
            headers = {"Content-Type": "multipart/form-data"}
            answer = yield login("text", password, headers=headers, names=("Authorization",), **sample)
            bearer, token = {"Authorization": answer.header("Authorization")}, answer.find("token")
            yield Call(f"{base}Logout", method="GET", headers=bearer, expect="注销成功")
            gone = {"headers": {"token": token}, "status": 401, "names": ("WWW-Authenticate",)}
            yield Call(f"{base}Logout", method="GET", expect="注销失败", **gone)
            yield login(kind, "wrong", expect="用户名或密码错误")
            yield Call(f"{base}ForgetPassword", kind, {"account": user, "phone": phone}, expect="发送短信成功")
            fields = {"account": user, "identifyCode": world.code(phone)}
            answer = yield Call(f"{base}validatePhone", kind, fields, expect="验证码正确")
            password = f"{PASSWORD}{turn}"
            fields = {"account": user, "password": password}
            token = {"Authorization": answer.find("token")}
            yield Call(f"{base}updatePassword", kind, fields, headers=token, expect="更新密码成功")
            yield login(kind, password)
        else:
            shown = {"expect": "获取验证码成功", "names": ("Content-Type",)}
            first = yield Call(f"{base}getCAPTCHA", method="GET", **shown)
            second = yield Call("/api/vi/Auth/CAPTCHA", **shown)
            pictures = [answer.find("data", "URL") for answer in (first, second)]
            image = {"method": "GET", "expect": "PNG", "read": lambda body: body.decode("latin-1")}
            yield [Call(picture, **image) for picture in pictures]
            first, second = yield [login(kind, password, path) for path in (base, "/api/vi/Auth/")]
            ended = {"path": f"{base}Logout", "expect": "注销成功"}
            yield Call(kind="json", text="{}", headers={"token": first.find("token")}, **ended)
            yield Call(headers={"Authorization": second.find("token")}, **ended)
