"""Every decoder at the edge reads any bytes, or refuses them in its own words."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import orjson
import pytest
import yaml

from apiserver.apply import managers
from apiserver.audit import policy
from apiserver.authn import authentication_config, oidc, service_account, token_file
from apiserver.authn.oidc import OidcConfig
from apiserver.cel import CompileError, EvaluationError, compile_program
from apiserver.registry.patches import JSON, MERGE, STRATEGIC, change_of
from apiserver.registry.strategic_merge import PatchSchema
from apiserver.rest import content, media, query, request_info
from apiserver.rpc.body import read_json
from apiserver.schema.schemas import FieldValidation
from apiserver.storage import continue_token, encryption_config
from apiserver.structural.definition import schema_causes
from kubraft.api.errors import ApiError, InternalError
from kubraft.api.fields import parse_field_selector
from kubraft.api.gvk import CUSTOM_RESOURCE_DEFINITION, DEPLOYMENT
from kubraft.api.labels import parse_selector
from kubraft.api.quantity import parse_quantity
from tests.apiserver.harness import SCHEMAS, copy, deployment
from tests.apiserver.hostile.budget import SECONDS, seeds
from tests.apiserver.hostile.test_objects import SCHEMA
from tests.apiserver.hostile.texts import mutated
from tests.apiserver.schema.test_protobuf import body as binary
from tests.apiserver.schema.test_protobuf import message

TRIES = 300
REFUSALS = (ApiError, ValueError)


class Decoder(NamedTuple):
    samples: tuple[bytes, ...]
    read: Callable[[bytes], Any]
    # What it may raise; anything else is a defect.
    refusals: tuple[type[Exception], ...] = REFUSALS


def text(read: Callable[[str], Any]) -> Callable[[bytes], Any]:
    return lambda raw: read(raw.decode("utf-8", "replace"))


def patched(kind: str) -> Callable[[bytes], Any]:
    schema = PatchSchema.of(*SCHEMAS.definition(DEPLOYMENT))

    def apply(raw: bytes) -> Any:
        change = change_of(kind, read_json(raw, strict=False), schema)
        return change(copy(deployment()))

    return apply


def evaluated(raw: bytes) -> Any:
    program = compile_program(raw.decode("utf-8", "replace"), ("object", "oldObject"))
    return program.evaluate({"object": deployment(), "oldObject": None})


def queried(raw: bytes) -> None:
    found = request_info.read_query(raw.decode("latin-1"))
    for read in (
        query.list_query,
        query.watch_query,
        lambda each: query.write_options(each, "PatchOptions", "me/1"),
        lambda each: query.delete_options(each, None),
        lambda each: query.is_forced(each, applying=True),
    ):
        try:
            read(found)
        except ApiError as error:
            assert not isinstance(error, InternalError)  # noqa: PT017


def options(raw: bytes) -> Any:
    return query.delete_options({}, content.read_object(raw, media.JSON))


def claims(raw: bytes) -> Any:
    found = orjson.loads(raw)
    if not isinstance(found, dict):
        return None
    try:
        oidc.check_times(found, 1000.0)
        oidc.user_of(found, OIDC)
    except ApiError:
        pass
    return service_account.parse_claims(found, issuers=frozenset(("i",)))


def encoded(obj: Any) -> bytes:
    return json.dumps(obj).encode()


OIDC = OidcConfig(issuer="https://i", audiences=("a",), username_claim="sub", groups_claim="groups")
OBJECT = encoded(deployment())
AUTHENTICATION = b"""apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
anonymous: {enabled: true, conditions: [{path: /readyz}]}
jwt:
- issuer: {url: https://example.com, audiences: [k8s], audienceMatchPolicy: MatchAny}
  claimMappings: {username: {claim: sub, prefix: ""}, groups: {claim: groups, prefix: "x:"}}
  claimValidationRules: [{claim: hd, requiredValue: x}]
"""
ENCRYPTION = b"""apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets, "*.apps"]
  providers:
  - aesgcm: {keys: [{name: a, secret: MDEyMzQ1Njc4OTAxMjM0NQ==}]}
  - identity: {}
"""
POLICY = b"""apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: RequestResponse
  resources: [{group: "", resources: [pods, pods/log], resourceNames: [x]}]
  namespaces: [default]
- {level: None, nonResourceURLs: ["/healthz*"]}
"""
MANAGED = encoded(
    [
        {
            "manager": "m",
            "operation": "Apply",
            "apiVersion": "v1",
            "time": "2026-01-01T00:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {".": {}, 'k:{"name":"c"}': {"f:x": {}}, "v:1": {}, "i:0": {}}},
        }
    ]
)
SELECTORS = (b"a=b,c!=d,e in (f,g),h notin (i),!j,k,l>1,m<2", b"x/y==z")
RULES = (
    b"object.spec.replicas > 1 && has(object.metadata.labels)",
    b"object.spec.template.spec.containers.all(c, c.name.matches('^a+$') || c.image.size() < 9)",
    b"[1, 2, 3].map(x, x * 2).filter(x, x > 2).exists_one(x, x == 4) ? 'a' + 'b' : string(1.5)",
    b"duration('1h').getSeconds() > timestamp('2026-01-01T00:00:00Z').getFullYear()",
    b"quantity('1Gi').add(quantity('5')).isGreaterThan(quantity('1k')) && ip('::1').family() == 6",
    b"oldObject == null ? {'a': [1, {}]} : {}",
)
PATCH = encoded(
    [
        {"op": "add", "path": "/spec/template/spec/containers/-", "value": {"name": "x"}},
        {"op": "copy", "from": "/spec/template", "path": "/metadata/annotations"},
        {"op": "test", "path": "/spec/selector/matchLabels/app", "value": "web"},
        {"op": "remove", "path": "/spec/template/spec/containers/0"},
    ]
)
MERGED = encoded(
    {
        "metadata": {"labels": {"a": None}, "$retainKeys": ["labels"]},
        "spec": {
            "template": {
                "spec": {
                    "containers": [{"name": "c", "$patch": "delete"}, {"name": "d", "image": "i"}],
                    "$setElementOrder/containers": [{"name": "d"}, {"name": "c"}],
                    "$deleteFromPrimitiveList/x": ["a"],
                }
            }
        },
    }
)
QUERIES = (
    b"labelSelector=a%3Db&fieldSelector=metadata.name%3Dx&limit=5&continue=abc&watch=1",
    b"resourceVersion=1&resourceVersionMatch=Exact&sendInitialEvents=true&timeoutSeconds=10",
    b"dryRun=All&fieldManager=m&fieldValidation=Strict&force=true&pretty=1",
    b"gracePeriodSeconds=5&propagationPolicy=Orphan&orphanDependents=false",
)
ACCEPTED = (
    b"application/json;as=Table;v=v1;g=meta.k8s.io,application/json;q=0.9, */*;q=0.1",
    b"application/vnd.kubernetes.protobuf;stream=watch, application/yaml",
)
CLAIMS = encoded(
    {
        "iss": "i", "sub": "system:serviceaccount:a:b", "aud": ["a"], "exp": 2000, "nbf": 1,
        "iat": 1, "groups": ["g"], "email_verified": True,
        "kubernetes.io": {
            "namespace": "a", "serviceaccount": {"name": "b", "uid": "u"},
            "pod": {"name": "p", "uid": "u"}, "node": {"name": "n", "uid": "u"},
        },
    }
)  # fmt: skip
NAME = message((1, "x"))
DECODERS = {
    "json": Decoder((OBJECT,), lambda raw: read_json(raw, strict=True)),
    "yaml": Decoder((yaml.safe_dump(deployment()).encode(), POLICY), content.read_yaml),
    "configuration": Decoder((OBJECT, POLICY), content.read_config),
    "protobuf": Decoder(
        (
            binary("v1", "ConfigMap", (1, NAME), (2, message((1, "a"), (2, "b")))),
            binary("v1", "Pod", (1, NAME), (2, message((2, message((1, "c"), (2, "i")))))),
        ),
        content.read_protobuf,
    ),
    "json-patch": Decoder((PATCH,), patched(JSON)),
    "merge-patch": Decoder((MERGED,), patched(MERGE)),
    "strategic-patch": Decoder((MERGED,), patched(STRATEGIC)),
    "labels": Decoder(SELECTORS, text(parse_selector)),
    "fields": Decoder((b"metadata.name=x,status.phase!=y", b"a=b\\,c"), text(parse_field_selector)),
    "quantity": Decoder((b"100m", b"1.5Gi", b"-2e3", b"12E"), text(parse_quantity)),
    "query": Decoder(QUERIES, queried),
    "accept": Decoder(ACCEPTED, text(media.accepted)),
    "content-type": Decoder((b"application/json; charset=utf-8",), text(media.is_yaml)),
    "continue": Decoder(
        (continue_token.encode(continue_token.Continue(5, "/a/b")).encode(),),
        text(lambda token: continue_token.decode(token, "/a/")),
    ),
    "delete-options": Decoder(
        (b'{"gracePeriodSeconds":5,"preconditions":{"uid":"x"},"dryRun":["All"]}',), options
    ),
    "managed-fields": Decoder((MANAGED,), lambda raw: managers.read(orjson.loads(raw))),
    "claims": Decoder((CLAIMS,), claims),
    "tokens": Decoder(
        (b'a,b,c,"d,e"\n# x\nf,g,h\n',), text(lambda each: token_file.parse_token_file(each, "f"))
    ),
    "authentication": Decoder((AUTHENTICATION,), text(authentication_config.parse)),
    "encryption": Decoder((ENCRYPTION,), text(lambda each: encryption_config.parse(each, bytes))),
    "cel": Decoder(RULES, evaluated, (CompileError, EvaluationError)),
    "schema": Decoder(
        (encoded(SCHEMA),),
        lambda raw: schema_causes(_schema(raw), "x", has_status=False),
    ),
}


def _schema(raw: bytes) -> Any:
    """What the kind's own schema lets through: the rest never comes so far."""
    props = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    version = {"name": "v1", "served": True, "storage": True,
               "schema": {"openAPIV3Schema": orjson.loads(raw)}}  # fmt: skip
    spec = {"group": "a.b", "scope": "Cluster", "names": {}, "versions": [version]}
    found = SCHEMAS.decode(
        CUSTOM_RESOURCE_DEFINITION, {**props, "spec": spec}, FieldValidation.IGNORE
    )
    return found.obj["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


@pytest.mark.timeout(120 + SECONDS)
@pytest.mark.parametrize("name", DECODERS)
def test_what_is_nearly_right_is_read_or_refused(name: str) -> None:
    samples, read, refusals = DECODERS[name]
    for sample in samples:
        read(sample)
    for seed in seeds(TRIES):
        random = Random(seed)
        raw = mutated(random.choice(samples), samples, random)
        try:
            read(raw)
        except refusals as error:
            assert not isinstance(error, InternalError)  # noqa: PT017
        except Exception as error:
            raise AssertionError(f"{name}, seed {seed}: {raw!r}") from error


def test_files_of_audit_policies_are_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    for seed in seeds(TRIES):
        path.write_bytes(mutated(POLICY, (POLICY,), Random(seed)))
        with contextlib.suppress(policy.PolicyError):
            policy.load_policy(path)
