"""The clients: their properties, and how they are installed from Debian, PyPI and npm."""

import glob
import os
import pathlib
import shutil
import subprocess
import sys
from dataclasses import dataclass, field

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "stele/clients"
VENV = CACHE / "venv"
CRYPTOGRAPHY = "cryptography==50.0.2"
PYTHON = {"/usr/lib/python3*/ensurepip": "python3-venv"}
NODE = {"node": "nodejs", "npm": "npm"}
JAVA = {"javac": "default-jdk-headless"}


class SetupError(Exception):
    """A client cannot be installed or started."""


@dataclass
class Client:
    """A library or program. `debian` maps each required file or program to the package that contains it."""

    name: str
    program: str
    debian: dict = field(default_factory=dict)
    pypi: str = ""
    npm: tuple = ()
    keeps_cookies: bool = False
    lowers_names: bool = False  # reports header names in lower case
    is_page: bool = False  # a page of another origin: sees few headers, sends preflights
    connections: int = 1  # allowed connections for all calls; 0: one per run
    takes_several: bool = False  # accepts several URLs in one run
    has_multipart: bool = True
    hides_401: bool = False  # hides the body of a 401


def jars(*packages):
    return {f"/usr/share/java/{file}.jar": package for file, package in packages}


OKHTTP = jars(("okhttp", "libokhttp-java"), ("okio", "libokio-java"))
LOGGING = jars(("commons-logging", "libcommons-logging-java"), ("commons-codec", "libcommons-codec-java"))
APACHE_4 = jars(("httpclient", "libhttpclient-java"), ("httpcore", "libhttpcore-java"), ("httpmime", "libhttpmime-java"))
COMMONS_3 = jars(("commons-httpclient", "libcommons-httpclient-java"))
PHP = {"php": "php-cli", "/usr/lib/php/*/curl.so": "php-curl"}
LWP = {"perl": "perl", "/usr/share/perl5/LWP/UserAgent.pm": "libwww-perl"}

CLIENTS = [
    Client("requests", "python/use_requests.py", pypi="requests==2.34.2", keeps_cookies=True),
    Client("httpx", "python/use_httpx.py", pypi="httpx==0.28.1", keeps_cookies=True),
    Client("aiohttp", "python/use_aiohttp.py", pypi="aiohttp==3.14.5", keeps_cookies=True),
    Client("urllib3", "python/use_urllib3.py", pypi="urllib3==2.8.0"),
    Client("pycurl", "python/use_pycurl.py", pypi="pycurl==7.49.0"),
    Client("axios", "node/axios.mjs", NODE, npm=("axios@1.21.1",)),
    Client("undici", "node/undici.mjs", NODE, npm=("undici@6.29.1",), lowers_names=True),
    Client("node-fetch", "node/node-fetch.mjs", NODE, npm=("node-fetch@3.3.2",), lowers_names=True),
    Client("superagent", "node/superagent.mjs", NODE, npm=("superagent@10.4.2",), lowers_names=True),
    Client("got", "node/got.mjs", NODE, npm=("got@13.0.0",)),
    # A browser uses separate connections without cookies for preflights, and may open some in advance.
    Client("jquery-chromium", "browser/index.html", {**NODE, "chromium": "chromium"}, npm=("jquery@3.8.0",),
           keeps_cookies=True, lowers_names=True, is_page=True, connections=6),
    # jsdom opens a connection for each request, including preflights.
    Client("jquery-jsdom", "node/jsdom.mjs", NODE, npm=("jquery@3.8.0", "jsdom@26.1.0"),
           keeps_cookies=True, lowers_names=True, is_page=True, connections=400),
    Client("java-httpclient", "java/JavaHttpClient.java", JAVA, lowers_names=True),
    Client("java-urlconnection", "java/JavaHttpUrlConnection.java", JAVA),
    Client("okhttp3", "java/OkHttp3.java", {**JAVA, **OKHTTP}),
    Client("httpclient4", "java/ApacheHttpClient4.java", {**JAVA, **APACHE_4, **LOGGING}, keeps_cookies=True),
    Client("commons-httpclient3", "java/CommonsHttpClient3.java", {**JAVA, **COMMONS_3, **LOGGING}, keeps_cookies=True),
    Client("php-curl", "other/curl.php", PHP),
    Client("go-net-http", "other/net_http.go", {"go": "golang-go"}),
    Client("perl-lwp", "other/lwp.pl", LWP),
    Client("curl-http1.0", "python/use_curl.py", {"curl": "curl"}, connections=0),
    Client("wget", "python/use_wget.py", {"wget": "wget"},
           connections=0, takes_several=True, has_multipart=False, hides_401=True),
]


def run_command(*command, cwd=None):
    """Runs a command; raises SetupError with its output if it fails."""
    try:
        done = subprocess.run(command, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError as fault:
        raise SetupError(f"{command[0]}: {fault.strerror}") from fault
    if done.returncode:
        line = (done.stdout.strip().splitlines() or ["no output"])[-1]
        raise SetupError(f"{' '.join(map(str, command[:4]))} …: {line}")


def is_installed(needed):
    """Whether a program is in PATH, or a file matches the pattern, which begins with a slash."""
    return bool(glob.glob(needed) if needed.startswith("/") else shutil.which(needed))


def install_debian(needs):
    """Installs the packages of missing files and programs; waits for dpkg's lock."""
    missing = sorted({package for needed, package in needs.items() if not is_installed(needed)})
    if missing:
        as_root = [] if os.getuid() == 0 else ["sudo"]
        apt = [*as_root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=900"]
        print(f"installing {' '.join(missing)}", file=sys.stderr)
        run_command(*apt, "update")
        run_command(*apt, "install", "-y", "--no-install-recommends", *missing)
    for needed, package in needs.items():
        if not is_installed(needed):
            raise SetupError(f"Debian's package {package} does not contain {needed}; install it in another way")


def install_venv():
    """Creates the Python environment of this program and the Python clients."""
    if not (VENV / "ready").exists():
        try:
            import ensurepip  # noqa: F401
        except ImportError:
            install_debian(PYTHON)
        shutil.rmtree(VENV, ignore_errors=True)
        run_command(sys.executable, "-m", "venv", VENV)
        (VENV / "ready").touch()
    install_pypi(CRYPTOGRAPHY)


def install_once(package, install):
    """Calls `install` unless this version of the package was installed by an earlier call."""
    mark = CACHE / "installed" / package
    if not mark.exists():
        install()
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()


def install_pypi(package):
    pip = [VENV / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    install_once(package, lambda: run_command(*pip, package))


def install_npm(package):
    folder = CACHE / "node"
    folder.mkdir(parents=True, exist_ok=True)
    install_once(package, lambda: run_command("npm", "install", "--no-audit", "--no-fund", "--loglevel=error", package, cwd=folder))


def install(client, work):
    """Installs a client and builds its program in the folder `work`. Returns the command and its working folder."""
    install_debian(client.debian)
    for package in client.npm:
        install_npm(package)
    if client.pypi:
        install_pypi(client.pypi)
    source = HERE / client.program
    match source.suffix:
        case ".py":
            return [VENV / "bin/python", source], work
        case ".mjs":
            for file in [*(HERE / "node").iterdir(), HERE / "browser/ajax.js"]:
                shutil.copy(file, CACHE / "node")
            return ["node", source.name], CACHE / "node"
        case ".java":
            path = ":".join([str(work), *(file for file in client.debian if file.endswith(".jar"))])
            run_command("javac", "-d", work, "-cp", path, HERE / "java/Lines.java", source)
            return ["java", "-cp", path, source.stem], work
        case ".go":
            run_command("go", "build", "-o", work / "client", source)
            return [work / "client"], work
        case ".html":
            # Root cannot use the browser's sandbox, and containers have little shared memory.
            options = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run"]
            return ["chromium", *options, "--disable-background-networking", f"--user-data-dir={work}/profile"], work
        case suffix:
            return [{".php": "php", ".pl": "perl"}[suffix], source], work
