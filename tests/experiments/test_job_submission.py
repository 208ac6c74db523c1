"""`ray job submit`, to the letter, against clusters that this module starts and stops."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dfkd.search.space import load_search_space

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
RAY = Path(sys.executable).with_name("ray")
SMOKE, DEFAULT = "search_spaces/smoke.yaml", "search_spaces/digits_cae.yaml"
PRINT_PLATFORM = (
    "import platform, ray; ray.init(log_to_driver=False); "
    "where = ray.remote(lambda: __import__('platform').__file__); "
    "print('FOUND', platform.__file__, ray.get(where.remote()))"
)


@dataclass
class Cluster:
    """A running head and what a client needs to reach it."""

    dashboard: str
    environment: dict[str, str]

    def submit(self, *arguments: str, timeout: float = 500) -> subprocess.CompletedProcess[str]:
        """Run ``ray job submit`` in the project's root until the job has ended."""
        return subprocess.run(
            [str(RAY), "job", "submit", *arguments],
            cwd=ROOT,
            env=self.environment | {"RAY_API_SERVER_ADDRESS": self.dashboard},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def start_head(ray: Path, folder: Path, environment: dict[str, str]) -> Iterator[Cluster]:
    """Start a head in a folder, with ports and files of its own; stop it afterwards."""
    environment = {name: value for name, value in environment.items() if name != "RAY_TMPDIR"}
    environment["PATH"] = f"{ray.parent}{os.pathsep}{environment['PATH']}"  # the job's `python` is the head's
    dashboard = f"http://127.0.0.1:{(port := free_port())}"
    with tempfile.TemporaryDirectory(prefix="dfkd-", dir="/tmp", ignore_cleanup_errors=True) as temporary:
        command = [str(ray), "start", "--head", "--block", "--num-cpus=2", f"--port={free_port()}"]
        command += ["--dashboard-host=127.0.0.1", f"--dashboard-port={port}", f"--temp-dir={temporary}"]
        command += [f"--dashboard-agent-listen-port={free_port()}", f"--ray-client-server-port={free_port()}"]
        log = Path(temporary, "start.log")
        head = subprocess.Popen(
            [*command, "--disable-usage-stats"],
            cwd=folder,
            env=environment,
            stdout=log.open("w"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_for(dashboard, head, log)
            yield Cluster(dashboard, environment)
        finally:
            head.terminate()  # `--block` stops all that it started
            head.wait(timeout=60)


def wait_for(address: str, head: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and head.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=1).close()
            return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(log.read_text()[-3000:])


@pytest.fixture(scope="module")
def installed(surroundings: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that has the package, its head started in the project's root, by a user who has no token of Ray's."""
    yield from start_head(RAY, ROOT, surroundings | {"HOME": str(tmp_path_factory.mktemp("user"))})


@pytest.fixture(scope="module")
def dependencies_only(surroundings: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with the dependencies alone, protected by a token, its head started elsewhere."""
    folder = tmp_path_factory.mktemp("thin")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    (site_packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    # The .pth files in a folder that is added by a .pth file are not read: ours stays out, wherever it is installed.
    (site_packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    python, ray = folder / "venv" / "bin" / "python", folder / "venv" / "bin" / "ray"
    ray.write_text(f"#!{python}\nfrom ray.scripts.scripts import main\n\nmain()\n")
    ray.chmod(0o755)
    absent = subprocess.run([python, "-c", "import ray, torch, dfkd"], cwd=folder, capture_output=True, text=True)
    assert "No module named 'dfkd'" in absent.stderr
    token = Path(surroundings["HOME"]) / ".ray" / "auth_token"
    token.parent.mkdir(exist_ok=True)
    token.write_text("a1" * 32)
    token.chmod(0o600)
    yield from start_head(ray, folder, surroundings | {"RAY_AUTH_MODE": "token"})


def test_the_literal_command_runs_where_the_head_was_started_in_the_root(installed: Cluster, tmp_path: Path) -> None:
    done = installed.submit("--", "python", "experiments/search.py", SMOKE, "--home", str(tmp_path / "home"))
    assert done.returncode == 0, done.stdout[-3000:]
    assert "models:/smoke/1 (champion)" in done.stdout
    assert done.stdout.count(" starts: ") == 2


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("cluster", "options"),
    [("installed", []), ("dependencies_only", ["--working-dir", "."])],
    ids=["to the letter", "with --working-dir"],
)
def test_the_default_job_runs_as_the_readme_says(
    request: pytest.FixtureRequest, cluster: str, options: list[str]
) -> None:
    """No option and no other space: what is kept goes to the home of the user who started the head."""
    head: Cluster = request.getfixturevalue(cluster)
    done = head.submit(*options, "--", "python", "experiments/search.py", timeout=1700)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "models:/digits-student/1 (champion)" in done.stdout
    assert done.stdout.count(" starts: ") == load_search_space(ROOT / DEFAULT).settings.trials
    assert (Path(head.environment["HOME"]) / ".dfkd" / "mlflow.db").is_file()


def test_a_head_that_was_started_elsewhere_does_not_find_the_script(dependencies_only: Cluster) -> None:
    """As the README says; the words are Python's own."""
    done = dependencies_only.submit("--", "python", "experiments/search.py")
    assert done.returncode != 0
    assert "can't open file" in done.stdout


def test_a_job_that_is_stopped_leaves_no_run_open(installed: Cluster, tmp_path: Path) -> None:
    from dfkd.tracking.connection import import_mlflow

    home = tmp_path / "home"
    arguments = ["--submission-id", "stopped", "--no-wait", "--", "python", "experiments/search.py", SMOKE]
    assert installed.submit(*arguments, "--home", str(home)).returncode == 0
    journal = home / "tracking"
    deadline = time.monotonic() + 120
    while not list(journal.glob("smoke-*/journal.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.5)
    time.sleep(5)
    stop = [str(RAY), "job", "stop", "stopped"]
    environment = installed.environment | {"RAY_API_SERVER_ADDRESS": installed.dashboard}
    subprocess.run(stop, env=environment, check=True, capture_output=True, timeout=120)
    client = import_mlflow().MlflowClient(f"sqlite:///{home}/mlflow.db")
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert sorted(run.info.status for run in runs if run.data.tags["dfkd.kind"] != "trial") == ["FINISHED", "KILLED"]
    assert "RUNNING" not in {run.info.status for run in runs}


def test_the_package_goes_with_the_job_where_only_its_dependencies_are(
    dependencies_only: Cluster, tmp_path: Path
) -> None:
    search = ["python", "experiments/search.py", SMOKE, "--home", str(tmp_path / "home")]
    done = dependencies_only.submit("--working-dir", ".", "--", *search)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "models:/smoke/1 (champion)" in done.stdout


def test_a_job_without_its_source_tree_says_what_to_do(dependencies_only: Cluster) -> None:
    done = dependencies_only.submit("--working-dir", "experiments", "--", "python", "search.py")
    assert done.returncode != 0
    assert "dfkd is not installed, and there is no source tree at " in done.stdout
    assert "`ray job submit --working-dir . -- python experiments/search.py`" in done.stdout


def test_import_platform_is_the_standard_library_in_driver_and_worker(dependencies_only: Cluster) -> None:
    done = dependencies_only.submit("--working-dir", ".", "--", "python", "-c", PRINT_PLATFORM)
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("FOUND"))
    assert line.split()[1:] == [f"{sysconfig.get_paths()['stdlib']}/platform.py"] * 2


def test_a_client_that_does_not_show_its_token_is_refused_with_words(
    dependencies_only: Cluster, tmp_path: Path
) -> None:
    """A search, that is: what `ray job submit` itself says is Ray's."""
    address = dependencies_only.environment
    done = subprocess.run(
        [sys.executable, "experiments/search.py", SMOKE, "--home", str(tmp_path)],
        cwd=ROOT,
        env={name: value for name, value in address.items() if name != "RAY_AUTH_MODE"}
        | {"RAY_ADDRESS": gcs_address(dependencies_only)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert re.search("RAY_AUTH_MODE.* the same on both sides", done.stderr), done.stderr[-2000:]


def gcs_address(cluster: Cluster) -> str:
    """Ask a job of the cluster where it is."""
    done = cluster.submit("--", "python", "-c", "import os; print('AT', os.environ['RAY_ADDRESS'])")
    return next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("AT "))
