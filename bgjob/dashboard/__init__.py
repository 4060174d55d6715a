"""The web dashboard: one WSGI application, served by `bgjob dashboard` or mounted in the app's own.

    from bgjob.dashboard import Dashboard

    application = Dashboard(host_auth=True)  # whoever reaches it was let in by the app around it

It needs the extra: `pip install 'bgjob[dashboard]'`.
"""

from bgjob.dashboard.app import Dashboard

__all__ = ["Dashboard"]
