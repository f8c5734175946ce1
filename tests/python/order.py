"""A portal, an IVR, an agent's desktop and an order backend, as a customer would write them.

Exits 0 only if every answer is as it should be.
"""

import os
import time

import grpc
from countersign.v1 import authorization_pb2 as api
from countersign.v1 import authorization_pb2_grpc as rpc

CASE = api.Interaction(channel=api.CHANNEL_PORTAL, id="case-python-1")
CALL = api.Interaction(channel=api.CHANNEL_PHONE, id="call-python-1")


def main():
    with grpc.insecure_channel(os.environ["SIDECAR"]) as channel:
        sidecar = rpc.AuthorizationServiceStub(channel)
        play_a_case(sidecar)
        play_a_call(sidecar)
        stranger = Client(sidecar, CASE, "cst_nobody")
        expect(stranger.refused(action="general.ask"), grpc.StatusCode.UNAUTHENTICATED)
    print("as it should be")


def play_a_case(sidecar):
    portal = Client(sidecar, CASE, os.environ["PORTAL_TOKEN"])
    orders = Client(sidecar, CASE, os.environ["ORDERS_TOKEN"])

    general = portal.authorize(action="general.ask")
    expect(general.decision, api.DECISION_ALLOW)

    # The billing administrator has logged in: the portal may offer him the order form.
    elena = dict(subject=contact("con-1005"), evidence=login())
    form = portal.authorize(action="order.place", resource=order(), **elena)
    expect(form.decision, api.DECISION_ALLOW)
    expect(form.verified.display_name, "Elena Petrova")
    expect(form.HasField("act_before"), True)

    # The order backend decides again. What the portal said in passing proves nothing to it.
    unproved = orders.authorize(action="order.place", resource=order(), subject=contact("con-1005"))
    expect(unproved.decision, api.DECISION_CHALLENGE)
    expect(orders.refused(action="order.place", resource=order(), **elena), grpc.StatusCode.PERMISSION_DENIED)

    # A basic user asks for the same: the administrator is asked, once.
    grace = dict(subject=contact("con-1007"), evidence=login())
    first = portal.authorize(action="order.place", resource=order(), **grace)
    second = portal.authorize(action="order.place", resource=order(), **grace)
    expect(first.decision, api.DECISION_ESCALATE)
    expect(first.escalation.id, second.escalation.id)

    portal.end()
    ended = portal.authorize(action="order.place", resource=order(), **elena)
    expect(ended.decision, api.DECISION_DENY)


def play_a_call(sidecar):
    """One telephone call: the IVR proves the caller once, and its token serves all three clients."""
    ivr = Client(sidecar, CALL, os.environ["IVR_TOKEN"])
    desktop = Client(sidecar, CALL, os.environ["DESKTOP_TOKEN"])
    orders = Client(sidecar, CALL, os.environ["ORDERS_TOKEN"])

    # At the front door: a slip, then the passphrase.
    elena = contact("con-1005")
    slip = ivr.authorize(action="identity.verify", subject=elena, evidence=spoken("not what was agreed upon"))
    expect((slip.decision, slip.reason), (api.DECISION_CHALLENGE, api.REASON_EVIDENCE_NOT_ACCEPTED))
    expect(slip.challenge.attempts_left, 2)
    door = ivr.authorize(action="identity.verify", subject=elena, evidence=spoken(os.environ["PASSPHRASE"]))
    expect(door.decision, api.DECISION_ALLOW)
    expect(door.verified.display_name, "Elena Petrova")
    token = api.Evidence(verification_token=door.verification.token)

    # The agent's desktop asks what this caller may do, without asking the caller anything.
    items = [
        api.BatchItem(action="general.ask"),
        api.BatchItem(action="order.place", resource=order()),
        api.BatchItem(action="user.change", resource=api.Resource(type="user")),
    ]
    menu = desktop.authorize_batch(items=items, evidence=token)
    decisions = [answer.decision for answer in menu.results]
    expect(decisions, [api.DECISION_ALLOW, api.DECISION_ALLOW, api.DECISION_DENY])

    # The order backend decides again: by the token, and by nothing less.
    placed = orders.authorize(action="order.place", resource=order(), evidence=token)
    expect(placed.decision, api.DECISION_ALLOW)
    expect(placed.verified.time, door.verified.time)
    expect(placed.HasField("verification"), False)
    for nothing in [None, api.Evidence(verification_token="v4.local.made-up")]:
        unproved = orders.authorize(action="order.place", resource=order(), subject=elena, evidence=nothing)
        expect((unproved.decision, unproved.reason), (api.DECISION_CHALLENGE, api.REASON_EVIDENCE_REQUIRED))

    # The desktop hangs up, which only a bearer may: the token is worth nothing any more.
    desktop.end(token=door.verification.token)
    late = orders.authorize(action="order.place", resource=order(), evidence=token)
    expect((late.decision, late.reason), (api.DECISION_CHALLENGE, api.REASON_EVIDENCE_REQUIRED))



class Client:
    """A client system in one call or chat: one token on every request."""

    def __init__(self, sidecar, interaction, token):
        self.sidecar = sidecar
        self.interaction = interaction
        self.metadata = [("authorization", "Bearer " + token)]

    def authorize(self, **fields):
        request = api.AuthorizeRequest(interaction=self.interaction, **fields)
        return self.sidecar.Authorize(request, metadata=self.metadata, timeout=10)

    def authorize_batch(self, **fields):
        request = api.BatchAuthorizeRequest(interaction=self.interaction, **fields)
        return self.sidecar.BatchAuthorize(request, metadata=self.metadata, timeout=10)

    def refused(self, **fields):
        try:
            answer = self.authorize(**fields)
        except grpc.RpcError as error:
            return error.code()
        raise SystemExit(f"answered: {answer}")

    def end(self, token=""):
        request = api.EndInteractionRequest(interaction_id=self.interaction.id, verification_token=token)
        self.sidecar.EndInteraction(request, metadata=self.metadata, timeout=10)


def contact(contact_id):
    return api.Subject(account=api.AccountSelector(id="acc-1001"), contact=api.ContactSelector(id=contact_id))


def login():
    evidence = api.Evidence()
    evidence.portal_login.login_time.FromSeconds(int(time.time()) - 5)
    return evidence


def spoken(transcript):
    passphrase = api.Passphrase(transcripts=[transcript], entry=api.PASSPHRASE_ENTRY_SPOKEN)
    return api.Evidence(passphrase=passphrase)


def order():
    resource = api.Resource(type="order", id="o-python-1")
    resource.attributes["amount_minor"].number = 12900
    resource.attributes["currency"].text = "USD"
    return resource


def expect(got, wanted):
    if got != wanted:
        raise SystemExit(f"expected {wanted!r}, got {got!r}")


main()
