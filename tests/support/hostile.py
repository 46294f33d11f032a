"""Job files that were written to cost a reader as much as they can."""

from __future__ import annotations

HEAD = "version: 1\norganizations: {acme: {token_env: ACME}}\n"

HOSTILE = {
    "list": b"a: [" + b"x," * 2_000_000,
    "wrong ids": HEAD.encode() + b"jobs: [{name: j, tests: [" + b"x," * 119_000 + b"]}]",
    "unknown keys": b"".join(b"k%d: 1\n" % i for i in range(59_000)),
    "wrong windows": b"version: 1\nwindows:\n"
    + b"".join(b" k%d: {last: %dh}\n" % (i, i + 3) for i in range(29_000)),
    "organizations": b"version: 1\norganizations:\n" + b"".join(b" k%d:\n" % i for i in range(59_000)),
    "globs": b"version: 1\ndefaults: {name: j, tests: [1], windows: [{last: 1h}]}\n"
    b"organization_defaults: {token_env: T}\norganizations:\n"
    + b"".join(b" k%d:\n" % i for i in range(20_000))
    + b"jobs:\n"
    + b"".join(b"- {organization: ['k%d*',k1]}\n" % i for i in range(9_000)),
    "empty jobs": HEAD.encode() + b"jobs:\n" + b"- {}\n" * 119_000,
    "brackets": b"[" * 4_000_000,
    "dashes": b"- " * 2_000_000,
    "tags": b"[" + b"!!x y," * 100_000,
    "duplicates": b"a: 1\n" * 50_000,
    "nothings": b"jobs: [" + b"~," * 119_000 + b"]",
    "lines": b"\n" * 4_000_000,
    "variables": b"name: '" + b"${A}" * 1_000_000 + b"'",
    "tokens": b"name: '" + b"bearer  " * 500_000 + b"'",
    "good": HEAD.encode()
    + b"jobs:\n- name: j\n  windows: [{last: 1h}]\n  tests:\n"
    + b"".join(b'  - {id: "%d", test_name: "Checkout EU"}\n' % i for i in range(20_000)),
}
