"""The recorders of the Python library eventsourcing as peers of annals-bench-postgres.

Each caller, a thread or a process, appends one event of 200 bytes at a time to a stream of its
own and waits for the commit. The application recorder keeps the log in order, as Annals does, by
locking the table for each append; the aggregate recorder has streams only and no log.
"""

import argparse
import json
import multiprocessing
import threading
import time
from uuid import uuid4

from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import (
    PostgresAggregateRecorder,
    PostgresApplicationRecorder,
    PostgresDatastore,
)

RECORDERS = {
    "application": PostgresApplicationRecorder,
    "aggregate": PostgresAggregateRecorder,
}


def open_recorder(args, connections):
    datastore = PostgresDatastore(
        dbname=args.database,
        host="127.0.0.1",
        port=args.port,
        user="postgres",
        password="",
        pool_size=connections,
    )
    recorder = RECORDERS[args.recorder](datastore, events_table_name="events")
    recorder.create_table()
    return recorder


def append_until(recorder, begin, end):
    """Appends until the end; how many were committed after the beginning."""
    stream = uuid4()
    fields = {"account": str(stream), "amount": 100, "currency": "EUR", "note": ""}
    fields["note"] = "x" * (200 - len(json.dumps(fields)))
    state = json.dumps(fields).encode()
    counted, version = 0, 0
    while True:
        version += 1
        recorder.insert_events([StoredEvent(stream, version, "bank:MoneyDeposited", state)])
        now = time.monotonic()
        if now > end:
            return counted
        counted += now > begin


def in_threads(args):
    recorder = open_recorder(args, args.callers)
    # So that every connection is there before it counts.
    begin = time.monotonic() + args.warm_up
    end = begin + args.seconds
    counts = []
    threads = [
        threading.Thread(target=lambda: counts.append(append_until(recorder, begin, end)))
        for _ in range(args.callers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counts


def in_processes(args):
    forked = multiprocessing.get_context("fork")
    ready, counts = forked.Barrier(args.callers, timeout=30), forked.Queue()
    # Two that make the same table at once can fail.
    opening = forked.Lock()

    def run():
        with opening:
            recorder = open_recorder(args, 1)
        ready.wait()
        begin = time.monotonic() + args.warm_up
        counts.put(append_until(recorder, begin, begin + args.seconds))
        recorder.datastore.close()

    processes = [forked.Process(target=run) for _ in range(args.callers)]
    for process in processes:
        process.start()
    patience = 60 + args.warm_up + args.seconds
    found = [counts.get(timeout=patience) for _ in processes]
    for process in processes:
        process.join()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recorder", choices=RECORDERS)
    parser.add_argument("callers_are", choices=["threads", "processes"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database", required=True)
    parser.add_argument("--callers", type=int, required=True)
    parser.add_argument("--warm-up", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    args = parser.parse_args()
    counts = in_threads(args) if args.callers_are == "threads" else in_processes(args)
    assert len(counts) == args.callers, "no caller fails"
    print(sum(counts) / args.seconds)


if __name__ == "__main__":
    main()
