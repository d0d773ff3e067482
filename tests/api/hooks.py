"""Schemathesis hooks for what the OpenAPI document cannot express: objects that exist on the server, values of custom formats,
and constraints between parameters."""

import base64
import datetime
import os
import struct
import time
import uuid

import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis import GenerationMode

URL = os.environ["API_URL"]
AUTH = {"Authorization": "Bearer " + os.environ["API_TOKEN"]}


def ask(method, path, body=None):
    answer = requests.request(method, URL + path, json=body, headers=AUTH, timeout=30)
    answer.raise_for_status()
    return answer.json()


def wait_for(path, timeout_seconds=60):
    for _ in range(timeout_seconds * 10):
        if ask("GET", path)["items"]:
            return
        time.sleep(0.1)
    raise SystemExit(f"check-api: nothing in {path} after {timeout_seconds} s")


def fill():
    """Creates objects that the demo network does not have."""
    subject = "agent.experience.v1.agent:sofia"
    failure = {"agent_id": "agent:sofia", "outcome": "error", "error_class": "rate_limited", "task": "answer"}
    events = [{"event_type": "agent.event.created", "payload": {"agent_id": "agent:sofia"}}]
    for number in range(3):
        now = datetime.datetime.now(datetime.timezone.utc).isoformat()
        payload = {**failure, "event_id": str(uuid.uuid4()), "timestamp": now}
        events.append({"event_type": subject, "payload": payload})
    for number in range(20):
        events.append({"event_type": subject, "payload": {"unreadable": number}})
        alert = {"alert_id": f"fire-{number}", "title": "It burns"}
        events.append({"event_type": "ops.alert.warning", "payload": alert})
    ask("POST", "/living-map/events", events)
    ask("POST", "/living-map/alerts/silences", {"rule": "none", "minutes": 60})
    for path in ["alerts", "lessons", "dead-letters?status=dead", "snapshots", "history"]:
        wait_for("/living-map/" + path)


def url_safe(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def row(at, key):
    return url_safe(struct.pack(">q", at * 1_000_000) + key.bytes)


def lesson(relevance, at, key):
    bits = struct.unpack(">Q", struct.pack(">d", relevance))[0]
    return url_safe(f"{bits:x}/{at * 1_000_000}/{key}".encode())


fill()

# The log begins with the demo; earlier times are answered with 410.
cursors = st.sampled_from([item["cursor"] for item in ask("GET", "/living-map/history?limit=100")["items"]])
seconds = st.integers(0, int(time.time()))
utc = seconds.map(lambda at: datetime.datetime.fromtimestamp(at, datetime.timezone.utc))
times = st.one_of(
    utc.map(datetime.datetime.isoformat),
    utc.map(lambda at: at.strftime("%Y-%m-%dT%H:%M:%SZ")),
    utc.map(lambda at: at.strftime("%Y-%m-%d %H:%M:%S")),
    utc.map(lambda at: at.strftime("%Y-%m-%d")),
    seconds.map(str),
)
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=100)
tokens = st.text("abcdefghijklmnopqrstuvwxyz0123456789_:-", min_size=1, max_size=20)
families = st.sampled_from(["agent.event", "dao.event", "microdao.event", "node.metrics", "usage.llm", "city.event"])
subjects = st.builds("{}.{}".format, families, tokens)
patterns = st.one_of(
    subjects,
    st.builds("{}.{}".format, families, st.sampled_from([">", "**"])),
    st.builds("{}.*.{}".format, tokens, tokens),
    st.sampled_from([">", "**"]),
)
severities = st.sampled_from(["critical", "warning", "info"])
rows = st.builds(row, seconds, st.uuids())

for name, strategy in {
    "iso8601": times,
    "moment": st.one_of(cursors, cursors, times),
    "page": rows,
    "page-of-events": rows | cursors,
    "page-of-entities": names.map(lambda name: url_safe(name.encode())),
    "page-of-alerts": st.builds("{}/{}".format, severities, tokens).map(lambda text: url_safe(text.encode())),
    "page-of-versions": st.integers(0, 2**32 - 1).map(lambda number: url_safe(str(number).encode())),
    "page-of-lessons": st.builds(lesson, st.floats(0, 1), seconds, tokens),
    "subject": subjects,
    "subject-pattern": patterns,
    "bucket": st.builds("{}{}".format, st.integers(1, 31), st.sampled_from("mhd")),
}.items():
    schemathesis.openapi.format(name, strategy)


@schemathesis.hook
def map_case(context, case):
    """Removes contradictory parameters from requests that must be accepted."""
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE:
        return case
    query = case.query
    if query:
        # 'since' must not be after 'until', and the period may have at most 1,000 buckets
        for name in ["since", "until", "bucket"] if case.operation.path.endswith("/aggregate") else ["until"]:
            if "since" in query or "bucket" in query:
                query.pop(name, None)
        if query.get("at"):
            query.pop("fresh", None)
        if query.get("target"):
            query.pop("bucket", None)
        if query.get("cursor"):
            query.pop("offset", None)
        # both ends of recorded frames are in one log
        if case.operation.path.endswith("/frames") and ":" not in str(query.get("until", ":")):
            query["until"] = query["cursor"]
    return case
