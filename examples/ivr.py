"""An IVR that asks Countersign who may do what. The terminal is the telephone: type what the caller says.

It collects the passphrase, tries again for as long as the sidecar leaves tries, speaks the guidance, offers the remedies,
hands the verification token over with the call, and ends the interaction when the caller hangs up.
"""

import argparse
import json
import os
import uuid

from countersign.v1 import authorization_pb2 as api
from sidecar import NoDecision, Sidecar, token_of

# What callers want: the action that is asked for, the resource that it needs, and who serves them.
WISHES = {
    "1": ("general.ask", None, "help desk"),
    "2": ("identity.verify", None, "orders"),
    "3": ("call_detail.view", api.Resource(type="call_detail"), "call records"),
}


def main():
    options = arguments()
    call = Call(options)
    try:
        call.answer()
    except NoDecision as error:
        # No decision is no permission: a person takes over, and the caller has proved nothing.
        print(f"[no decision: {error}]")
        call.say("I cannot verify you at the moment.")
        call.transfer("an agent")
    except EOFError:
        print("[the caller hung up]")
    finally:
        call.end()


class Call:
    def __init__(self, options):
        self.sidecar = Sidecar(token_of("ivr"))
        self.attach = options.attach
        self.subject = None
        self.token = ""
        self.interaction = api.Interaction(
            channel=api.CHANNEL_PHONE,
            id=options.call,
            calling_number=options.number,
            attestation=api.Attestation.Value("ATTESTATION_" + options.attestation),
        )

    def answer(self):
        wish = ""
        while wish not in WISHES:
            wish = self.hear("Welcome. Say 1 for a question, 2 for an order, 3 for your call records.")
        action, resource, queue = WISHES[wish]
        answer = self.ask(action, resource)
        if answer.decision == api.DECISION_CHALLENGE:
            answer = self.prove(action, resource, answer)
        self.act(answer, queue)

    def prove(self, action, resource, answer):
        """Collects the passphrase while the answer is a challenge that a passphrase meets."""
        self.subject = api.Subject(
            account=api.AccountSelector(id=self.hear("Your account number, please.")),
            contact=api.ContactSelector(extension=self.hear("And your extension.")),
        )
        while api.EVIDENCE_METHOD_PASSPHRASE in answer.challenge.accepted_methods:
            self.say(answer.guidance.say)
            spoken = self.hear("Please say your support passphrase.")
            passphrase = api.Passphrase(transcripts=[spoken], entry=api.PASSPHRASE_ENTRY_SPOKEN)
            answer = self.ask(action, resource, api.Evidence(passphrase=passphrase))
            if answer.decision != api.DECISION_CHALLENGE:
                break
            print(f"[{answer.challenge.attempts_left} tries left in this call]")
        return answer

    def act(self, answer, queue):
        """Does what the decision says. Whoever is verified takes the token along, whatever was decided."""
        self.token = answer.verification.token
        if answer.HasField("verified"):
            self.say(f"Thank you, {answer.verified.display_name}.")
        if answer.decision == api.DECISION_ALLOW:
            return self.transfer(queue)
        # Every other decision allows nothing. The words come from the policy bundle, and so do the other ways.
        self.say(answer.guidance.say)
        for remedy in answer.remedies:
            if self.hear(remedy.say + " Shall I?") == "yes":
                return self.remedy(remedy.action)
        return self.transfer("an agent")

    def remedy(self, action):
        """A lawful other way is an action of its own, decided and recorded like any other."""
        answer = self.ask(action, api.Resource(type="call_detail"))
        if answer.decision != api.DECISION_ALLOW:
            self.say(answer.guidance.say)
            return self.transfer("an agent")
        # The obligation names the kind of target. Only what is on record is used, never what the caller says.
        (duty,) = answer.obligations
        print(f"[{duty.name}: {duty.parameters['target']}]")
        return self.say("It is on its way. Goodbye.")

    def ask(self, action, resource, evidence=None):
        return self.sidecar.authorize(
            api.AuthorizeRequest(
                interaction=self.interaction,
                subject=self.subject,
                evidence=evidence,
                action=action,
                resource=resource,
                locale="en-US",
            )
        )

    def transfer(self, queue):
        """The call goes on with somebody else, who decides again from the token: it is attached to the call."""
        attached = {"interaction": self.interaction.id, "channel": "CHANNEL_PHONE", "verification_token": self.token}
        # A token is a secret of this call: for its receiver alone, and whole before it can be seen.
        partial = self.attach + ".partial"
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(attached, file)
        os.replace(partial, self.attach)
        print(f"[transferred to {queue}; {self.attach} travels with the call]")
        self.hear("", "[Enter or Ctrl-D: the caller hangs up] ")

    def end(self):
        """From now on the token is worth nothing, to anybody."""
        try:
            self.sidecar.end_interaction(self.interaction.id)
            print("[interaction ended]")
        except NoDecision as error:
            print(f"[not ended: {error}; it ends by itself after four hours]")

    def say(self, text):
        print("IVR:", text, flush=True)

    def hear(self, question, prompt="> "):
        if question:
            self.say(question)
        return input(prompt).strip()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--call", default=str(uuid.uuid4()), help="the platform's id of the call")
    parser.add_argument("--number", default="", help="the calling number, such as +14085550100")
    parser.add_argument("--attestation", default="UNSPECIFIED", choices=["A", "B", "C", "UNSPECIFIED"])
    parser.add_argument("--attach", default="call.json", help="what travels with a transferred call")
    return parser.parse_args()


main()
