"""Authorization: may this user do this? Deny is the answer wherever nothing says yes.

system:masters may do all. Nodes are held to what concerns them (node.py); everybody else, and nodes
for the rest, has what the RBAC objects grant (rbac.py).
"""

from apiserver.authz.attributes import Attributes, Decision, forbidden_error
from apiserver.authz.authorizer import Authorizer

__all__ = ["Attributes", "Authorizer", "Decision", "forbidden_error"]
