"""Pods, and Pod templates, in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kubraft.api.conditions import conditions_of
from kubraft.api.object import Object, controller_of, is_terminating
from kubraft.api.pods import qos_class
from kubraft.cli.describe.page import NONE, Page, long_time, pairs

Json = dict[str, Any]


def describe_pod(page: Page, pod: Object) -> None:
    """Everything about one Pod but its metadata's labels and its Events."""
    spec, status = pod["spec"], pod.get("status") or {}
    page.field("Priority", spec.get("priority", 0))
    page.field("Service Account", spec.get("serviceAccountName"))
    node = spec.get("nodeName")
    page.field("Node", f"{node}/{status.get('hostIP', '')}".rstrip("/") if node else NONE)
    page.maybe("Start Time", status.get("startTime") and long_time(status["startTime"]))
    if is_terminating(pod):
        metadata = pod["metadata"]
        page.field("Status", f"Terminating (since {long_time(metadata['deletionTimestamp'])})")
        grace_s = metadata.get("deletionGracePeriodSeconds", 0)
        page.field("Termination Grace Period", f"{grace_s}s")
    else:
        page.field("Status", status.get("phase", "Pending"))
    page.maybe("Reason", status.get("reason"))
    page.maybe("Message", status.get("message"))
    page.field("IP", status.get("podIP"))
    owner = controller_of(pod)
    page.maybe("Controlled By", owner and f"{owner['kind']}/{owner['name']}")
    for label, field, states in (
        ("Init Containers", "initContainers", "initContainerStatuses"),
        ("Containers", "containers", "containerStatuses"),
    ):
        if spec.get(field):
            _containers(page, label, spec[field], status.get(states) or ())
    rows = [[c.get("type", ""), c.get("status", "")] for c in conditions_of(pod)]
    page.table("Conditions", ["Type", "Status"], rows)
    volumes(page, spec)
    page.field("QoS Class", status.get("qosClass") or qos_class(pod))
    page.field("Node-Selectors", spec.get("nodeSelector"))
    page.field("Tolerations", [toleration(t) for t in spec.get("tolerations") or ()])


def describe_template(page: Page, template: Json) -> None:
    """The Pods that a controller makes."""
    page.begin("Pod Template")
    metadata, spec = template.get("metadata") or {}, template.get("spec") or {}
    page.field("Labels", metadata.get("labels"))
    page.maybe("Annotations", metadata.get("annotations"))
    page.maybe("Service Account", spec.get("serviceAccountName"))
    for label, field in (("Init Containers", "initContainers"), ("Containers", "containers")):
        if spec.get(field):
            _containers(page, label, spec[field], ())
    volumes(page, spec)
    page.field("Node-Selectors", spec.get("nodeSelector"))
    page.field("Tolerations", [toleration(t) for t in spec.get("tolerations") or ()])
    page.end()


def _containers(
    page: Page, label: str, containers: Sequence[Json], statuses: Sequence[Json]
) -> None:
    by_name = {status.get("name"): status for status in statuses}
    page.begin(label)
    for container in containers:
        page.begin(container.get("name", ""))
        _container(page, container, by_name.get(container.get("name")))
        page.end()
    page.end()


def _container(page: Page, container: Json, status: Json | None) -> None:
    if status is not None:
        page.field("Container ID", status.get("containerID"))
    page.field("Image", container.get("image"))
    if status is not None:
        page.field("Image ID", status.get("imageID"))
    ports = container.get("ports") or ()
    page.field(
        "Ports", ", ".join(f"{p['containerPort']}/{p.get('protocol', 'TCP')}" for p in ports)
    )
    for label in ("command", "args"):
        page.maybe(label.capitalize(), container.get(label))
    if status is not None:
        _state(page, "State", status.get("state") or {})
        if status.get("lastState"):
            _state(page, "Last State", status["lastState"])
        page.field("Ready", bool(status.get("ready")))
        page.field("Restart Count", status.get("restartCount", 0))
    resources = container.get("resources") or {}
    for kind in ("limits", "requests"):
        page.maybe(kind.capitalize(), resources.get(kind) and pairs(resources[kind], ": "))
    for probe in ("liveness", "readiness", "startup"):
        page.maybe(probe.capitalize(), probe_text(container.get(f"{probe}Probe")))
    page.field("Environment", [_variable(v) for v in container.get("env") or ()])
    page.maybe("Environment From", [_source(s) for s in container.get("envFrom") or ()])
    page.field("Mounts", [_mount(m) for m in container.get("volumeMounts") or ()])


def _state(page: Page, label: str, state: Json) -> None:
    for name in ("running", "waiting", "terminated"):
        detail = state.get(name)
        if detail is None:
            continue
        page.field(label, name.capitalize())
        page.maybe("  Reason", detail.get("reason"))
        page.maybe("  Message", detail.get("message"))
        if name == "terminated":
            page.field("  Exit Code", detail.get("exitCode", 0))
        page.maybe("  Started", detail.get("startedAt") and long_time(detail["startedAt"]))
        page.maybe("  Finished", detail.get("finishedAt") and long_time(detail["finishedAt"]))
        return
    page.field(label, "Waiting")


def probe_text(probe: Json | None) -> str:
    """A probe on one line: what it does, then its numbers."""
    if not probe:
        return ""
    if "exec" in probe:
        what = f"exec [{' '.join(probe['exec'].get('command') or ())}]"
    elif "httpGet" in probe:
        get = probe["httpGet"]
        host, port = get.get("host", ""), get.get("port", "")
        what = f"http-get {get.get('scheme', 'HTTP').lower()}://{host}:{port}{get.get('path', '/')}"
    elif "tcpSocket" in probe:
        what = f"tcp-socket {probe['tcpSocket'].get('host', '')}:{probe['tcpSocket'].get('port')}"
    else:
        what = "grpc"
    return (
        f"{what} delay={probe.get('initialDelaySeconds', 0)}s "
        f"timeout={probe.get('timeoutSeconds', 1)}s period={probe.get('periodSeconds', 10)}s "
        f"#success={probe.get('successThreshold', 1)} #failure={probe.get('failureThreshold', 3)}"
    )


def _variable(variable: Json) -> str:
    source = variable.get("valueFrom") or {}
    if ref := source.get("secretKeyRef"):
        shown = f"<set to the key '{ref.get('key')}' in secret '{ref.get('name')}'>"
    elif ref := source.get("configMapKeyRef"):
        shown = f"<set to the key '{ref.get('key')}' of config map '{ref.get('name')}'>"
    elif ref := source.get("fieldRef"):
        shown = f"({ref.get('apiVersion', 'v1')}:{ref.get('fieldPath')})"
    else:
        shown = variable.get("value", "")
    return f"{variable.get('name')}: {shown}"


def _source(source: Json) -> str:
    for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
        if field in source:
            return f"{source[field].get('name')} ({kind})"
    return NONE


def _mount(mount: Json) -> str:
    flag = "ro" if mount.get("readOnly") else "rw"
    return f"{mount.get('mountPath')} from {mount.get('name')} ({flag})"


def volumes(page: Page, spec: Mapping[str, Any]) -> None:
    """The volumes, each with its kind and what it is made of."""
    found = spec.get("volumes") or ()
    if not found:
        return
    page.begin("Volumes")
    for volume in found:
        page.begin(volume.get("name", ""))
        kind = next((field for field in volume if field != "name"), "emptyDir")
        page.field("Type", kind[:1].upper() + kind[1:])
        detail = volume.get(kind) or {}
        page.maybe("Name", detail.get("name") or detail.get("secretName"))
        page.maybe("Path", detail.get("path"))
        page.maybe("Claim Name", detail.get("claimName"))
        page.maybe("Sources", [next(iter(source), "") for source in detail.get("sources") or ()])
        page.end()
    page.end()


def toleration(t: Json) -> str:
    """As kubectl writes one: "key=value:effect op=Exists for 300s"."""
    text: str = t.get("key", "")
    if t.get("value"):
        text += f"={t['value']}"
    if t.get("effect"):
        text += f":{t['effect']}"
    if t.get("operator") == "Exists":
        text = f"{text} op=Exists".strip()
    if t.get("tolerationSeconds") is not None:
        text += f" for {t['tolerationSeconds']}s"
    return text
