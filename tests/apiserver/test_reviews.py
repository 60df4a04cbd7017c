"""SubjectAccessReviews of all forms, asked of a whole server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.apiserver.in_process import Served, serving

GROUP = "/apis/authorization.k8s.io/v1"
RBAC = "/apis/rbac.authorization.k8s.io/v1"


async def prepare(served: Served) -> None:
    reads = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}
    path = f"{RBAC}/namespaces/default"
    await served.create(f"{path}/roles", {"metadata": {"name": "reader"}, "rules": [reads]})
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "team"}
    bound = {"metadata": {"name": "readers"}, "roleRef": ref, "subjects": [subject]}
    await served.create(f"{path}/rolebindings", bound)


async def ask(served: Served, plural: str, spec: Any, namespace: str = "", **how: Any) -> Any:
    path = f"{GROUP}/namespaces/{namespace}/{plural}" if namespace else f"{GROUP}/{plural}"
    answer = await served.ask("POST", path, {"spec": spec}, **how)
    return answer.json()["status"] if answer.status == 201 else answer.json()


async def test_access_reviews_of_all_forms(tmp_path: Path, pki: Path) -> None:
    async with serving(tmp_path, pki) as served:
        await prepare(served)
        pods = {"verb": "list", "resource": "pods", "namespace": "default"}
        binding = 'RBAC: allowed by RoleBinding "readers/default" of Role "reader" to Group "team"'
        allowed = {"allowed": True, "reason": binding}
        for plural, spec, how in (
            ("selfsubjectaccessreviews", {"resourceAttributes": pods}, {"token": "bob-token"}),
            ("subjectaccessreviews", {"resourceAttributes": pods, "groups": ["team"]}, {}),
            (
                "subjectaccessreviews",
                {"resourceAttributes": pods, "user": "x", "groups": ["team"]},
                {},
            ),
        ):
            assert await ask(served, plural, spec, **how) == allowed, plural
        local = {"resourceAttributes": pods, "groups": ["team"]}
        assert await ask(served, "localsubjectaccessreviews", local, "default") == allowed
        elsewhere = await ask(served, "localsubjectaccessreviews", local, "kube-system")
        assert elsewhere["code"] == 400
        other = {"resourceAttributes": {**pods, "verb": "delete"}, "groups": ["team"]}
        assert await ask(served, "subjectaccessreviews", other) == {"allowed": False}
        url = {"nonResourceAttributes": {"verb": "get", "path": "/version"}, "user": "x",
               "groups": ["system:authenticated"]}  # fmt: skip
        assert (await ask(served, "subjectaccessreviews", url))["allowed"] is True
        forbidden = await ask(served, "subjectaccessreviews", other, token="bob-token")
        assert forbidden["code"] == 403
        for wrong in ({}, {"user": "x"}, {"resourceAttributes": pods},
                      {**url, "resourceAttributes": pods}):  # fmt: skip
            assert (await ask(served, "subjectaccessreviews", wrong))["code"] == 422, wrong


async def test_a_node_may_list_what_it_selects_as_its_own(tmp_path: Path, pki: Path) -> None:
    async with serving(tmp_path, pki) as served:
        node = {"user": "system:node:n", "groups": ["system:nodes", "system:authenticated"]}
        pods = {"verb": "list", "resource": "pods"}

        async def may(**selector: Any) -> Any:
            attributes = {**pods, **selector}
            spec = {"resourceAttributes": attributes, **node}
            return await ask(served, "subjectaccessreviews", spec)

        own = {"key": "spec.nodeName", "operator": "In", "values": ["n"]}
        assert (await may(fieldSelector={"requirements": [own]}))["allowed"] is True
        assert (await may(fieldSelector={"rawSelector": "spec.nodeName=n"}))["allowed"] is True
        assert (await may(fieldSelector={"rawSelector": "spec.nodeName=m"}))["allowed"] is False
        either = {**own, "values": ["n", "m"]}
        assert (await may(fieldSelector={"requirements": [either]}))["allowed"] is False
        assert (await may())["allowed"] is False
        both = {"rawSelector": "a=b", "requirements": [own]}
        assert "may not specified at the same time" in (await may(fieldSelector=both))["message"]
        assert "requirements or rawSelector" in (await may(labelSelector={}))["message"]


async def test_rules_of_oneself(tmp_path: Path, pki: Path) -> None:
    async with serving(tmp_path, pki) as served:
        await prepare(served)
        spec = {"namespace": "default"}
        found = await ask(served, "selfsubjectrulesreviews", spec, token="bob-token")
        pods = [rule for rule in found["resourceRules"] if rule["resources"] == ["pods"]]
        assert pods == [{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}]
        assert found["incomplete"] is False
        assert (await ask(served, "selfsubjectrulesreviews", {}, token="bob-token"))["code"] == 400
