"""Authentication: from what a caller shows to who it is.

A request is one of three: a client certificate that the TLS layer verified, a bearer token of the
token file, or a ServiceAccount's JWT. All else is Unauthorized, and the caller is not told why:
the reason goes to the log, without the secret.
"""

from apiserver.authn.authenticator import Authenticator
from apiserver.authn.credentials import Credentials

__all__ = ["Authenticator", "Credentials"]
