"""An order backend that lets Countersign decide again, whatever the agent or the IVR believes.

It takes an order and what travelled with the call, and places the order only on ALLOW, in time, and if it understands
every obligation. Exit codes are those of `countersign ask`: 0 placed, 10 CHALLENGE, 11 ESCALATE, 12 DENY, 1 no decision.
"""

import argparse
import json
import sys
import time

from countersign.v1 import authorization_pb2 as api
from sidecar import NoDecision, Sidecar, token_of

# What an ALLOW may oblige this backend to do. It knows no obligation yet, so that it acts on no ALLOW that has one.
KNOWN_OBLIGATIONS = set()


def main():
    options = arguments()
    with open(options.attached) as file:
        attached = json.load(file)
    try:
        answer = Sidecar(token_of("orders")).authorize(question(options, attached))
    except NoDecision as error:
        print(f"not placed: no decision was reached: {error}")
        return 1
    return act(answer, options)


def question(options, attached):
    """The token alone says who it is. A name that somebody typed would add nothing."""
    order = api.Resource(type="order", id=options.order)
    order.attributes["amount_minor"].number = options.amount_minor
    order.attributes["currency"].text = options.currency
    token = attached["verification_token"]
    return api.AuthorizeRequest(
        interaction=api.Interaction(channel=attached["channel"], id=attached["interaction"]),
        evidence=api.Evidence(verification_token=token) if token else None,
        action="order.place",
        resource=order,
        request_id=options.order,
    )


def act(answer, options):
    if answer.decision == api.DECISION_ALLOW:
        return place(answer, options)
    if answer.decision == api.DECISION_CHALLENGE:
        methods = [api.EvidenceMethod.Name(method) for method in answer.challenge.accepted_methods]
        print(f"not placed: proof is needed: {', '.join(methods)}. For the agent: {answer.guidance.tell_agent}")
        return 10
    if answer.decision == api.DECISION_ESCALATE:
        # Asking again finds the same escalation: nothing has to be kept here but the order itself.
        expiry = answer.escalation.expiry.ToJsonString()
        print(f"parked: {answer.escalation.id} waits for the primary administrator until {expiry}")
        print(f"say: {answer.guidance.say}")
        return 11
    if answer.decision == api.DECISION_DENY:
        print(f"not placed. Say: {answer.guidance.say} See: {answer.guidance.link}")
        return 12
    print("not placed: a decision that this backend does not know allows nothing")
    return 1


def place(answer, options):
    unknown = {duty.name for duty in answer.obligations} - KNOWN_OBLIGATIONS
    if unknown:
        print(f"not placed: obligations that this backend cannot keep: {', '.join(sorted(unknown))}")
        return 1
    # An ALLOW is for now. Whoever is late, or finds it in a queue or a cache, asks again.
    if time.time_ns() >= answer.act_before.ToNanoseconds():
        print("not placed: it is too late to act on this answer; ask again, or mend the clock")
        return 1
    order = {
        "order": options.order,
        "amount_minor": options.amount_minor,
        "currency": options.currency,
        "account": answer.verified.account_id,
        "for": answer.verified.contact_id,
        "decision": answer.decision_id,
    }
    with open(options.book, "a") as book:
        book.write(json.dumps(order) + "\n")
    print(f"placed for {answer.verified.display_name}, by decision {answer.decision_id}")
    return 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("order", help="the id of the order")
    parser.add_argument("amount_minor", type=int, help="the amount in minor units: 12900 is 129.00")
    parser.add_argument("currency", help="ISO 4217, such as USD")
    parser.add_argument("--attached", default="call.json", help="what travelled with the call")
    parser.add_argument("--book", default="orders.jsonl", help="where placed orders are written")
    return parser.parse_args()


sys.exit(main())
