"""What a test tells a client, and what the client asks of it: lines on standard input and output."""

import json
import sys

told = json.loads(sys.stdin.readline())
issuer = told["issuer"]


def browse(url):
    """Has somebody's browser go there; returns the address it is sent back to."""
    print("browse", url, flush=True)
    return sys.stdin.readline().strip()


def done(step):
    print("done", step, flush=True)
