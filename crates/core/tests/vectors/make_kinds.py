"""Generates kinds.txt: hashes in the forms of other systems, by their own code or another implementation.

    python3 -m venv env && env/bin/pip install argon2-cffi bcrypt Django passlib && env/bin/python make_kinds.py > kinds.txt

PHP must be installed: it computes what WordPress computes, with PHP's own functions.
"""
import hashlib
import subprocess

import passlib.hash
from django.conf import settings
from django.contrib.auth import hashers

settings.configure()
PASSWORD = "correct horse"
# WordPress slashes and trims this one; every other system takes it as it is.
QUOTED = " it's \"a\\b\" 密码 "


def php(code: str, *arguments: str) -> str:
    return subprocess.run(["php", "-r", code, "--", *arguments], check=True, capture_output=True, text=True).stdout


def wordpress_input(password: str) -> str:
    """The password after `wp_magic_quotes` and `wp_authenticate`."""
    return php("echo trim(addslashes($argv[1]));", password)


def wordpress_6_8(password: str) -> str:
    """`wp_hash_password` of WordPress 6.8, with a low cost."""
    code = """$keyed = base64_encode(hash_hmac('sha384', $argv[1], 'wp-sha384', true));
        echo '$wp' . password_hash($keyed, PASSWORD_BCRYPT, ['cost' => 5]);"""
    return php(code, wordpress_input(password))


def discuz(password: str, salt: str) -> str:
    return php("echo md5(md5($argv[1]) . $argv[2]);", password, salt)


def emit(password: str, text: str) -> None:
    print(f"{password}\t{text}")


print("# Made by make_kinds.py: Django, passlib, PHP and Python's hashlib. PASSWORD, tab, HASH.")
for password in (PASSWORD, QUOTED):
    raw, salt = password.encode(), "s盐".encode()
    emit(password, passlib.hash.phpass.using(rounds=13).hash(wordpress_input(password)))
    emit(password, passlib.hash.phpass.using(rounds=7, ident="$H$").hash(password))
    emit(password, wordpress_6_8(password))
    emit(password, hashers.PBKDF2PasswordHasher().encode(password, "Seasalt0", 1_000))
    emit(password, hashers.PBKDF2SHA1PasswordHasher().encode(password, "Seasalt0", 1_000))
    emit(password, hashers.MD5PasswordHasher().encode(password, "Seasalt0"))
    emit(password, "{bcrypt}" + php("echo password_hash($argv[1], PASSWORD_BCRYPT, ['cost' => 4]);", password))
    bcrypt_sha256 = hashers.BCryptSHA256PasswordHasher()
    bcrypt_sha256.rounds = 4
    emit(password, bcrypt_sha256.encode(password, bcrypt_sha256.salt()))
    bcrypt = hashers.BCryptPasswordHasher()
    bcrypt.rounds = 4
    emit(password, bcrypt.encode(password, bcrypt.salt()))
    argon2 = hashers.Argon2PasswordHasher()
    argon2.memory_cost = 1_024
    emit(password, argon2.encode(password, "Seasalt0"))
    emit(password, f"sha1$Seasalt0${hashlib.sha1(b'Seasalt0' + raw).hexdigest()}")
    emit(password, f"$md5ds${salt.hex()}${discuz(password, salt.decode())}")
    emit(password, f"$md5ds$${discuz(password, '')}")
    for name in ("sha1", "sha256"):
        emit(password, f"${name}ps${salt.hex()}${hashlib.new(name, raw + salt).hexdigest()}")
        emit(password, f"${name}sp${salt.hex()}${hashlib.new(name, salt + raw).hexdigest().upper()}")
        emit(password, f"${name}ps$${hashlib.new(name, raw).hexdigest()}")
