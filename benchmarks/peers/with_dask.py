"""Dask distributed: a LocalCluster of processes with one thread each, without a dashboard."""

from dask.distributed import Client, LocalCluster
from lines import WORKERS, wanted, write

if __name__ == "__main__":
    function, items, chunksize = wanted()
    with (
        LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        write(client.gather(client.map(function, items, batch_size=chunksize)))
