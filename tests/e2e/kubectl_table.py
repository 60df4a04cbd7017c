"""Every kubectl command that is tried, in order: its words, what it must write, how well it does.

docs/compatibility.md is made of these rows: `python -m tests.e2e.kubectl_table` writes its table.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[2] / "docs/compatibility.md"
_BETWEEN = re.compile(r"(?<=<!-- kubectl -->\n).*(?=<!-- end -->)", re.DOTALL)

WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: kubraft/web:v1
        readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}
"""
WEB_2 = WEB.replace("replicas: 1", "replicas: 2")
WRONG = "{apiVersion: v1, kind: ConfigMap, metadata: {name: wrong}, dtaa: {}}"
ENV = '{"name":"web","env":[{"name":"A","value":"1"}]}'
# Of a key that nobody has.
REQUEST = (
    "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlISU1IQUNBUUF3RGpFTU1Bb0dBMVVFQXd3"
    "RFlXNXVNRmt3RXdZSEtvWkl6ajBDQVFZSUtvWkl6ajBEQVFjRApRZ0FFMHlzS2tpam1yQzN1SEtpSVV5QmlX"
    "aDB3cFQzRlp3ZVpiT2c4eXpyT1YvRGtIVURnN09LUkgybXlRdWExCjVGK203c3RMcGJPMjlnRHlFbFA1MG50"
    "Qm9LQUFNQW9HQ0NxR1NNNDlCQU1DQTBnQU1FVUNJQS9qZGNWL3NLcW4KSXh3QnkzcFFxVk0vUEUzeWZmTGNX"
    "c3lwS3dVTCt3QzlBaUVBMzZ4c2loSjcvbWpOcm5NLzJpdGpYSHdzOUlqKwo3ekUxMzhQUnRKcGFwYlE9Ci0t"
    "LS0tRU5EIENFUlRJRklDQVRFIFJFUVVFU1QtLS0tLQo="
)
SIGNING_REQUEST = f"""\
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {{name: ann}}
spec:
  request: {REQUEST}
  signerName: kubernetes.io/kube-apiserver-client
  usages: [client auth]
"""
PATCH = f'{{"spec":{{"template":{{"spec":{{"containers":[{ENV}]}}}}}}}}'
JSON_PATCH = '[{"op":"add","path":"/metadata/labels","value":{"a":"b"}}]'
MOVED = "{apiVersion: v1, kind: ConfigMap, metadata: {name: moved}, data: {a: b, c: d}}"
MOVED_2 = "{apiVersion: v1, kind: ConfigMap, metadata: {name: moved}, data: {a: e}}"
CONFLICT = (
    r"Apply failed with 1 conflict: conflict with \"kubectl\" with subresource \"scale\" using "
    r"apps/v1: \.spec\.replicas\nPlease review the fields above"
)

READERS = """\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: of-kubectl-readers}
rules: [{apiGroups: [''], resources: [pods], verbs: [get, list]}]
"""

CRD = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, kind: CronTab, shortNames: [ct], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}
    selectableFields: [{jsonPath: .spec.image}]
    additionalPrinterColumns:
    - {name: Every, type: string, jsonPath: .spec.cronSpec}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas, priority: 1}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [cronSpec]
            properties:
              cronSpec: {type: string, description: How often it runs.}
              image: {type: string}
              replicas: {type: integer, minimum: 0, default: 1}
          status:
            type: object
            properties: {replicas: {type: integer}}
"""
CRON = """\
apiVersion: stable.example.com/v1
kind: CronTab
metadata: {name: tab}
spec: {cronSpec: "* * * * */5", image: first}
"""

# Two objects, for this namespace alone.
POLICY = """\
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: names}
spec:
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: of-kubectl}}
    resourceRules:
    - {apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}
  validations:
  - {expression: "object.metadata.name != 'denied'", message: not this name}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: names}
spec: {policyName: names, validationActions: [Deny]}
"""
HOST_POD = """\
apiVersion: v1
kind: Pod
metadata: {name: host}
spec: {hostNetwork: true, containers: [{name: a, image: "kubraft/web:v1"}]}
"""
STATEFUL_SET = (
    WEB.replace("Deployment", "StatefulSet")
    .replace("  replicas: 1", "  replicas: 2\n  serviceName: db")
    .replace("name: web}", "name: db}").replace("app: web", "app: db")
)  # fmt: skip
DAEMON_SET = (
    WEB.replace("Deployment", "DaemonSet").replace("  replicas: 1\n", "")
    .replace("name: web}", "name: agent}").replace("app: web", "app: agent")
)  # fmt: skip
ONE_JOB = """\
apiVersion: batch/v1
kind: Job
metadata: {name: done}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: busybox, command: [echo, it is done]}]
"""


class Row(NamedTuple):
    """One command. `stdin` is its input; `why` says what is missing where it must fail."""

    words: str
    writes: str
    stdin: str = ""
    why: str = ""
    # Given up after this long, for commands that do not end by themselves.
    timeout_s: int = 60
    # Asked again, until it writes that or the time is over.
    again: bool = False


ROWS = (
    Row("version", r"Server Version: v1\.37"),
    Row("cluster-info", r"control plane.* is running at"),
    Row("api-resources -o wide", r"deployments +deploy +apps/v1 +true +Deployment +create,delete"),
    Row("api-versions", r"rbac\.authorization\.k8s\.io/v1"),
    Row("explain deployment.spec.strategy", r"FIELD: strategy <DeploymentStrategy>"),
    Row("explain pods --recursive", r"terminationGracePeriodSeconds\s+<integer>"),
    Row("config view --minify", r"current-context"),
    Row("auth whoami", r"system:masters"),
    Row("auth can-i create pods", r"^yes"),
    Row("auth can-i --list", r"selfsubjectreviews"),
    Row("get nodes -o wide", r"node-0 +Ready"),
    Row("describe node node-0", r"MemoryPressure"),
    Row("create configmap settings --from-literal=a=b", r"configmap/settings created"),
    Row("get configmap settings -o yaml", r"data:\n  a: b\n"),
    Row("get configmap settings -o json", r'"a": "b"'),
    Row("get configmap settings -o jsonpath={.data.a}", r"^b$"),
    Row("get configmap settings -o custom-columns=N:.metadata.name", r"N\nsettings"),
    Row("label configmap settings tier=front", r"configmap/settings labeled"),
    Row("annotate configmap settings note=x", r"configmap/settings annotated"),
    Row("get configmaps -l tier=front -o name", r"^configmap/settings$"),
    Row("create secret generic keys --from-literal=p=q", r"secret/keys created"),
    Row("create serviceaccount robot", r"serviceaccount/robot created"),
    Row("create token robot", r"^eyJ"),
    Row("create token robot --audience=vault --duration=10m", r"^eyJ"),
    Row("auth whoami --as=ann --as-group=dev --as-uid=7", r"Groups +\[dev system:authenticated\]"),
    Row("auth reconcile -f -", r"reconciliation required create", stdin=READERS),
    Row("get flowschemas", r"global-default +global-default +9900 +ByUser"),
    Row("get prioritylevelconfigurations", r"workload-low +Limited +100"),
    Row("create role reader --verb=get,list --resource=pods", r"role\S+/reader created"),
    Row("create rolebinding readers --role=reader --user=ann", r"rolebinding\S+/readers created"),
    Row("get pods --as=ann", r"No resources found"),
    Row("get secrets --as=ann", r'User "ann" cannot list resource "secrets"', why="as it must be"),
    Row("create quota few --hard=pods=20", r"resourcequota/few created"),
    Row("get quota few -o jsonpath={.spec.hard.pods}", r"^20$"),
    Row("create service clusterip front --tcp=80:8080", r"service/front created"),
    Row("create -f - --dry-run=server -o name", r"^deployment.apps/web$", WEB),
    Row("apply -f -", r"unknown field \"dtaa\"", WRONG, why="as it must be"),
    Row("apply -f -", r"deployment.apps/web created", WEB),
    Row("apply -f -", r"deployment.apps/web unchanged", WEB),
    Row("diff -f -", r"-  replicas: 1\n\+  replicas: 2", WEB_2,
        why="1 is a difference"),
    Row("apply -f -", r"deployment.apps/web configured", WEB_2),
    Row("apply -f -", r"validatingadmissionpolicybinding\S+/names created", POLICY),
    Row("get validatingadmissionpolicies", r"names +1 +<unset>"),
    Row("get validatingadmissionpolicybindings", r"names +names +<unset>"),
    Row("create configmap denied", r"ValidatingAdmissionPolicy 'names' .* denied request: not this",
        why="as it must be"),
    Row("delete -f -", r"validatingadmissionpolicybinding\S+ \"names\" deleted", POLICY),
    Row("label namespace of-kubectl pod-security.kubernetes.io/warn=baseline", r"labeled"),
    Row("get namespace of-kubectl -o name", r"of-kubectl"),
    Row("create -f - --dry-run=server -o name",
        r'Warning: would violate PodSecurity "baseline:latest": host namespaces', HOST_POD),
    Row("label namespace of-kubectl pod-security.kubernetes.io/warn-", r"unlabeled"),
    Row("rollout status deployment/web --timeout=60s", r"successfully rolled out"),
    Row("wait --for=condition=Available deployment/web --timeout=60s", r"condition met"),
    Row("describe quota few", r"pods +\d+ +20"),
    Row("get all", r"deployment.apps/web +2/2"),
    Row("describe deployment web", r"ScalingReplicaSet"),
    Row("describe pod -l app=web", r"Container ID"),
    Row("logs deployment/web", r"listening on"),
    Row("logs -l app=web --prefix --tail=1", r"\[pod/web-"),
    Row("events --for deployment/web", r"ScalingReplicaSet"),
    Row("get events", r"Scheduled"),
    Row("scale deployment web --replicas=1", r"deployment.apps/web scaled"),
    Row(f"patch deployment web -p {PATCH}", r"deployment.apps/web patched"),
    Row(f"patch deployment web --type=json -p {JSON_PATCH}", r"deployment.apps/web patched"),
    Row('patch deployment web --type=merge -p {"spec":{"minReadySeconds":0}}', r"web patched"),
    Row("set image deployment/web web=kubraft/web:v2", r"deployment.apps/web image updated"),
    Row("rollout status deployment/web --timeout=60s", r"successfully rolled out"),
    Row("rollout history deployment/web", r"REVISION  CHANGE-CAUSE"),
    Row("rollout undo deployment/web", r"deployment.apps/web rolled back"),
    Row("rollout restart deployment/web", r"deployment.apps/web restarted"),
    Row("rollout pause deployment/web", r"deployment.apps/web paused"),
    Row("rollout resume deployment/web", r"deployment.apps/web resumed"),
    Row("rollout status deployment/web --timeout=60s", r"successfully rolled out"),
    Row("get apiservices", r"v1\.apps +Local +True"),
    Row("wait --for=condition=Available apiservice/v1beta1.metrics.k8s.io --timeout=60s",
        r"condition met"),
    Row("describe apiservice v1beta1.metrics.k8s.io", r"all checks passed"),
    Row("top nodes", r"node-0 +\d+m +\d+% +\d+Mi +\d+%", again=True),
    Row("top nodes --sort-by=memory", r"node-1 +\d+m"),
    Row("explain podmetrics.containers.usage", r"memory working set"),
    Row("autoscale deployment web --min=1 --max=3 --cpu=50%", r"web autoscaled"),
    Row("get hpa", r"web +Deployment/web +cpu: <unknown>/50% +1 +3"),
    Row("get --raw /apis/autoscaling/v1/namespaces/of-kubectl/horizontalpodautoscalers/web",
        r'"targetCPUUtilizationPercentage":50'),
    Row("describe hpa web", r"resource cpu on pods"),
    Row('patch hpa web -p {"spec":{"minReplicas":2}}', r"web patched"),
    Row("wait --for=jsonpath={.spec.replicas}=2 deployment/web --timeout=60s", r"condition met"),
    Row("events --for hpa/web", r"New size: 2; reason: Current number of replicas below",
        again=True),
    Row("delete hpa web", r'"web" deleted'),
    Row("get events.events.k8s.io", r"Scheduled"),
    Row("edit deployment web", r"deployment.apps/web edited"),
    Row("expose deployment web --port=80 --target-port=8080", r"service/web exposed"),
    Row("get endpointslices -l kubernetes.io/service-name=web", r"web-\S+ +IPv4 +8080 +127\."),
    Row("describe service web", r"Endpoints: +127\.[0-9.]+:8080"),
    Row("get endpoints web", r"web +127\.[0-9.]+:8080"),
    Row("replace -f -", r"configmap/settings replaced",
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {a: c}}"),
    Row("run once --image=kubraft/web:v1 --restart=Never", r"pod/once created"),
    Row("get pods -w --request-timeout=8s", r"web-"),
    Row("delete pod once --now", r'pod "once" deleted'),
    Row("create pdb some --selector=app=web --max-unavailable=1", r"budget.policy/some created"),
    Row("wait --for=jsonpath={.status.disruptionsAllowed}=1 pdb/some --timeout=60s", r"met"),
    Row("get pdb some", r"some +N/A +1 +1 "),
    Row("taint nodes node-1 a=b:PreferNoSchedule", r"node/node-1 tainted"),
    Row("taint nodes node-1 a-", r"node/node-1 untainted"),
    Row("cordon node-1", r"node/node-1 cordoned"),
    Row("drain node-1 --force --ignore-daemonsets --timeout=60s", r"node/node-1 drained"),
    Row("uncordon node-1", r"node/node-1 uncordoned"),
    Row("kustomize --help", r"kustomization"),
    Row("completion bash", r"kubectl"),
    Row("get --raw /readyz?verbose", r"readyz check passed"),
    Row("apply -f -", r"crontabs.stable.example.com created", CRD),
    Row("wait --for=condition=Established crd/crontabs.stable.example.com", r"condition met"),
    Row("explain crontab.spec.cronSpec", r"How often it runs"),
    Row("apply -f -", r"unknown field .*imaje", CRON.replace("image", "imaje"),
        why="as it must be"),
    Row("apply -f -", r"crontab.stable.example.com/tab created", CRON),
    Row("apply -f -", r"crontab.stable.example.com/tab unchanged", CRON),
    Row("apply -f -", r"crontab.stable.example.com/tab configured", CRON.replace("first", "next")),
    Row("get ct", r"NAME +EVERY\ntab +\* \* \* \* \*/5"),
    Row("get crontabs.v1.stable.example.com -o wide", r"EVERY +REPLICAS\ntab +\S.* 1"),
    Row("get ct --field-selector spec.image=next -o name", r"crontab.stable.example.com/tab"),
    Row("get all", r"crontab.stable.example.com/tab"),
    Row("describe ct tab", r"Cron Spec: +\* \* \* \* \*/5"),
    Row("scale ct tab --replicas=3", r"crontab.stable.example.com/tab scaled"),
    Row('patch ct tab --type=merge -p {"spec":{"replicas":-1}}', r"greater than or equal to 0",
        why="as it must be"),
    Row('patch ct tab --type=merge -p {"spec":{"image":"a"}}', r"stable.example.com/tab patched"),
    Row('patch ct tab --subresource=status --type=merge -p {"status":{"replicas":2}}', r"patched"),
    Row("create quota tabs --hard=count/crontabs.stable.example.com=1", r"tabs created"),
    Row("wait --for=jsonpath={.status.used.count/crontabs\\.stable\\.example\\.com}=1 quota/tabs",
        r"condition met"),
    Row("create -f -", r"exceeded quota: tabs", CRON.replace("tab}", "more}"), why="as it must be"),
    Row("delete crd crontabs.stable.example.com", r'"crontabs.stable.example.com" deleted'),
    Row("get ct", r"could not find|doesn't have a resource type", why="as it must be"),
    Row("delete configmaps --all", r'configmap "settings" deleted'),
    # Two rounds of the metrics server after the last Pod began.
    Row("top pods", r"web-\S+ +\d+m +\d+Mi", timeout_s=120, again=True),
    Row("top pods -l app=web --containers", r"web-\S+ +web +\d+m +\d+Mi", timeout_s=120,
        again=True),
    Row("top pods --sort-by=cpu -A", r"of-kubectl +web-\S+ +\d+m", timeout_s=120, again=True),
    Row("get pods.metrics.k8s.io", r"NAME +CPU +MEMORY +WINDOW", timeout_s=120, again=True),
    Row("delete deployment web", r'deployment.apps "web" deleted'),
    Row("apply --server-side -f -", r"web serverside-applied", WEB),
    Row("apply --server-side -f -", r"web serverside-applied", WEB),
    Row("get deployment web --show-managed-fields -o yaml", r"kubectl\n    operation: Apply"),
    Row("diff --server-side -f -", r"-  replicas: 1\n\+  replicas: 2", WEB_2,
        why="1 is a difference"),
    Row("scale deployment web --replicas=3", r"deployment.apps/web scaled"),
    Row("apply --server-side -f -", CONFLICT, WEB_2, why="as it must be"),
    Row("apply --server-side --force-conflicts -f -", r"web serverside-applied", WEB_2),
    Row("annotate deployment web note=x --field-manager=notes", r"deployment.apps/web annotated"),
    Row("apply -f -", r"configmap/moved created", MOVED),
    Row("apply --server-side -f -", r"configmap/moved serverside-applied", MOVED_2),
    Row("get configmap moved -o jsonpath={.data}", r'^{"a":"e"}$'),
    Row("apply --server-side -f -", r"\.dtaa: field not declared in schema", WRONG,
        why="as it must be"),
    Row("delete deployment web", r'deployment.apps "web" deleted'),
    Row("create job once --image=kubraft/web:v1", r"job.batch/once created"),
    Row("get job once", r"once +(Running|Complete) +./1"),
    Row("apply -f -", r"job.batch/done created", ONE_JOB),
    Row("wait --for=condition=Complete job/done --timeout=60s", r"condition met"),
    Row("logs job/done", r"it is done"),
    Row("describe job done", r"Completed +\S+ +job-controller +Job completed"),
    Row("create cronjob nightly --image=kubraft/web:v1 --schedule=@daily", r"nightly created"),
    Row("create job --from=cronjob/nightly now", r"job.batch/now created"),
    Row("describe cronjob nightly", r"Schedule: +@daily"),
    Row("describe pdb some", r"Max unavailable: +1"),
    Row("apply -f -", r"statefulset.apps/db created", STATEFUL_SET),
    Row("apply -f -", r"daemonset.apps/agent created", DAEMON_SET),
    Row("rollout status sts/db --timeout=60s", r"partitioned roll out|rolling update complete"),
    Row("rollout status ds/agent --timeout=60s", r"successfully rolled out"),
    Row("get pods -l app=db", r"db-0 +1/1 +Running[^$]+db-1 +1/1 +Running"),
    Row("set image sts/db web=kubraft/web:v2", r"statefulset.apps/db image updated"),
    Row("rollout status sts/db --timeout=60s", r"roll out complete|rolling update complete"),
    Row("rollout history sts/db", r"1 +<none>\n2 +<none>"),
    Row("rollout undo sts/db", r"statefulset.apps/db rolled back"),
    Row("delete sts,ds --all", r'"agent" deleted'),
    Row("create priorityclass urgent --value=1000", r"priorityclass\S+/urgent created"),
    Row("get pc urgent", r"urgent +1000 +false"),
    Row("create ingress front --class=nginx --rule=a.example.com/*=web:80", r"front created"),
    Row("describe ingress front", r"a\.example\.com"),
    Row("get ingress,netpol,pvc,sts,ds", r"front +nginx +a\.example\.com +80"),
    Row("create -f -", r"certificatesigningrequest\S+/ann created", SIGNING_REQUEST),
    Row("certificate approve ann", r"certificatesigningrequest\S+/ann approved"),
    Row("get csr ann", r"ann +\d+s +kubernetes\.io/kube-apiserver-client .*Approved"),
    Row("wait --for=jsonpath={.status.certificate} csr/ann --timeout=60s", r"condition met"),
    Row("certificate deny ann", r"already Approved", why="as it must be"),
    Row("delete csr ann", r'"ann" deleted'),
    Row("delete jobs,cronjobs,pdb,ingress --all", r'"nightly" deleted'),
    Row("create namespace scratch-kubectl", r"namespace/scratch-kubectl created"),
    Row("delete namespace scratch-kubectl", r'namespace "scratch-kubectl" deleted'),
)  # fmt: skip

# What holds a connection; test_kubectl_streams tries it, over WebSocket and SPDY where both can be.
STREAMS: tuple[str, ...] = (
    "exec streams -- sh -c 'echo out; echo err >&2; exit 3'",
    "exec -i streams -- cat",
    "exec -it streams -- sh",
    "cp sent streams:/tmp/there",
    "cp streams:/tmp/there back",
    "port-forward pod/streams :8080",
    "port-forward service/streams :80",
    "attach -i echo",
    "run -it once --rm --image=busybox --restart=Never -- sh",
    "debug -it streams --image=busybox -c dbg -- sh",
    "debug -it streams --copy-to=copied --image=busybox -c dbg -- sh",
    "proxy --port=0",
)


def render() -> str:
    """The table of the page."""
    lines = ["| command | |\n", "| --- | --- |\n"]
    for words in dict.fromkeys(row.words for row in ROWS):
        rows = [row for row in ROWS if row.words == words]
        notes = "; ".join(row.why for row in rows if row.why and " " in row.why)
        bad = all(row.why for row in rows) and "as it must" not in notes and "differ" not in notes
        shown = words.replace("|", "\\|")
        lines.append(f"| `{shown}` | {'no: ' + notes if bad else 'works'} |\n")
    lines += [f"| `{words}` | works |\n" for words in STREAMS]
    return "".join(lines)


def page(text: str) -> str:
    """The page with its table made anew."""
    return _BETWEEN.sub(lambda _: render(), text)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
