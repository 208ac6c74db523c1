"""The versions that pyproject.toml promises are exact where behaviour depends on them, and those that are tested."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
PINNED = ("torch", "torchvision", "ray", "optuna", "mlflow", "pyarrow")


@pytest.mark.parametrize("package", PINNED)
def test_a_package_whose_behaviour_we_rely_on_is_pinned_to_what_is_tested(package: str) -> None:
    (pin,) = [each for each in PROJECT["dependencies"] if re.match(rf"{package}\b(?!-)", each)]
    assert pin.partition("==")[2] == version(package).partition("+")[0]


def test_the_environment_that_runs_the_tests_has_every_optional_part() -> None:
    """Else their tests would be skipped, and nobody would notice.

    The extra ``cluster`` is left out: its packages are for the nodes of a cluster and its MLflow server, where MLflow
    and SQLAlchemy import them. Nothing here does, and no test is skipped without them; but for psycopg2, which
    ``dev`` has as well.
    """
    extras = PROJECT["optional-dependencies"]
    wanted = {each for name, packages in extras.items() if name not in ("cluster", "dev") for each in packages}
    assert wanted <= set(extras["dev"])
    for requirement in map(Requirement, extras["dev"]):
        assert requirement.specifier.contains(version(requirement.name)), requirement
