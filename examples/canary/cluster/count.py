"""Calls reviews so many times and counts who has answered: `count.py 200 [NAME: VALUE]`, in the pod `client`."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections import Counter

URL = "http://reviews:9080/reviews/1"

fields = dict(field.split(": ", 1) for field in sys.argv[2:])
seen: Counter[str] = Counter()
for _ in range(int(sys.argv[1])):
    try:
        with urllib.request.urlopen(urllib.request.Request(URL, headers=fields), timeout=10) as answer:
            told = json.load(answer)
            seen[f"{told['application']} {told['version']}"] += 1
    except urllib.error.HTTPError as refused:
        seen[f"status {refused.code}: {refused.headers['proxy-status']}"] += 1
for who, count in sorted(seen.items()):
    sys.stdout.write(f"{count:5} {who}\n")
