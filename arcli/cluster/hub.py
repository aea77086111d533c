"""Telling ipyparallel's hub that an engine is gone.

In ipyparallel the nanny beside each engine does so (``KernelNanny.notify_exit``,
https://github.com/ipython/ipyparallel/blob/9.0.1/ipyparallel/engine/nanny.py). The embedded cluster
has no nannies, because its supervisor sees a death anyway. The message is part of the protocol
between engines and hub (https://ipyparallel.readthedocs.io/en/latest/reference/messages.html).
"""

from __future__ import annotations

from typing import Any

import zmq
from jupyter_client.session import Session


def unregister(info: dict[str, Any], engine_id: int) -> None:
    """Unregister an engine; the hub then fails what clients wait for from it, within moments."""
    session = Session(
        key=info["key"].encode(),
        signature_scheme=info["signature_scheme"],
        packer=info["pack"],
        unpacker=info["unpack"],
    )
    hub: zmq.Socket[bytes]
    with zmq.Context.instance().socket(zmq.DEALER) as hub:
        hub.setsockopt(zmq.LINGER, 1000)
        hub.connect(f"{info['interface']}:{info['registration']}")
        session.send(hub, "unregistration_request", content={"id": engine_id})
