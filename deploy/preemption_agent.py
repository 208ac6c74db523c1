"""Runs on every spot machine of a cluster, beside Ray: drains the machine once the cloud says that it takes it back.

Examples:
    python deploy/preemption_agent.py --address 10.0.0.5:6379

It has been run against a stand-in for AWS's metadata service and a real Ray cluster, not on AWS.
"""

from __future__ import annotations

import argparse
import time
from contextlib import nullcontext
from pathlib import Path

import ray

from dfkd.cluster.agent_lock import take_over
from dfkd.cluster.preemption import POLL_SECONDS, drain_nodes, watch
from dfkd.cluster.spot_notice import METADATA_ADDRESS, MetadataService, SpotNotice


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", required=True, help="of Ray's head: host:port")
    parser.add_argument(
        "--node", help="address under which Ray knows this machine (default: found as `ray start` does)"
    )
    parser.add_argument("--metadata", default=METADATA_ADDRESS, help="of the cloud's metadata service")
    parser.add_argument("--lock", type=Path, help="file that leaves one agent here: one that holds it is ended first")
    parser.add_argument("--poll-seconds", type=float, default=POLL_SECONDS, help="between two looks")
    return parser.parse_args()


def say(line: str) -> None:
    """Write a line to the log."""
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} preemption agent: {line}", flush=True)


def main() -> None:
    """Be this machine's only agent, if so asked, and watch."""
    arguments = parse_arguments()
    held = take_over(arguments.lock) if arguments.lock else nullcontext()
    with held:
        watch_machine(arguments)


def watch_machine(arguments: argparse.Namespace) -> None:
    """Watch until the machine has been drained."""
    machine = arguments.node or ray.util.get_node_ip_address()
    say(f"watches {arguments.metadata} for Ray's node {machine}")

    def drain(notice: SpotNotice) -> list[str]:
        reason = f"spot instance: {notice.action} at {notice.time.isoformat()}"
        return drain_nodes(arguments.address, machine=machine, deadline=notice.time, reason=reason)

    watch(MetadataService(arguments.metadata).spot_notice, drain, say=say, poll_seconds=arguments.poll_seconds)


if __name__ == "__main__":
    main()
