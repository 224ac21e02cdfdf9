"""Counts the words of a posted text: how many, how many different ones, and the most frequent."""

import re
from collections import Counter

from apus import Response

WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
TOP_MOST = 100


def handle(event, context):
    if event.method not in ("POST", "PUT"):
        return Response({"error": "post a text"}, status=405, headers={"Allow": "POST, PUT"})
    try:
        text = event.body.decode("utf-8")
    except UnicodeDecodeError as error:
        context.log.warn("body is not UTF-8", position=error.start)
        return Response({"error": f"the body is not UTF-8 (byte {error.start})"}, status=400)
    top = event.query.get("top", "5")
    if not (top.isascii() and top.isdigit() and int(top) <= TOP_MOST):
        return Response({"error": f"top is a number from 0 to {TOP_MOST}"}, status=400)
    counts = Counter(word.lower() for word in WORD.findall(text))
    most = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[: int(top)]
    context.log.info("counted", words=counts.total(), different=len(counts))
    return {
        "characters": len(text),
        "lines": len(text.splitlines()),
        "words": counts.total(),
        "different": len(counts),
        "top": [{"word": word, "count": count} for word, count in most],
    }
