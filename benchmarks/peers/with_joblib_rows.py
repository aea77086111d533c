"""joblib over a file: ``csv FILE`` or ``lines FILE``, rows as dicts, one JSON line an item on stdout."""

import csv
import sys
from pathlib import Path

import orjson
import works
from joblib import Parallel, delayed
from lines import WORKERS

if __name__ == "__main__":
    kind, name = sys.argv[1:]
    out = sys.stdout.buffer
    with Path(name).open(newline="") as file:
        rows = list(csv.DictReader(file) if kind == "csv" else (line.rstrip("\n") for line in file))
    values = Parallel(n_jobs=WORKERS, return_as="generator")(delayed(works.total)(row) for row in rows)
    for index, (row, value) in enumerate(zip(rows, values, strict=True)):
        out.write(orjson.dumps({"index": index, "input": row, "value": value}) + b"\n")
    out.flush()
