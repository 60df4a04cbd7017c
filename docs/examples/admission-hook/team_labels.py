"""Two admission hooks: a Deployment names its team, and its Pods are labelled with it."""

from apiserver.admission import AdmissionContext, AdmissionRequest, mutating, validating
from kubraft.api.gvk import NAMESPACE
from kubraft.api.object import Object, labels_of


def _deployment(request: AdmissionRequest) -> Object:
    return request.obj or {"metadata": {}}  # absent on DELETE only


@mutating(kinds=["Deployment"])
async def inherit_team(request: AdmissionRequest, context: AdmissionContext) -> None:
    """Take the team from the Namespace where the Deployment names none; copy it to the Pods."""
    deployment = _deployment(request)
    namespace = context.reader.get(NAMESPACE, "", request.namespace)
    team = labels_of(deployment).get("team") or (labels_of(namespace) if namespace else {}).get(
        "team"
    )
    if team:
        deployment["metadata"].setdefault("labels", {})["team"] = team
        pods = deployment["spec"]["template"].setdefault("metadata", {})
        pods.setdefault("labels", {})["team"] = team


@validating(name="require-team", kinds=["Deployment"], timeout_s=2)
def require_team(request: AdmissionRequest, _context: AdmissionContext) -> None:
    """Refuse what belongs to nobody."""
    if "team" not in labels_of(_deployment(request)):
        raise request.forbidden('it needs the label "team", or its namespace does')
