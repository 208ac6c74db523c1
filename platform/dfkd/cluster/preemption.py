"""Drains this machine's Ray nodes before the cloud takes the machine back: an agent, beside Ray on every spot node.

Ray (2.60) acts on a drained node: nothing new is placed there, Ray Train restarts a trial's workers elsewhere without
counting it as a failure, and the autoscaler looks for another machine. But nothing in Ray reads the cloud's notice.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from datetime import datetime

import ray
from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.core.generated.autoscaler_pb2 import DrainNodeReason
from ray.core.generated.gcs_pb2 import GcsNodeInfo

from dfkd.cluster.spot_notice import SpotNotice

POLL_SECONDS = 5.0  # as often as AWS advises
RAY_SECONDS = 10.0  # how long Ray's head may take to answer


def watch(
    read_notice: Callable[[], SpotNotice | None],
    drain: Callable[[SpotNotice], list[str]],
    *,
    say: Callable[[str], None],
    poll_seconds: float = POLL_SECONDS,
) -> list[str]:
    """Wait for the notice, then drain until Ray has accepted it; return the identifiers of the drained nodes.

    An error ends nothing: it is said once, and tried again. A machine that is no spot instance is watched for ever.

    Args:
        read_notice: of the cloud.
        drain: tells Ray.
        say: takes a line for the log.
        poll_seconds: between two looks.
    """
    trouble = ""
    while True:
        try:
            notice = read_notice()
            if notice is not None:
                nodes = drain(notice)
                say(f"{notice.action} at {notice.time.isoformat()}: drained {', '.join(nodes)}")
                return nodes
            line = ""
        except (OSError, ValueError) as error:
            line = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
        if line and line != trouble:
            say(f"{line} (trying again every {poll_seconds:g} s)")
        trouble = line
        time.sleep(poll_seconds)


def drain_nodes(address: str, *, machine: str, deadline: datetime, reason: str) -> list[str]:
    """Tell Ray that its nodes on a machine end at a time, as ``ray drain-node`` does; return their identifiers.

    Args:
        address: of the head, ``host:port``.
        machine: the address under which Ray knows it.
        deadline: after it the machine may be gone.
        reason: for people who look at the cluster.

    Raises:
        ConnectionError: the head does not answer, refuses our token, or does not take the request.
        ValueError: the address is none, or Ray has no node there.
    """
    _check_answers(address)
    try:
        client = GcsClient(address=address)
        nodes = _nodes_on(client, machine)
        for node in nodes:
            accepted, why = client.drain_node(
                node,  # in hexadecimal: Ray (2.60) takes the binary form as well, and then drains nothing
                DrainNodeReason.DRAIN_NODE_REASON_PREEMPTION,
                reason,
                int(deadline.timestamp() * 1000),
                timeout=RAY_SECONDS,
            )
            if not accepted:
                raise ConnectionError(f"ray: node {node} is not drained: {why}")
    except ray.exceptions.RayError as error:
        raise ConnectionError(f"ray at '{address}': {error}") from error
    return nodes


def _nodes_on(client: GcsClient, machine: str) -> list[str]:
    alive = client.get_all_node_info(timeout=RAY_SECONDS, state_filter=GcsNodeInfo.ALIVE)
    nodes = [name.hex() for name, node in alive.items() if node.node_manager_address == machine]
    if not nodes:
        known = ", ".join(sorted({node.node_manager_address for node in alive.values()}))
        raise ValueError(f"node: expected one of Ray's nodes ({known}), got '{machine}'. Give its address with --node.")
    return nodes


def _check_answers(address: str) -> None:
    """Raise if nothing listens there: Ray's own client (2.60) would wait for a minute and then end the process."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"address: expected host:port of Ray's head, got '{address}'.")
    socket.create_connection((host, int(port)), timeout=RAY_SECONDS).close()
