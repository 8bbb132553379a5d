"""Fills the database with the demonstration's catalogue and prints the Authorization header of a member of staff."""

from datetime import timedelta

import django
from django.conf import settings
from django.core.management import call_command


def authorization() -> str:
    """Make a member of staff, and return the header."""
    from django.contrib.auth.models import User

    user = User.objects.create_superuser("admin", "admin@example.com", "bandstand-demo")
    if settings.PACKAGES:
        from rest_framework_simplejwt.tokens import AccessToken

        token = AccessToken.for_user(user)
        token["is_staff"] = True
        token.set_exp(lifetime=timedelta(hours=2))
        return f"Bearer {token}"
    from rest_framework.authtoken.models import Token

    return f"Token {Token.objects.create(user=user).key}"


if __name__ == "__main__":
    django.setup()
    call_command("migrate", verbosity=0)
    call_command("seed_demo", verbosity=0)
    print(authorization())
