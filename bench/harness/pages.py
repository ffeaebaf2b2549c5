"""Frontdesk's signed-in page: what its own layers, its session and its log cost."""

from . import machine, side_by_side
from .environment import Environment, save


def run(options):
    with Environment() as environment:
        found = side_by_side.measure(side_by_side.own_pages(), options, environment)
        save("pages", dict(machine=machine.described(environment.postgres), **found))
