"""HyperQueue: a local cluster, ``COUNT PROGRAM…`` as that many tasks of one job, nothing kept."""

import os
import sys
import tempfile

from hyperqueue import Job, LocalCluster
from hyperqueue.cluster import WorkerConfig

if __name__ == "__main__":
    count, cores, *program = sys.argv[1:]
    job = Job()
    for _ in range(int(count)):
        job.program(program, stdout=None, stderr=None)
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(folder, WorkerConfig(cores=int(cores))) as cluster,
    ):
        client = cluster.client()
        client.wait_for_jobs([client.submit(job)])
    # Its server's threads would be waited for.
    os._exit(0)
