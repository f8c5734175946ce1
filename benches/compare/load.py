"""What is measured: h2load sends one recorded frame, and the answers' bytes are checked, which h2load does not do."""

import os
import re
import statistics
import subprocess
import time

import grpc

from servers import HOME

CONNECTIONS, STREAMS = 8, 32
SERIAL_CALLS = 400


def answer_bytes(question):
    """One answer over Python's gRPC, as soon as the server serves; any other error ends the run."""
    deadline = time.monotonic() + 20
    with grpc.insecure_channel(f"127.0.0.1:{question.server.port}") as channel:
        while True:
            try:
                return channel.unary_unary(question.path)(question.message, metadata=question.headers, timeout=20)
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE or time.monotonic() > deadline:
                    raise
            time.sleep(0.001)


def h2load(question, calls, connections, streams, *more):
    command = ["h2load", "-n", str(calls), "-c", str(connections), "-m", str(streams), "-t", "1", "-d", question.frame]
    for name, value in [("content-type", "application/grpc"), ("te", "trailers"), *question.headers]:
        command += ["-H", f"{name}: {value}"]
    command += [*more, f"http://127.0.0.1:{question.server.port}{question.path}"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if f"{calls} succeeded" not in shown or f"{calls} 2xx" not in shown:
        raise SystemExit(f"{question.name}: not all calls succeeded\n{shown}")
    return shown


def check_bytes(question, shown, calls, wanted):
    """A gRPC error is HTTP 200 without a message. Messages differ by a byte or two: times and sequences."""
    data = int(re.search(r"\((\d+)\) data", shown)[1]) / calls
    if abs(data - 5 - wanted) > 4:
        raise SystemExit(f"{question.name}: answers have {data:.0f} bytes, {wanted + 5} were expected: errors among them?")


def saturated(question, calls, wanted):
    """CPU of the server per call in µs, and calls per second."""
    cpu, started = question.server.cpu_s(), time.monotonic()
    shown = h2load(question, calls, CONNECTIONS, STREAMS)
    took, cpu = time.monotonic() - started, question.server.cpu_s() - cpu
    check_bytes(question, shown, calls, wanted)
    return cpu / calls * 1e6, calls / took


def serial(question):
    """The median time of a call in µs, one after the other on one connection."""
    log = HOME / "calls.log"
    log.unlink(missing_ok=True)
    h2load(question, SERIAL_CALLS, 1, 1, f"--log-file={log}")
    return statistics.median(int(line.split("\t")[2]) for line in log.read_text().splitlines())


def append_and_sync(size):
    """The median time of an append of so many bytes, and fdatasync, in µs: what durability costs on this disk."""
    path, payload, times = HOME / "append", os.urandom(size), []
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for _ in range(200):
        started = time.perf_counter_ns()
        os.write(file, payload)
        os.fdatasync(file)
        times.append((time.perf_counter_ns() - started) / 1000)
    os.close(file)
    return statistics.median(times)


def cold_start(question):
    """From the start of the process to its first answer, in ms."""
    started = time.perf_counter()
    question.server.start()
    answer_bytes(question)
    took = (time.perf_counter() - started) * 1000
    question.server.stop()
    return took
