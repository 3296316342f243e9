"""What an installed pqadapters says of itself."""

from __future__ import annotations

from collections import defaultdict
from importlib import metadata, resources

import pytest

import pqadapters

RUNTIME = ("msgpack", "cbor2", "mysql", "gevent", "cli", "cloudpickle")


def requirements() -> dict[str, set[str]]:
    """The requirements of each extra; those without one are under ""."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for line in metadata.requires("pqadapters") or []:
        requirement, _, marker = line.partition(";")
        found[marker.replace("'", '"').partition('extra == "')[2].rstrip('" ')].add(requirement.strip())
    return dict(found)


def test_the_version_is_the_packages_own() -> None:
    assert metadata.version("pqadapters") == pqadapters.__version__


def test_one_small_library_is_required_without_an_extra() -> None:
    assert {name.partition(">")[0] for name in requirements()[""]} == {"platformdirs"}


@pytest.mark.parametrize("name", ["all", "extra"])
def test_all_and_its_alias_hold_every_runtime_extra(name: str) -> None:
    found = requirements()
    assert found[name] == set().union(*(found[part] for part in RUNTIME))


def test_it_is_marked_as_typed() -> None:
    assert resources.files(pqadapters).joinpath("py.typed").is_file()
