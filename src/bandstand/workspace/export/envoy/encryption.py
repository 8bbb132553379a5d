"""How the gateway speaks TLS with its clients."""

from pathlib import PurePath
from typing import Final

from bandstand.workspace.export.envoy.values import Json, typed

__all__ = ["transport_socket"]

_TLS: Final = "envoy.extensions.transport_sockets.tls.v3"


def transport_socket(folder: PurePath) -> Json:
    """Return TLS 1.2 and 1.3 with HTTP/1.1 and HTTP/2, with the certificate and the key that stand in ``folder``."""
    certificate = {
        "certificate_chain": {"filename": str(folder / "tls.crt")},
        "private_key": {"filename": str(folder / "tls.key")},
    }
    context = {
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        "tls_certificates": [certificate],
    }
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": typed(f"{_TLS}.DownstreamTlsContext", common_tls_context=context),
    }
