"""What a durable decision costs, beside a server that does nothing and beside Cerbos: `make bench`.

All run on this machine, in turn, round after round; figures are medians over the rounds. Bounded to some eight minutes.
`--record` also writes docs/performance.md and docs/performance.svg.
"""

import argparse
import os
import platform
import statistics
import time

import load
import report
import servers

ROUNDS = 5
STARTS = 5
# How long one measurement loads a server.
LOAD_S = 2
AUTHORIZE = "/countersign.v1.AuthorizationService/Authorize"
CERBOS = "/cerbos.svc.v1.CerbosService/CheckResources"


def main():
    options = arguments()
    servers.fresh_home()
    servers.generate()
    sidecar = servers.Sidecar(options.binary)
    control = servers.control(options.control)
    plain = servers.cerbos("cerbos", audit=False)
    audited = servers.cerbos("cerbos-file-audit", audit=True)
    running = [control, sidecar, plain, audited]
    check = servers.cerbos_check()
    sidecar.start()
    questions = ask_of(sidecar, control) + [
        servers.Question("Cerbos, audit off", plain, CERBOS, check),
        servers.Question("Cerbos, file audit", audited, CERBOS, check),
    ]
    sidecar.stop()
    figures = measure(running, questions, sidecar, options.rounds)
    figures["machine"] = machine()
    report.publish(figures, options.record)


def ask_of(sidecar, control):
    """The frames: a general question; a role decided by a login, and by a token; the login also to the control."""
    from countersign.v1 import authorization_pb2 as api

    headers = [("authorization", f"Bearer {sidecar.token}")]
    case = api.Interaction(channel=api.CHANNEL_PORTAL, id="case-1")
    user = api.Resource(type="user", id="u-17")
    general = api.AuthorizeRequest(interaction=case, action="general.ask")
    login = api.AuthorizeRequest(interaction=case, action="user.change", resource=user)
    login.subject.account.id, login.subject.contact.id = "acc-1001", "con-1002"
    login.evidence.portal_login.login_time.FromSeconds(int(time.time()) - 5)
    by_login = servers.Question("portal login, then a role", sidecar, AUTHORIZE, login.SerializeToString(), headers)
    answer = api.AuthorizeResponse.FromString(load.answer_bytes(by_login))
    assert answer.decision == api.DECISION_ALLOW, answer
    token = api.AuthorizeRequest(interaction=case, action="user.change", resource=user)
    token.evidence.verification_token = answer.verification.token
    return [
        servers.Question("control: tonic that does nothing", control, AUTHORIZE, login.SerializeToString(), headers),
        servers.Question("general question", sidecar, AUTHORIZE, general.SerializeToString(), headers),
        servers.Question("token, then a role", sidecar, AUTHORIZE, token.SerializeToString(), headers),
        by_login,
    ]


def measure(running, questions, sidecar, rounds):
    starts = {question.name: [] for question in questions}
    one_each = list({question.server.name: question for question in questions}.values())
    for _ in range(STARTS):
        for question in one_each:
            starts[question.name].append(load.cold_start(question))
    for server in running:
        server.start()
    wanted = {question.name: len(load.answer_bytes(question)) for question in questions}
    idle = {server.name: server.rss_mib() for server in running}
    before, size = sidecar.records()
    rows = {question.name: [] for question in questions}
    calls = {question.name: 2000 for question in questions}
    sent, syncs = 0, []
    for round in range(rounds + 1):
        syncs.append(load.append_and_sync(size))
        for question in questions:
            name = question.name
            p50 = load.serial(question)
            cpu, rate = load.saturated(question, calls[name], wanted[name])
            sent += (calls[name] + load.SERIAL_CALLS) * (question.server is sidecar)
            print(f"{round} {name:34} {cpu:8.1f} µs CPU  {rate:8.0f} calls/s  {p50:7.0f} µs", flush=True)
            # The first round warms up, and says how many calls fill the time.
            calls[name] = max(2000, int(rate * LOAD_S))
            if round > 0:
                rows[name].append({"cpu_us": cpu, "rate": rate, "p50_us": p50})
    written = sidecar.records()[0] - before
    if written < sent:
        raise SystemExit(f"{sent} calls were answered and {written} records written")
    loaded = {server.name: server.rss_mib() for server in running}
    for server in running:
        server.stop()
    middle = statistics.median
    return {
        "rounds": rounds,
        "append_and_sync_us": middle(syncs),
        "record_bytes": size,
        "rows": [
            {
                "name": question.name,
                "server": question.server.name,
                **{key: middle([row[key] for row in rows[question.name]]) for key in ("cpu_us", "rate", "p50_us")},
            }
            for question in questions
        ],
        "servers": [
            {
                "name": question.server.name,
                "cold_start_ms": middle(starts[question.name]),
                "idle_mib": idle[question.server.name],
                "loaded_mib": loaded[question.server.name],
                "binary_mib": os.path.getsize(question.server.command[0]) / 2**20,
            }
            for question in one_each
        ],
    }


def machine():
    model = next(line for line in open("/proc/cpuinfo") if line.startswith("model name")).split(":")[1].strip()
    return {
        "cpu": f"{os.cpu_count()} × {model}",
        "system": f"{platform.system()} {platform.release()}",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "load": os.getloadavg()[2],
    }


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", help="the sidecar's release binary")
    parser.add_argument("control", help="the control's release binary")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--record", action="store_true", help="write docs/performance.md and its plot, too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
