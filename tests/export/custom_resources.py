"""What Gateway API v1 and KEDA v1alpha1 document of the fields that we render.

kubectl knows these kinds only in a cluster that has them installed, so a misspelled field would be seen there alone.
"""

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["SCHEMAS"]

Json = dict[str, Any]


def _object(required: tuple[str, ...] = (), /, **properties: Json) -> Json:
    """Every field that is not named is a fault."""
    return {
        "type": "object",
        "required": list(required),
        "properties": properties,
        "additionalProperties": False,
    }


def _list(items: Json, *, most: int) -> Json:
    return {"type": "array", "items": items, "minItems": 1, "maxItems": most}


_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": 253}
_PORT: Final = {"type": "integer", "minimum": 1, "maximum": 65_535}
_COUNT: Final = {"type": "integer", "minimum": 0}
_HOST: Final = {
    "type": "string",
    "pattern": r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
}
_REFERENCE: Final = {"group": {"type": "string"}, "kind": _TEXT, "name": _TEXT, "namespace": _TEXT}
_TEXTS: Final = {"type": "object", "additionalProperties": {"type": "string"}}

_ROUTE: Final = _object(
    parentRefs=_list(_object(("name",), **_REFERENCE, sectionName=_TEXT, port=_PORT), most=32),
    hostnames=_list(_HOST, most=16),
    rules=_list(
        _object(
            backendRefs=_list(_object(("name",), **_REFERENCE, port=_PORT, weight=_COUNT), most=16),
            matches={"type": "array"},
            filters={"type": "array"},
            timeouts=_object(request=_TEXT, backendRequest=_TEXT),
        ),
        most=16,
    ),
)
_LISTENER: Final = _object(
    ("name", "port", "protocol"),
    name=_TEXT,
    hostname=_HOST,
    port=_PORT,
    protocol={"enum": ["HTTP", "HTTPS", "TLS", "TCP", "UDP"]},
    tls=_object(
        mode={"enum": ["Terminate", "Passthrough"]},
        certificateRefs={"type": "array", "items": _object(("name",), **_REFERENCE), "maxItems": 64},
        options=_TEXTS,
    ),
    allowedRoutes={"type": "object"},
)
_SCALED: Final = _object(
    ("scaleTargetRef", "triggers"),
    scaleTargetRef=_object(("name",), apiVersion=_TEXT, kind=_TEXT, name=_TEXT, envSourceContainerName=_TEXT),
    pollingInterval=_COUNT,
    initialCooldownPeriod=_COUNT,
    cooldownPeriod=_COUNT,
    idleReplicaCount=_COUNT,
    minReplicaCount=_COUNT,
    maxReplicaCount=_COUNT,
    advanced={"type": "object"},
    fallback={"type": "object"},
    triggers=_list(
        _object(
            ("type", "metadata"),
            type=_TEXT,
            name=_TEXT,
            # Numbers too are text here.
            metadata=_TEXTS,
            authenticationRef=_object(("name",), name=_TEXT, kind=_TEXT),
            metricType={"enum": ["AverageValue", "Value", "Utilization"]},
            useCachedMetrics={"type": "boolean"},
        ),
        most=100,
    ),
)


def _kind(specification: Json) -> Json:
    metadata = {"type": "object", "required": ["name"]}
    return _object(
        ("apiVersion", "kind", "metadata", "spec"), apiVersion=_TEXT, kind=_TEXT, metadata=metadata, spec=specification
    )


SCHEMAS: Final[Mapping[tuple[str, str], Json]] = {
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): _kind(_ROUTE),
    ("gateway.networking.k8s.io/v1", "Gateway"): _kind(
        _object(
            ("gatewayClassName", "listeners"), gatewayClassName=_TEXT, listeners=_list(_LISTENER, most=64), addresses={}
        )
    ),
    ("keda.sh/v1alpha1", "ScaledObject"): _kind(_SCALED),
}
