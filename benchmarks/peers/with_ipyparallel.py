"""ipyparallel as it comes: a load-balanced view, one item a message unless told otherwise.

On stderr, one JSON line: the seconds of the map on the warm cluster, a first item done before it.
"""

import json
import logging
import sys
import time

import ipyparallel
from lines import WORKERS, wanted, write

if __name__ == "__main__":
    function, items, chunksize = wanted()
    with ipyparallel.Cluster(n=WORKERS, log_level=logging.ERROR) as client:
        view = client.load_balanced_view()
        if len(items) > 1:
            view.map_sync(function, items[:1])
        began = time.monotonic()
        write(view.map_async(function, items, chunksize=chunksize or 1))
        warm = time.monotonic() - began
    sys.stderr.write(json.dumps({"warm": warm}) + "\n")
