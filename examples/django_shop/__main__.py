"""`python -m examples.django_shop migrate`, then without a word."""

import sys

import django
from django.core.management import execute_from_command_line

if __name__ == "__main__":
    if sys.argv[1:]:
        execute_from_command_line()
        sys.exit()
    django.setup()
    from examples.django_shop.desk import ask_two, wait_for

    for ticket in wait_for(ask_two()):
        print(ticket)
