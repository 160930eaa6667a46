"""Debian's mod_oauth2 in Apache httpd: access tokens by the published keys, and by introspection.

It names every token an `access_token` at introspection, so it cannot ask about a legacy token, whose kind must be
named.
"""

import pathlib
import subprocess
import urllib.error
import urllib.parse
import urllib.request

from lock import APACHE
from install import SetupError, install_debian
from servers import eventually, fetch, free_port

MODULES = ["mpm_event", "authn_core", "authz_core", "oauth2"]
FOLDERS = "/usr/lib/apache2/modules"


def location(path, verify, audience):
    return f"""<Location {path}>
    AuthType oauth2
    {verify}
    # Of a client's own token, the control answers no `sub`.
    OAuth2TargetPass remote_user_claim=client_id
    Require oauth2_claim aud:{audience}
</Location>
"""


def configuration(world, metadata, port, work):
    """The configuration: one location for each way to verify a token."""
    seen = world["introspected"]
    caller = urllib.parse.urlencode({"client_id": seen["caller"]["id"], "client_secret": seen["caller"]["secret"]})
    # Without a cache of results: a test must see a revoked token as revoked.
    introspect = f"OAuth2TokenVerify introspect {metadata['introspection_endpoint']} " \
        f"introspect.ssl_verify=false&introspect.auth=client_secret_basic&{caller}&expiry=0"
    keys = f"OAuth2TokenVerify jwks_uri {metadata['jwks_uri']} jwks_uri.ssl_verify=false&verify.iat=required"
    locations = [
        location("/introspect", introspect, seen["resource"]),
        *(location(f"/keys-{name}", keys, signed["resource"]) for name, signed in world["signed"].items()),
    ]
    loads = "".join(f"LoadModule {name}_module {FOLDERS}/mod_{name}.so\n" for name in MODULES)
    return f"""ServerRoot {work}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {work}/httpd.pid
ErrorLog {work}/error.log
LogLevel warn
DocumentRoot {work}/site
{loads}{''.join(locations)}"""


class Apache:
    """Apache httpd on a free port; a context manager that stops it."""

    def __init__(self, world, metadata, work):
        install_debian(APACHE)
        self.work, self.port = work, free_port()
        site = work / "site"
        paths = ["introspect", *(f"keys-{name}" for name in world["signed"])]
        for path in paths:
            (site / path).mkdir(parents=True)
            (site / path / "page").write_text("passed\n")
        # The server's own user must be able to read the pages.
        for folder in [work, *work.parents]:
            if folder == pathlib.Path("/tmp") or folder == pathlib.Path("/"):
                break
            folder.chmod(folder.stat().st_mode | 0o711)
        (work / "httpd.conf").write_text(configuration(world, metadata, self.port, work))

    def __enter__(self):
        command = ["/usr/sbin/apache2", "-D", "FOREGROUND", "-f", self.work / "httpd.conf"]
        with (self.work / "httpd.log").open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        if not eventually(lambda: self.process.poll() is not None or self.status("introspect"), 30):
            raise SetupError("Apache httpd is not ready after 30 s")
        if self.process.poll() is not None:
            logs = [self.work / "httpd.log", self.work / "error.log"]
            text = " ".join(log.read_text() for log in logs if log.exists()).strip()
            raise SetupError(f"Apache httpd: {text[-300:]}")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def status(self, path, token=None):
        """The status of a page's response; 0 if there is none."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{path}/page")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0


def run_checks(world, work):
    """Yields the name and the fault of each check; the fault is empty if there is none."""
    metadata = fetch(f"{world['issuer']}/.well-known/openid-configuration")

    def new_token(signed):
        return fetch(metadata["token_endpoint"], signed["client"], grant_type="client_credentials",
                     resource=signed["resource"])["access_token"]

    def expect(path, token, status):
        found = apache.status(path, token)
        return "" if found == status else f"{found} instead of {status} at /{path}"

    with Apache(world, metadata, work) as apache:
        rs256 = world["signed"]["RS256"]
        for name, signed in world["signed"].items():
            yield f"verify-{name}", expect(f"keys-{name}", new_token(signed), 200)
        foreign = new_token(rs256 | {"resource": world["foreign"]})
        forged = new_token(rs256)[:-8] + "AAAAAAAA"
        yield "verify-refuses", expect("keys-RS256", foreign, 401) or expect("keys-RS256", forged, 401) or \
            expect("keys-RS256", None, 401)
        seen = world["introspected"]
        token = new_token(seen)
        yield "introspect", expect("introspect", token, 200)
        yield "introspect-garbage", expect("introspect", "garbage", 401)
        fetch(metadata["revocation_endpoint"], seen["client"], token=token)
        yield "revoke", expect("introspect", token, 401)
