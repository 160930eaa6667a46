"""Settings of the stand-in: no debug, no middleware, persistent database connections."""

import os

DEBUG = False
# Unused, but Django does not start without it.
SECRET_KEY = "stand-in"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "views"
MIDDLEWARE = []
INSTALLED_APPS = []
USE_TZ = True
TIME_ZONE = "UTC"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ["STAND_IN_HOST"],
        "PORT": os.environ["STAND_IN_PORT"],
        "NAME": os.environ["STAND_IN_DATABASE"],
        "USER": "stele",
        # Each worker connects once.
        "CONN_MAX_AGE": None,
        # The tables have a separate schema. Commits do not wait for the disk: sessions may be lost in a crash, as in
        # Stele, whose Redis syncs its file every second.
        "OPTIONS": {"options": "-c search_path=stand_in -c synchronous_commit=off"},
    }
}
