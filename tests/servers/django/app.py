"""django-oauth-toolkit under gunicorn, and an API that takes its tokens.

It binds loopback, on a port that the system picks, and prints `READY <origin>` once it answers. DATABASE names the
SQLite file, which it fills.

For tests only: the secrets are known to everyone, and hashed so that a token request takes milliseconds.
"""

import os

import django
from django.conf import settings

# Also in tests/real_servers.rs, with the names of the clients and the lifetime of short-lived's tokens.
SECRET = "secret-with:special/+%&=chars~and-32-bytes-min"


def token_lifetime(request):
    return 2 if request.client.client_id == "short-lived" else 86_400


settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ["DATABASE"],
            "OPTIONS": {
                # No token request waits for the disk, which may take longer than a short-lived token lives.
                "init_command": "PRAGMA synchronous=OFF; PRAGMA journal_mode=MEMORY",
                "timeout": 20,
                # A transaction that first reads and then writes would fail at once if another wrote in between.
                "transaction_mode": "IMMEDIATE",
            },
        }
    },
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider"],
    OAUTH2_PROVIDER={
        "ACCESS_TOKEN_EXPIRE_SECONDS": token_lifetime,
        "SCOPES": {"read": "read", "write": "write"},
    },
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="for tests",
    USE_TZ=True,
)
django.setup()

# What follows needs the settings.
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
from gunicorn.app.base import BaseApplication
from oauth2_provider.decorators import protected_resource
from oauth2_provider.models import AccessToken, Application
from oauth2_provider.views import RevokeTokenView, TokenView


@protected_resource(scopes=["read"])
def me(request):
    return HttpResponse("ok")


def issued(request, client_id):
    """How many tokens a client was given, without those that were revoked."""
    return HttpResponse(str(AccessToken.objects.filter(application__client_id=client_id).count()))


urlpatterns = [
    path("api/me", me),
    path("issued/<client_id>", issued),
    path("oauth2/token/", TokenView.as_view()),
    path("oauth2/revoke_token/", RevokeTokenView.as_view()),
]


def fill_database():
    call_command("migrate", verbosity=0)
    for client_id, grant in [
        ("client", Application.GRANT_CLIENT_CREDENTIALS),
        ("without-grant", Application.GRANT_PASSWORD),
        ("counted", Application.GRANT_CLIENT_CREDENTIALS),
        ("short-lived", Application.GRANT_CLIENT_CREDENTIALS),
    ]:
        Application.objects.create(
            authorization_grant_type=grant,
            client_id=client_id,
            client_secret=SECRET,
            client_type=Application.CLIENT_CONFIDENTIAL,
        )


class Server(BaseApplication):
    def load_config(self):
        self.cfg.set("bind", "127.0.0.1:0")
        self.cfg.set("workers", 2)
        self.cfg.set("threads", 4)
        # Loaded before the workers are forked: a server that says it is ready does not fail to load after that.
        self.cfg.set("preload_app", True)
        self.cfg.set("graceful_timeout", 1)
        # Longer than any test: none is to meet a connection that closes just as it is used.
        self.cfg.set("keepalive", 60)
        # Or it would make a socket in the home directory.
        self.cfg.set("control_socket_disable", True)
        self.cfg.set("when_ready", self.say_ready)

    def load(self):
        return get_wsgi_application()

    @staticmethod
    def say_ready(arbiter):
        host, port = arbiter.LISTENERS[0].sock.getsockname()
        print(f"READY http://{host}:{port}", flush=True)


if __name__ == "__main__":
    fill_database()
    # The workers must not share a connection that was opened before they were forked.
    django.db.connections.close_all()
    Server().run()
