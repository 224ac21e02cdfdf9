"""Writes logs of every kind, to see them found again, and fails on demand.

?lines=N   that many rounds (3 if not given)
?fail=     exception | exit | status | json | stream: the ways in which a handler can go wrong
"""

import json
import sys

from apus import Response

LINES_MOST = 10_000


class CardDeclined(Exception):
    pass


def handle(event, context):
    lines = event.query.get("lines", "3")
    if not (lines.isascii() and lines.isdigit() and int(lines) <= LINES_MOST):
        return Response({"error": f"lines is a number up to {LINES_MOST}"}, status=400)
    for number in range(1, int(lines) + 1):
        print(f"plain line {number} of {lines}")
        print(json.dumps({"level": "warn", "msg": "stock is low", "item": f"sku-{number}", "left": number % 7}))
        print(f"to stderr {number}", file=sys.stderr)
        context.log.info("round", number=number, body_bytes=len(event.body), nested={"even": number % 2 == 0})
    print("first of three lines\n  second, indented\nthird, ünïcödé 🐦")
    print("no line end", end="")
    fail = event.query.get("fail", "")
    if fail == "exception":
        raise CardDeclined("card declined: insufficient funds")
    if fail == "exit":
        sys.exit(3)
    if fail == "status":
        return Response({"error": "asked to fail"}, status=503, headers={"Retry-After": "1"})
    if fail == "json":
        return {"not": object()}
    if fail == "stream":
        return broken_stream()
    if fail:
        return Response({"error": f"unknown fail={fail}"}, status=400)
    return {"call": context.call_id, "rounds": int(lines), "echo": event.text}


def broken_stream():
    yield "the first piece\n"
    raise CardDeclined("card declined in the middle of the answer")
