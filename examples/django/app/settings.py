"""Django's settings."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
FOR_TESTS = BASE_DIR / "storage" / "tests"
FOR_TESTS.mkdir(parents=True, exist_ok=True)

# So that jobs can be queued from any working directory.
os.environ.setdefault("BGJOB_CONFIG", str(BASE_DIR / "config" / "jobs.yaml"))

SECRET_KEY = os.environ.get("SECRET_KEY", "for trying it out")
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
INSTALLED_APPS = ["app.apps.ShopConfig"]
ROOT_URLCONF = "app.urls"
USE_TZ = True
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": BASE_DIR / "db.sqlite3",
        # Whoever reads first and then writes waits for other writers, instead of failing.
        "OPTIONS": {"timeout": 30, "transaction_mode": "IMMEDIATE"},
        # The database of the tests, else in memory, where jobs can't be queued in Django's transactions.
        "TEST": {"NAME": FOR_TESTS / "db.sqlite3"},
    }
}
