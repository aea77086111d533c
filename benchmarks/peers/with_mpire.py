"""mpire: WorkerPool.imap, its own chunk size."""

from lines import WORKERS, wanted, write
from mpire import WorkerPool

if __name__ == "__main__":
    function, items, chunksize = wanted()
    with WorkerPool(n_jobs=WORKERS) as pool:
        write(pool.imap(function, items, iterable_len=len(items), chunk_size=chunksize))
