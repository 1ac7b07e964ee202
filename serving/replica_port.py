"""Where a replica listens besides the port that requests come to."""

import ray
from ray.serve._private import replica


def keep_internal_port_on_loopback() -> None:
    """Binds Serve's port for calls between deployments to the node's own address.

    Serve opens it on every interface of the machine, and there are no such calls here. On a node
    that was started on loopback nothing is then reachable from outside.
    """
    add_port = replica.add_port_to_grpc_server
    host = ray.util.get_node_ip_address()
    replica.add_port_to_grpc_server = lambda server, address: add_port(
        server, address.replace("[::]", host)
    )
