"""Which network interface data-parallel workers on CPUs talk over: the one that has their node's address."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import psutil
import ray
from ray.train.torch import TorchConfig

if TYPE_CHECKING:
    from ray.train.backend import Backend

GLOO_INTERFACE = "GLOO_SOCKET_IFNAME"  # read by torch


def interface_of(address: str) -> str | None:
    """Return the name of this machine's interface with that address, or None if no interface has it."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(entry.address.partition("%")[0] == address for entry in addresses):
            return str(name)
    return None


class OverNodeAddress(TorchConfig):  # type: ignore[misc]
    """Ray Train's process group, with gloo on the interface by which Ray knows the node.

    gloo itself takes the address that the machine's own name stands for. That is 127.0.0.1 or 127.0.1.1 on many
    (Debian writes it so), and workers of two machines then wait for each other until they time out.
    """

    @property
    def backend_cls(self) -> type[Backend]:
        """Ray Train's own, which first sets the interface on every worker."""
        base: Any = super().backend_cls

        class _Backend(base):  # type: ignore[misc]
            def on_start(self, worker_group: Any, backend_config: TorchConfig) -> None:
                worker_group.execute(_use_node_interface)
                super().on_start(worker_group, backend_config)

        return _Backend


def _use_node_interface() -> None:
    interface = interface_of(ray.util.get_node_ip_address())
    if interface is not None:
        os.environ.setdefault(GLOO_INTERFACE, interface)  # what the user set stays
