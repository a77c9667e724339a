"""What a program serves by HTTP: /metrics read strictly, and the other paths."""

import http.client
import re

LISTEN = ("--metrics-listen", "127.0.0.1:0")  # any free port: the log says which
_SAMPLE = re.compile(r'([a-z_:]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\S+)')
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')
_ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


def parse(text):
    """{name: [(labels, value)]}; an AssertionError for whatever Prometheus would refuse."""
    samples, typed, last = {}, {}, None
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in typed, f"{name} comes twice"
            typed[name] = kind
            last = name
            continue
        if line.startswith("# HELP "):
            continue
        match = _SAMPLE.fullmatch(line)
        assert match, f"not a sample: {line!r}"
        name, labels, value = match.groups()
        family = re.sub("_(bucket|sum|count)$", "", name) if typed.get(last) == "histogram" else name
        assert family == last, f"{name} does not stand with its # TYPE"
        labels = {k: re.sub(r"\\.", lambda m: _ESCAPES[m[0]], v) for k, v in _LABEL.findall(labels or "")}
        assert labels not in [there for there, _ in samples.get(name, [])], f"{line!r} comes twice"
        samples.setdefault(name, []).append((labels, float(value)))
    return samples


class Served:
    """What a Process that was started with --metrics-listen answers."""

    def __init__(self, process):
        match = process.wait_for_log(r"(?:metrics\.listening|exporter\.start version=\S+) address=(\S+):(\d+)")
        self.host, self.port = match[1].strip("[]"), int(match[2])

    def request(self, path, method="GET", timeout_s=30):
        """(status, headers, body)"""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout_s)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read().decode()
        finally:
            connection.close()

    def get(self, path):
        """(status, body without the line's end)"""
        status, _, body = self.request(path)
        return status, body.rstrip("\n")

    def metrics(self):
        status, headers, body = self.request("/metrics")
        assert status == 200 and headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return parse(body)

    def value(self, name, **labels):
        """The sum of the samples with these labels among theirs; None if there is none."""
        found = [value for there, value in self.metrics().get(name, []) if labels.items() <= there.items()]
        return sum(found) if found else None
