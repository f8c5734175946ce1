"""Table, goals and plot, all from the same figures."""

import json

from servers import HOME, ROOT

DOC, PLOT = ROOT / "docs/performance.md", ROOT / "docs/performance.svg"
BEGIN, END = "<!-- figures: begin; written by `make bench-record` -->", "<!-- figures: end -->"


def publish(figures, record):
    text = f"{preface(figures)}\n\n{table(figures)}\n\n{processes(figures)}\n\n{goals(figures)}"
    print("\n" + text)
    (HOME / "figures.json").write_text(json.dumps(figures, indent=1))
    (HOME / "performance.svg").write_text(plot(figures))
    print(f"\nfigures.json and performance.svg are in {HOME}")
    if record:
        head, rest = DOC.read_text().split(BEGIN)
        DOC.write_text(f"{head}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}")
        PLOT.write_text(plot(figures))


def preface(figures):
    machine = figures["machine"]
    return (
        f"{machine['date']}: {machine['cpu']}, {machine['system']}, load average of the last 15 minutes "
        f"{machine['load']:.1f} at the end; medians of {figures['rounds']} interleaved rounds."
    )


def table(figures):
    control = figures["rows"][0]
    lines = [
        "| what is asked | CPU µs per call | ÷ control | calls/s at saturation | ÷ control | p50 µs, one connection |",
        "|---|---|---|---|---|---|",
    ]
    for row in figures["rows"]:
        lines.append(
            f"| {row['name']} | {row['cpu_us']:.1f} | {row['cpu_us'] / control['cpu_us']:.1f} | {row['rate']:,.0f} "
            f"| {row['rate'] / control['rate']:.2f} | {row['p50_us']:.0f} |"
        )
    lines.append(
        f"| append of {figures['record_bytes']} bytes and fdatasync | | | | | {figures['append_and_sync_us']:.0f} |"
    )
    return "\n".join(lines)


def processes(figures):
    lines = [
        "| process | cold start ms | RSS idle MiB | RSS after load MiB | binary MiB |",
        "|---|---|---|---|---|",
    ]
    for it in figures["servers"]:
        lines.append(
            f"| {it['name']} | {it['cold_start_ms']:.0f} | {it['idle_mib']:.1f} | {it['loaded_mib']:.1f} "
            f"| {it['binary_mib']:.0f} |"
        )
    return "\n".join(lines)


def goals(figures):
    control, general, token, login, plain, _ = figures["rows"]
    sidecar = next(it for it in figures["servers"] if it["name"] == "countersign")
    bound = control["p50_us"] + 1.3 * figures["append_and_sync_us"] + 40
    rows = [
        ("CPU per call, durable audit ≤ 2.5 × control: general question", general["cpu_us"] / control["cpu_us"], 2.5, "×"),
        ("the same: token, then a role", token["cpu_us"] / control["cpu_us"], 2.5, "×"),
        ("the same: portal login, then a role", login["cpu_us"] / control["cpu_us"], 2.5, "×"),
        ("throughput ≥ 6 × Cerbos without audit: general question", general["rate"] / plain["rate"], -6, "×"),
        ("the same: token, then a role", token["rate"] / plain["rate"], -6, "×"),
        ("the same: portal login, then a role", login["rate"] / plain["rate"], -6, "×"),
        (f"p50 ≤ control + 1.3 × (append + fdatasync) + 40 µs = {bound:.0f}: general question", general["p50_us"], bound, " µs"),
        ("idle RSS ≤ 20 MiB", sidecar["idle_mib"], 20, " MiB"),
        ("cold start ≤ 50 ms", sidecar["cold_start_ms"], 50, " ms"),
    ]
    lines = ["| goal | measured | |", "|---|---|---|"]
    for name, value, limit, unit in rows:
        met = value <= limit if limit > 0 else value >= -limit
        lines.append(f"| {name} | {value:.1f}{unit} | {'met' if met else '**missed**'} |")
    return "\n".join(lines)


def plot(figures):
    """Three panels of bars, one row for each thing asked."""
    panels = [("CPU per call, µs", "cpu_us"), ("calls/s at saturation", "rate"), ("p50 on one connection, µs", "p50_us")]
    rows, width, left, bar = figures["rows"], 760, 230, 22
    colours = {"control": "#8a8a8a", "countersign": "#2f6f9f"}
    parts, y = [], 10
    for title, key in panels:
        y += 20
        parts.append(f'<text x="{left}" y="{y}" font-weight="bold">{title}</text>')
        y += 8
        most = max(row[key] for row in rows)
        for row in rows:
            length = max(1, (width - left - 90) * row[key] / most)
            colour = colours.get(row["server"], "#c08a3e")
            parts.append(f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">{row["name"]}</text>')
            parts.append(f'<rect x="{left}" y="{y + 3}" width="{length:.0f}" height="{bar - 6}" fill="{colour}"/>')
            parts.append(f'<text x="{left + length + 6:.0f}" y="{y + 15}">{row[key]:,.0f}</text>')
            y += bar
        y += 10
    style = "font-family:sans-serif;font-size:12px;fill:#222"
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y}" viewBox="0 0 {width} {y}">\n'
        f'<rect width="{width}" height="{y}" fill="#fff"/>\n<g style="{style}">\n{body}\n</g>\n</svg>\n'
    )
