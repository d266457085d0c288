"""A policy in Python: one role uses one key through one service."""

from typing import List

from wit_world import exports
from wit_world.imports.types import (
    Decision,
    Description,
    Effect,
    Facts,
    Identity_Arn,
    Operation,
    Query,
    Source,
)

LOOK = "look-at-keys"
VOLUMES = "volumes"
NO_ROOT = "no-root-users"


class Policy(exports.Policy):
    def configure(self, document: List[Source]) -> None:
        """The rules are this code; there is no document to read."""

    def describe(self) -> Description:
        """Only facts that are named here are filled in, and decisions are cached by their values."""
        return Description(
            engine="small (Python)",
            reads=Facts.OPERATION | Facts.KEY_ID | Facts.PRINCIPAL | Facts.VIA_SERVICE,
            rules=[LOOK, VOLUMES, NO_ROOT],
            messages=[(NO_ROOT, "Root users don't work with data here. Use a role.")],
        )

    def evaluate(self, query: Query) -> Decision:
        if query.operation == Operation.GET_KEY_METADATA:
            return decide(Effect.ALLOW, LOOK)
        if not isinstance(query.principal, Identity_Arn):
            return decide(Effect.DENY)
        principal = query.principal.value
        if principal.service == "iam" and principal.resource == "root":
            return decide(Effect.DENY, NO_ROOT)
        app = principal.account == "111122223333" and principal.role == "App"
        if app and query.key_id == "demo" and query.via_service == "ebs":
            return decide(Effect.ALLOW, VOLUMES)
        return decide(Effect.DENY)


def decide(effect: Effect, *rules: str) -> Decision:
    return Decision(effect=effect, rules=list(rules), errors=[])
