#!/usr/bin/env python3
"""A service in Python: a point for each euro that a client paid, kept in $LOYALTY (loyalty.db without it).

    export TIDINGS_URL=sqlite:market.db      # what the marketplace runs on
    tidings consume events:payment --group loyalty --type payment.completed --exec ./loyalty.py

The envelope comes on stdin. Exit 0 is done, 75 is "again later", 65 rejects, anything else is a failed attempt. An event
may come twice, and points are not idempotent: the ids of counted events are kept beside them, in one transaction.
"""
import json
import os
import sqlite3
import sys

DONE, REJECT, AGAIN = 0, 65, 75


def main() -> int:
    event = json.load(sys.stdin)
    try:
        client, points = event["data"]["clientEmail"], event["data"]["amount"] // 100
    except (KeyError, TypeError) as error:
        print(f"not a payment: {error}", file=sys.stderr)
        return REJECT
    try:
        with sqlite3.connect(os.environ.get("LOYALTY", "loyalty.db"), timeout=5) as db:
            db.execute("CREATE TABLE IF NOT EXISTS counted(event TEXT PRIMARY KEY)")
            db.execute("CREATE TABLE IF NOT EXISTS points(client TEXT PRIMARY KEY, points INTEGER NOT NULL)")
            if db.execute("INSERT OR IGNORE INTO counted VALUES(?)", (event["source"] + " " + event["id"],)).rowcount:
                db.execute("INSERT INTO points VALUES(?1, ?2) ON CONFLICT(client) DO UPDATE SET points = points + ?2",
                           (client, points))
    except sqlite3.OperationalError as error:
        print(f"the points cannot be kept now: {error}", file=sys.stderr)
        return AGAIN
    return DONE


sys.exit(main())
