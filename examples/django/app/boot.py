"""Imported by each worker before its first job: sets Django up, as manage.py or a web server would."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "app.settings")
django.setup()
