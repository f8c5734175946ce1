"""A client system of Countersign: its token and a deadline on every call, and another try only where that is safe."""

import os
import time

import grpc
from countersign.v1 import authorization_pb2 as api
from countersign.v1 import authorization_pb2_grpc as rpc

DEADLINE_S = 10
TRIES = 4


class NoDecision(Exception):
    """The sidecar reached no decision. Nobody is allowed anything then."""


class Sidecar:
    def __init__(self, token):
        address = os.environ.get("COUNTERSIGN_ADDR", "127.0.0.1:7443")
        self.rpc = rpc.AuthorizationServiceStub(grpc.insecure_channel(address))
        self.metadata = [("authorization", "Bearer " + token)]

    def authorize(self, request):
        # A passphrase that was sent may have been counted, whatever came of the call. Only overload charges nothing.
        again = {grpc.StatusCode.RESOURCE_EXHAUSTED}
        if request.evidence.WhichOneof("by") != "passphrase":
            again.add(grpc.StatusCode.UNAVAILABLE)
        return self.call(self.rpc.Authorize, request, again)

    def end_interaction(self, interaction_id):
        # Ending twice is the same as once.
        again = {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE}
        self.call(self.rpc.EndInteraction, api.EndInteractionRequest(interaction_id=interaction_id), again)

    def call(self, method, request, again):
        for tried in range(1, TRIES + 1):
            try:
                return method(request, metadata=self.metadata, timeout=DEADLINE_S)
            except grpc.RpcError as error:
                if error.code() not in again or tried == TRIES:
                    raise NoDecision(f"{error.code().name}: {error.details()}") from None
            time.sleep(0.1 * 2**tried)


def token_of(client):
    """The bearer token of a client system, from the environment: never from the command line, where others see it."""
    name = client.upper() + "_TOKEN"
    if name not in os.environ:
        raise SystemExit(f"{name} is not set: `set -a; . ./demo.env; set +a`, see examples/README.md")
    return os.environ[name]
