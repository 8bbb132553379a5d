"""Fill the service of a developer with people."""

from datetime import date
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from users.models import User

DEMO_PASSWORD: Final = "bandstand-demo"  # noqa: S105 - it is documented, and refused where DEBUG is off


class Person(NamedTuple):
    """Somebody who lives in the demonstration."""

    username: str
    first_name: str
    last_name: str
    born: date
    location: str
    bio: str
    phone_number: str = ""
    is_staff: bool = False

    @property
    def email(self) -> str:
        return f"{self.username}@example.com"


PEOPLE: Final = (
    Person("admin", "Ada", "Keller", date(1984, 12, 10), "Berlin", "Keeps the shop open.", is_staff=True),
    Person("alice", "Alice", "Moreau", date(1991, 3, 14), "Lyon", "Plays the viola, badly and often.", "+33478123456"),
    Person("bob", "Bob", "Lindqvist", date(1987, 7, 2), "Gothenburg", "Repairs radios.", "+46317001234"),
    Person("chiara", "Chiara", "Bianchi", date(1995, 11, 23), "Bologna", "Bakes before sunrise.", "+390512345678"),
    Person("daniel", "Daniel", "Okafor", date(1979, 1, 30), "Lagos", "Teaches physics.", "+2348031234567"),
    Person("emiko", "Emiko", "Tanaka", date(1993, 5, 5), "Kyoto", "Photographs doors.", "+81751234567"),
    Person("farah", "Farah", "Haddad", date(1990, 9, 17), "Amman", "Reads maps for fun.", "+96265001234"),
    Person("gabriel", "Gabriel", "Souza", date(1998, 2, 11), "Recife", "Surfs when the wind allows.", "+558134567890"),
    Person("hanna", "Hanna", "Nowak", date(1982, 10, 8), "Kraków", "Climbs, mostly indoors.", "+48123456789"),
    Person("ivan", "Ivan", "Petrov", date(1975, 6, 21), "Plovdiv", "Grows roses.", "+35932123456"),
    Person("julia", "Julia", "Schmid", date(2001, 4, 27), "Zürich", "Studies statistics.", "+41441234567"),
    Person("kofi", "Kofi", "Mensah", date(1989, 8, 19), "Accra", "Builds furniture.", "+233302123456"),
)


class Command(BaseCommand):
    """Adds demonstration users, among them one of staff. People who are there already stay as they are."""

    help = f"Add demonstration users such as {PEOPLE[1].email}, and {PEOPLE[0].email} as staff (with DEBUG on only)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--password", default=DEMO_PASSWORD, help="the password of all of them (default: %(default)s)"
        )

    def handle(self, *args: Any, password: str, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError(
                "DEBUG is off. Everybody knows the demonstration users: add real ones with createsuperuser."
            )
        hashed = make_password(password)  # once for all: argon2 is slow on purpose
        with transaction.atomic():
            added = [person for person in PEOPLE if self.add(person, hashed)]
        self.stdout.write(f"{len(added)} of {len(PEOPLE)} demonstration users added; the others were there.")
        if added:
            self.stdout.write(f"Sign in as {PEOPLE[1].email}, or as staff with {PEOPLE[0].email}; password: {password}")

    def add(self, person: Person, hashed_password: str) -> bool:
        """Save ``person`` and return whether they are new."""
        if User.objects.filter(email=person.email).exists() or User.objects.with_username(person.username).exists():
            return False
        user = User(
            email=person.email,
            username=person.username,
            password=hashed_password,
            first_name=person.first_name,
            last_name=person.last_name,
            phone_number=person.phone_number,
            date_of_birth=person.born,
            is_verified=True,
            is_staff=person.is_staff,
            is_superuser=person.is_staff,
        )
        user.save()
        user.profile.bio, user.profile.location = person.bio, person.location
        user.profile.save(update_fields=["bio", "location", "updated_at"])
        return True
