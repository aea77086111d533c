"""``concurrent.futures``: ProcessPoolExecutor.map, in 64 chunks unless told otherwise."""

from concurrent.futures import ProcessPoolExecutor

from lines import WORKERS, wanted, write

if __name__ == "__main__":
    function, items, chunksize = wanted()
    with ProcessPoolExecutor(WORKERS) as pool:
        write(pool.map(function, items, chunksize=chunksize or max(1, len(items) // 64)))
