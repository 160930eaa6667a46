"""Installs the clients from Debian, PyPI and npm, with the versions and hashes of the lock files beside this module."""

import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

from install import CACHE, NODE, PYTHON, SetupError, install_debian, run_command

HERE = pathlib.Path(__file__).resolve().parent
FOLDER = CACHE.parent / "oauth"
APACHE = {"/usr/sbin/apache2": "apache2-bin", "/usr/lib/apache2/modules/mod_oauth2.so": "libapache2-mod-oauth2"}
# The first release of Node.js with the Web Crypto API that the clients use, without an option.
NODE_WITH_CRYPTO = 20


def install_once(kind, locks, install):
    """The folder of these locked packages; calls `install` with it unless an earlier call succeeded."""
    digest = hashlib.sha256(b"".join((HERE / lock).read_bytes() for lock in locks)).hexdigest()[:12]
    folder = FOLDER / f"{kind}-{digest}"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / f"{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            install(folder)
            (folder / "ready").touch()
    return folder


def install_python():
    """The Python of an environment with the locked packages."""

    def install(folder):
        try:
            import ensurepip  # noqa: F401
        except ImportError:
            install_debian(PYTHON)
        run_command(sys.executable, "-m", "venv", folder)
        pip = [folder / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run_command(*pip, "--require-hashes", "--requirement", HERE / "requirements.txt")

    return install_once("python", ["requirements.txt"], install) / "bin/python"


def install_node(has_control):
    """A folder with the locked packages of npm: those of the clients, and with the control's if wanted."""
    install_debian(NODE)

    def install(folder):
        folder.mkdir()
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder)
        omitted = [] if has_control else ["--omit=dev"]
        quiet = ["--no-audit", "--no-fund", "--loglevel=error"]
        run_command("npm", "ci", *omitted, "--ignore-scripts", *quiet, cwd=folder)

    return install_once("control" if has_control else "node", ["package.json", "package-lock.json"], install)


def node_command(oldest=18):
    """The command of Node.js; 18, which Debian 12 has, needs an option for Web Crypto. The control needs 20."""
    install_debian(NODE)
    node = shutil.which("node")
    version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout.strip().lstrip("v")
    major = int(version.split(".")[0] or 0)
    if major < oldest:
        raise SetupError(f"Node.js {oldest} or later is needed, not {version or 'none'}")
    return [node] if major >= NODE_WITH_CRYPTO else [node, "--experimental-global-webcrypto"]


def link_packages(packages, work):
    """Makes the programs in `work` find the packages: imports are resolved from a module's own folder."""
    for name in ("node_modules", "package.json"):
        target = work / name
        if not target.exists():
            os.symlink(packages / name, target)
