"""The `ray` command for a node that joins a head on loopback.

Ray replaces 127.0.0.1 by the machine's outer address, and then listens there, unless it believes
that it must not form a cluster (`serving/ray_node.py`); and then it refuses a second node. Here it
believes so, but where it would refuse. What it starts has the environment, and so the belief.
"""

from __future__ import annotations

from ray._private import ray_constants, services
from ray.scripts.scripts import main

from serving.free_ports import LOOPBACK

if __name__ == "__main__":
    ray_constants.ENABLE_RAY_CLUSTER = True
    services.get_node_ip_address = lambda *_: LOOPBACK
    main()
