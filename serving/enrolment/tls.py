"""Both ends of a connection from a gateway to a node: each trusts one certificate, the other's."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path


def to_node(node_certificate: str, own: Path) -> ssl.SSLContext:
    """What a gateway calls a node with: only the holder of that certificate's key may answer,
    whatever its address is. Raises ssl.SSLError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # the certificate itself is the identity
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=node_certificate)
    context.load_cert_chain(own)
    return context


def of_node(gateway_certificates: Iterable[str], own: Path) -> ssl.SSLContext:
    """What a node answers with: only holders of these certificates' keys get in.

    Raises ssl.SSLError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    for certificate in gateway_certificates:
        context.load_verify_locations(cadata=certificate)
    context.load_cert_chain(own)
    return context
