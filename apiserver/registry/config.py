"""ConfigMaps and Secrets.

Source: Kubernetes API reference, core/v1; texts of upstream's validation.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import orjson

from apiserver.registry.causes import forbidden, immutable, invalid, required, too_long
from apiserver.registry.metadata import each_key
from apiserver.registry.strategy import Strategy
from kubraft.api.errors import Cause
from kubraft.api.names import config_key_errors
from kubraft.api.object import Object, annotations_of
from kubraft.service_account import ACCOUNT_NAME, SECRET_TYPE

DATA_BYTES_MAX = 1024 * 1024
_IMMUTABLE = "field is immutable when `immutable` is set"
_REQUIRED_KEYS = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


class ConfigMapStrategy(Strategy):
    """The rules of ConfigMaps."""

    def validate(self, obj: Object) -> list[Cause]:
        data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
        causes = each_key("data", list(data), config_key_errors)
        causes += each_key("binaryData", list(binary), config_key_errors)
        causes += [
            invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
            for key in data
            if key in binary
        ]
        size = sum(len(text.encode()) for text in data.values())
        if size + sum(_decoded_size(text) for text in binary.values()) > DATA_BYTES_MAX:
            causes.append(too_long("[]", DATA_BYTES_MAX))
        return causes

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        return self.validate(new) + _immutable_causes(new, old, ("data", "binaryData"))


class SecretStrategy(Strategy):
    """The rules of Secrets. `stringData` is a way to write `data`, and is never stored."""

    def default(self, obj: Object) -> None:
        obj.setdefault("type", "Opaque")
        texts = obj.pop("stringData", None)
        if isinstance(texts, dict) and texts:
            data = obj.setdefault("data", {})
            for key, text in texts.items():
                data[key] = base64.b64encode(text.encode()).decode()

    def validate(self, obj: Object) -> list[Cause]:
        data: dict[str, Any] = obj.get("data") or {}
        causes = each_key("data", list(data), config_key_errors)
        if sum(map(_decoded_size, data.values())) > DATA_BYTES_MAX:
            causes.append(too_long("data", DATA_BYTES_MAX))
        causes += [
            required(f"data[{key}]")
            for key in _REQUIRED_KEYS.get(obj["type"], ())
            if key not in data
        ]
        if obj["type"] == SECRET_TYPE and not annotations_of(obj).get(ACCOUNT_NAME):
            causes.append(required(f"metadata.annotations[{ACCOUNT_NAME}]"))
        if obj["type"] == "kubernetes.io/basic-auth" and not {"username", "password"} & set(data):
            causes += [required("data[username]"), required("data[password]")]
        if obj["type"] == "kubernetes.io/dockerconfigjson" and not causes:
            causes += _json_causes(data, ".dockerconfigjson")
        return causes

    def prepare_for_update(self, new: Object, old: Object) -> None:
        super().prepare_for_update(new, old)
        new["type"] = new.get("type") or old.get("type", "Opaque")

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        causes = self.validate(new)
        if new["type"] != old["type"]:
            causes.append(immutable("type", new["type"]))
        return causes + _immutable_causes(new, old, ("data",))


def _immutable_causes(new: Object, old: Object, fields: tuple[str, ...]) -> list[Cause]:
    if not old.get("immutable"):
        return []
    causes = []
    if not new.get("immutable"):
        causes.append(forbidden("immutable", _IMMUTABLE))
    causes += [
        forbidden(field, _IMMUTABLE)
        for field in fields
        if (new.get(field) or {}) != (old.get(field) or {})
    ]
    return causes


def _decoded_size(text: str) -> int:
    return len(text) * 3 // 4


def _json_causes(data: dict[str, str], key: str) -> list[Cause]:
    try:
        orjson.loads(base64.b64decode(data[key]))
    except (ValueError, binascii.Error) as error:
        return [invalid(f"data[{key}]", "<secret contents redacted>", str(error))]
    return []
