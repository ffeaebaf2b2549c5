from django.contrib.auth.hashers import make_password
from django.core.management.base import BaseCommand

from accounts.models import User


class Command(BaseCommand):
    help = "Makes the first COUNT accounts of the benchmark, those that are not there yet."

    def add_arguments(self, parser):
        parser.add_argument("count", type=int)

    def handle(self, *args, count, **options):
        password = make_password("benchmark-password")
        emails = set(User.objects.values_list("email", flat=True))
        User.objects.bulk_create(
            (
                User(email=f"user{n}@example.com", display_name=f"User {n}", password=password)
                for n in range(count)
                if f"user{n}@example.com" not in emails
            ),
            batch_size=1000,
        )
