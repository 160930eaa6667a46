"""The stand-in for the server that Stele replaces: cloudbox's salted login as a plain Django view.

One indexed read of the user, one comparison, one row for the session. No rate limits, no replay protection, no audit
log, and an unprotected password digest in the database, as in such servers.
"""

import json
import secrets
import time
from datetime import timezone
from hashlib import md5

from django.db import models
from django.http import HttpResponse
from django.urls import path
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_POST

# The allowed clock skew, in seconds.
SKEW = 300


class User(models.Model):
    """A user. The benchmark fills the table from Stele's own."""

    id = models.UUIDField(primary_key=True)
    name = models.TextField()
    phone = models.CharField(max_length=11, unique=True)
    email = models.TextField()
    registered_at = models.DateTimeField()
    # md5(password), as 32 hex digits.
    digest = models.CharField(max_length=32)
    disabled = models.BooleanField()
    role = models.TextField()
    real_name = models.TextField()
    gender = models.TextField()
    nickname = models.TextField()
    avatar_url = models.TextField()
    alias_id = models.TextField()
    enterprise = models.TextField()
    group_name = models.TextField()

    class Meta:
        app_label = "stand_in"
        db_table = "users"
        managed = False


class Session(models.Model):
    """A session, found by its token."""

    token = models.CharField(primary_key=True, max_length=32)
    user = models.ForeignKey(User, on_delete=models.CASCADE)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "stand_in"
        db_table = "sessions"
        managed = False


def json_response(status, body):
    """JSON formatted as by Stele. Sets Content-Length, since there is no middleware that would."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    return HttpResponse(text, status=status, content_type="application/json", headers={"Content-Length": len(text)})


def error_response(status, code, message):
    return json_response(status, {"message": message, "code": code})


def healthz(_request):
    return json_response(200, {})


@require_POST
def login(request):
    """用户登录认证: the proof is md5(md5(password) + timestamp)."""
    try:
        fields = json.loads(request.body)
        username, proof, timestamp = (str(fields[name]) for name in ("username", "password", "timestamp"))
        age = abs(time.time() - int(timestamp))
    except (ValueError, KeyError, TypeError):
        return error_response(400, "1001", "参数错误")
    if age > SKEW:
        return error_response(200, "1003", "时间戳已过期")
    try:
        user = User.objects.get(phone=username)
    except User.DoesNotExist:
        return error_response(200, "1002", "用户名或密码错误")
    if not constant_time_compare(md5((user.digest + timestamp).encode()).hexdigest(), proof):
        return error_response(200, "1002", "用户名或密码错误")
    if user.disabled:
        return error_response(200, "1006", "用户已被禁用")
    session = Session.objects.create(token=secrets.token_hex(16), user=user)
    return json_response(200, {"message": "Succ", "code": "0000", "data": describe_user(user, session)})


def describe_user(user, session):
    registered = user.registered_at.astimezone(timezone.utc)
    return {
        "user_id": str(user.id),
        "user_name": user.name,
        "register_time": registered.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "status": "",
        "avatar_url": user.avatar_url,
        "user_phone": user.phone,
        "user_email": user.email,
        "user_token": session.token,
        "role": user.role,
        "user_real_name": user.real_name,
        "user_gender": user.gender,
        "user_nickname": user.nickname,
        "user_alias_id": user.alias_id,
        "enterprise": user.enterprise,
        "group": user.group_name,
    }


urlpatterns = [
    path("api/v1/cloudbox/smarttms/auth/authsalt", login),
    path("healthz", healthz),
]
