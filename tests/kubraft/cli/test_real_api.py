"""The command line against a real API server on a real etcd."""

import json
from pathlib import Path

import pytest

from kubraft.supervisor.pid_file import PidFile
from tests.kubraft.cli.real_api import RealApi

pytestmark = pytest.mark.e2e

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: kubraft/web:v1
        ports: [{containerPort: 8080}]
        env: [{name: GREETING, value: hello}]
"""


def config_map(name: str, **data: str) -> str:
    fields = "".join(f'  {key}: "{value}"\n' for key, value in data.items())
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata:\n{fields}"


@pytest.fixture
def namespace(api: RealApi, request: pytest.FixtureRequest) -> str:
    name = str(request.node.name).removeprefix("test_").replace("_", "-")[:60].rstrip("-")
    manifest = f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}"
    api.kubraft("apply", "-f", "-", stdin=manifest)
    return name


def test_apply_creates_then_configures_then_leaves_alone(api: RealApi, namespace: str) -> None:
    def apply(text: str) -> str:
        return api.kubraft("apply", "-n", namespace, "-f", "-", stdin=text).stdout

    assert apply(DEPLOYMENT) == "deployment.apps/web created\n"
    assert apply(DEPLOYMENT) == "deployment.apps/web unchanged\n"
    changed = DEPLOYMENT.replace("web:v1", "web:v2").replace(
        "        env: [{name: GREETING, value: hello}]\n", ""
    )
    assert apply(changed) == "deployment.apps/web configured\n"
    shown = api.kubraft("get", "deploy", "web", "-n", namespace, "-o", "json")
    container = json.loads(shown.stdout)["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "kubraft/web:v2"
    assert "env" not in container
    assert container["terminationMessagePath"] == "/dev/termination-log"
    assert apply(changed) == "deployment.apps/web unchanged\n"


def test_scale_is_kept_until_the_manifest_speaks(api: RealApi, namespace: str) -> None:
    on = ("-n", namespace)
    api.kubraft("apply", *on, "-f", "-", stdin=DEPLOYMENT.replace("  replicas: 3\n", ""))
    assert api.kubraft("scale", "deploy/web", "--replicas", "5", *on).stdout == (
        "deployment.apps/web scaled\n"
    )
    api.kubraft("apply", *on, "-f", "-", stdin=DEPLOYMENT.replace("  replicas: 3\n", ""))
    assert " 0/5 " in api.kubraft("get", "deploy", *on).stdout
    failed = api.kubraft(
        "scale", "deploy", "web", "--replicas=1", "--current-replicas=2", *on, fails=True
    )
    assert failed.stderr == "error: Expected replicas to be 2, was 5\n"


def test_folders_many_documents_and_partial_failures(
    api: RealApi, namespace: str, tmp_path: Path
) -> None:
    (tmp_path / "1.yaml").write_text(f"{config_map('a', x='1')}---\n{config_map('b', x='1')}")
    (tmp_path / "2.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Bad_Name}\n---\n"
        "apiVersion: v9\nkind: Nothing\nmetadata: {name: x}\n"
    )
    (tmp_path / "3.yaml").write_text(config_map("c", x="1"))
    done = api.kubraft("apply", "-n", namespace, "-f", str(tmp_path), fails=True)
    assert done.stdout == "configmap/a created\nconfigmap/b created\nconfigmap/c created\n"
    first, second = done.stderr.splitlines()
    assert first.startswith(
        f'Error from server (Invalid): error when applying "{tmp_path}/2.yaml": '
        'ConfigMap "Bad_Name" is invalid: metadata.name: Invalid value: "Bad_Name"'
    )
    assert second.endswith('no matches for kind "Nothing" in version "v9"')
    assert api.kubraft("get", "cm", "-n", namespace, "-o", "name").stdout.split() == [
        "configmap/a",
        "configmap/b",
        "configmap/c",
    ]


def test_get_shows_tables_and_formats(api: RealApi, namespace: str) -> None:
    on = ("-n", namespace)
    api.kubraft("apply", *on, "-f", "-", stdin=f"{config_map('a', x='1')}---\n{DEPLOYMENT}")
    lines = api.kubraft("get", "cm,deploy", *on).stdout.splitlines()
    assert lines[0].split() == ["NAME", "DATA", "AGE"]
    assert lines[1].startswith("configmap/a ")
    assert lines[2] == ""
    assert lines[4].startswith("deployment.apps/web ")
    assert "IMAGES" in api.kubraft("get", "deploy", *on, "-o", "wide").stdout
    everywhere = api.kubraft("get", "deploy", "-A", "-l", "app=web").stdout
    assert everywhere.splitlines()[0].startswith("NAMESPACE ")
    assert f"\n{namespace} " in everywhere
    assert api.kubraft("get", "cm", *on, "-l", "app=none").stdout == ""
    assert api.kubraft("get", "cm", *on, "--no-headers").stdout.split()[0] == "a"
    both = api.kubraft("get", "cm/a", "deploy/web", *on, "-o", "yaml").stdout
    assert "kind: List" in both
    assert "\x1b[" not in both
    found = api.kubraft("get", "cm", "a", "b", *on, fails=True)
    assert "a " in found.stdout
    assert found.stderr == 'Error from server (NotFound): configmaps "b" not found\n'
    assert api.kubraft("get", "cm", "b", *on, "--ignore-not-found").stdout == ""
    assert api.kubraft("get", "cm", "-n", "nowhere").stderr == (
        "No resources found in nowhere namespace.\n"
    )


def test_get_follows_changes(api: RealApi, namespace: str) -> None:
    on = ("-n", namespace)
    api.kubraft("apply", *on, "-f", "-", stdin=config_map("a", x="1"))
    watching = api.popen("get", "cm", "-w", *on)
    try:
        assert watching.stdout is not None
        assert watching.stdout.readline().split() == ["NAME", "DATA", "AGE"]
        assert watching.stdout.readline().split()[:2] == ["a", "1"]
        api.kubraft("apply", *on, "-f", "-", stdin=config_map("a", x="1", y="2"))
        assert watching.stdout.readline().split()[:2] == ["a", "2"]
        api.kubraft("delete", "cm", "a", *on)
        assert watching.stdout.readline().split()[:2] == ["a", "2"]
    finally:
        watching.kill()
        watching.wait()
        if watching.stdout:
            watching.stdout.close()


def test_delete_by_name_selector_file_and_all(api: RealApi, namespace: str) -> None:
    on = ("-n", namespace)
    text = "---\n".join(config_map(name, x="1") for name in "abcde")
    labelled = config_map("f", x="1").replace("{name: f}", "{name: f, labels: {l: m}}")
    api.kubraft("apply", *on, "-f", "-", stdin=f"{text}---\n{labelled}")
    where = f"deleted from {namespace} namespace\n"
    assert api.kubraft("delete", "cm", "a", *on).stdout == f'configmap "a" {where}'
    assert api.kubraft("delete", "cm", "-l", "l=m", *on).stdout == f'configmap "f" {where}'
    from_file = api.kubraft("delete", "-f", "-", *on, stdin=config_map("b", x="1"))
    assert from_file.stdout == f'configmap "b" {where}'
    dry = api.kubraft("delete", "cm", "c", *on, "--dry-run", "server")
    assert dry.stdout.endswith("(server dry run)\n")
    assert len(api.kubraft("delete", "cm", "--all", *on).stdout.splitlines()) == 3
    gone = api.kubraft("delete", "cm", "a", *on, fails=True)
    assert gone.stderr == 'Error from server (NotFound): configmaps "a" not found\n'
    nothing = api.kubraft("delete", "cm", *on, fails=True)
    assert "no name was specified" in nothing.stderr


def test_describe_and_rollouts_without_agents(api: RealApi, namespace: str) -> None:
    on = ("-n", namespace)
    api.kubraft("apply", *on, "-f", "-", stdin=DEPLOYMENT)
    page = api.kubraft("describe", "deploy", "web", *on).stdout
    assert "Replicas:               3 desired | 0 updated" in page
    assert "GREETING: hello" in page
    assert page.rstrip().endswith("Events:          <none>")
    late = api.kubraft("rollout", "status", "deploy/web", *on, "--timeout", "300ms", fails=True)
    assert late.stdout == "Waiting for deployment spec update to be observed...\n"
    assert late.stderr == "error: timed out waiting for the condition\n"
    assert "REVISION" in api.kubraft("rollout", "history", "deploy", "web", *on).stdout
    none = api.kubraft("rollout", "undo", "deploy/web", *on, fails=True)
    assert none.stderr == 'error: no rollout history found for deployment "web"\n'
    assert api.kubraft("rollout", "pause", "deploy/web", *on).stdout.endswith("paused\n")
    paused = api.kubraft("rollout", "undo", "deploy/web", *on, fails=True)
    assert "cannot rollback a paused deployment" in paused.stderr
    assert "no rollouts are supported" in api.kubraft(
        "rollout", "status", "ns/default", fails=True
    ).stderr  # fmt: skip
    role = api.kubraft("describe", "clusterrole", "cluster-admin").stdout
    assert "*.*" in role


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        pytest.param(
            ["get", "nothing"], 'error: the server doesn\'t have a resource type "nothing"',
            id="an unknown kind",
        ),
        pytest.param(
            ["get", "ns", "-o", "xml"],
            'error: unable to match a printer suitable for the output format "xml", allowed '
            "formats are: json,name,wide,yaml",
            id="an unknown format",
        ),
        pytest.param(
            ["get", "ns", "--token", "wrong"],
            "error: You must be logged in to the server (Unauthorized)", id="a wrong token",
        ),
        pytest.param(
            ["get", "ns", "-l", "a=(b"], "Error from server (BadRequest): unable to parse "
            "label selector: unable to parse requirement: found '(', expected: identifier",
            id="a malformed selector",
        ),
        pytest.param(
            ["apply", "-f", "/none.yaml"], 'error: the path "/none.yaml" does not exist',
            id="no such file",
        ),
        pytest.param(
            ["delete", "ns", "default"],
            'Error from server (Forbidden): namespaces "default" is forbidden: this namespace may '
            "not be deleted",
            id="what stays",
        ),
        pytest.param(
            ["logs", "none"], 'Error from server (NotFound): pods "none" not found', id="no Pod"
        ),
    ],
)  # fmt: skip
def test_a_failure_is_one_line(api: RealApi, arguments: list[str], line: str) -> None:
    assert api.kubraft(*arguments, fails=True).stderr == f"{line}\n"


def test_without_a_cluster_one_line_says_what_to_do(api: RealApi, tmp_path: Path) -> None:
    none = {"KUBRAFT_HOME": str(tmp_path / "none")}
    assert api.command("get", "pods", fails=True, env=none).stderr == (
        f"kubraft: no cluster is running here (there is no {tmp_path}/none/cluster.json); "
        "start one with 'make up', or name one with --server\n"
    )
    away = api.command("get", "pods", "--server", "127.0.0.1:1", fails=True).stderr
    assert away.startswith("kubraft: no cluster is running here (nothing answers at 127.0.0.1:1")


def test_a_cluster_whose_api_server_is_down_is_no_absent_cluster(api: RealApi) -> None:
    supervisor = PidFile(api.home.pid_file)
    assert supervisor.acquire()
    try:
        down = api.kubraft("--server", "127.0.0.1:1", "get", "pods", fails=True).stderr
    finally:
        supervisor.release()
    assert down == (
        "kubraft: no API server answers at 127.0.0.1:1; see 'kubraft status' "
        "and start one with 'kubraft start apiserver-0'\n"
    )


def test_completion_offers_kinds_and_names(api: RealApi, namespace: str) -> None:
    api.kubraft("apply", "-n", namespace, "-f", "-", stdin=config_map("settings", x="1"))

    def offered(words: str) -> list[str]:
        env = {
            "_KUBRAFT_COMPLETE": "complete_zsh",
            "_TYPER_COMPLETE_ARGS": words,
        }
        return [w for w in ("configmaps", "settings") if w in api.command(env=env).stdout]

    assert offered("kubraft get config") == ["configmaps"]
    assert offered(f"kubraft get -n {namespace} cm set") == ["settings"]
