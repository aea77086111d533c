"""joblib: loky, its own batch size, results as a generator."""

from joblib import Parallel, delayed
from lines import WORKERS, wanted, write

if __name__ == "__main__":
    function, items, chunksize = wanted()
    parallel = Parallel(n_jobs=WORKERS, return_as="generator", batch_size=chunksize or "auto")
    write(parallel(delayed(function)(item) for item in items))
