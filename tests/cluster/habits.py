"""A user's file: each function without parameters is a habit of scripts, and true where it is kept."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

import argparse
import asyncio
import atexit
import json
import logging
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

log = open(f"log.{os.getpid()}.txt", "w")
log.write("file\n")


def note(text):
    with open(f"end.{os.getpid()}.txt", "a") as file:
        print(text, file=file)


def suspended(
    write=os.write, file=os.open(f"end.{os.getpid()}.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
):
    try:
        yield
    finally:
        write(file, b"finally\n")


generator = suspended()
next(generator)
atexit.register(note, "atexit")
if __name__ == "__main__":
    was_main = True


def keep(habit):
    return bool(globals()[habit]()), os.getpid()


class Thing:
    pass


def square(number):
    return number * number


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=0.1)
    return parser.parse_args().rate == 0.1


def asyncio_run():
    async def later():
        await asyncio.sleep(0)
        return asyncio.get_running_loop().is_running()

    return asyncio.run(later())


def current_loop():
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return asyncio.get_event_loop().run_until_complete(asyncio.sleep(0, True))
    finally:
        loop.close()


def asyncio_subprocess():
    async def start():
        process = await asyncio.create_subprocess_exec("true")
        return await process.wait() == 0

    return asyncio.run(start())


def fork_pool():
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(square, range(3)) == [0, 1, 4]


def spawn_pool():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.map(square, range(3)) == [0, 1, 4]


def forkserver_pool():
    with multiprocessing.get_context("forkserver").Pool(1) as pool:
        return pool.map(square, range(3)) == [0, 1, 4]


def executor():
    with ProcessPoolExecutor(2) as pool:
        return list(pool.map(square, range(3))) == [0, 1, 4]


def joblib_pool():
    from joblib import Parallel, delayed
    from joblib.externals.loky import get_reusable_executor

    squares = Parallel(n_jobs=2)(delayed(square)(number) for number in range(3))
    get_reusable_executor().shutdown(wait=True)  # else it goes on until the engine ends
    return squares == [0, 1, 4]


def terminated_child():
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    process.start()
    process.terminate()
    process.join(20)
    return process.exitcode == -15


def interrupted_child():
    if not (pid := os.fork()):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(20)
        except KeyboardInterrupt:
            os._exit(5)
        os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5


def broken_pipe():
    return subprocess.run(["true"], input=b"y" * 1_000_000).returncode == 0


def default_signals():
    ignored = [signal.SIGPIPE, signal.SIGXFSZ]
    return all(signal.getsignal(number) == signal.SIG_IGN for number in ignored)


def alarm():
    rung = []
    signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)  # the first may come before the pause
    signal.pause()
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    return bool(rung)


def variables():
    kernels = {"MPLBACKEND", "CLICOLOR", "CLICOLOR_FORCE", "GIT_PAGER", "IPP_CONNECTION_INFO"}
    expected = json.loads(os.environ["EXPECTED"])
    return {name: os.environ.get(name) for name in expected} == expected and not kernels & set(os.environ)


def childrens_variables():
    program = "import json, os; print(json.dumps(dict(os.environ)))"
    text = subprocess.run([sys.executable, "-c", program], capture_output=True).stdout
    environment = json.loads(text)
    return "IPP_CONNECTION_INFO" not in environment and environment["PAGER"] == "less"


def nothing_to_read():
    try:
        return input() is None
    except EOFError:
        return True


def printing():
    print("print")
    sys.stdout.buffer.write(b"buffer\n")
    sys.stdout.flush()
    os.write(1, b"descriptor\n")
    os.system("echo child")
    return True


def rich_output():
    from IPython.display import display

    display({"a": [1, 2]})
    return True


def own_class():
    return type(pickle.loads(pickle.dumps(Thing()))) is Thing


def file_of_the_spec():
    import habits as module

    return module.square is square and not hasattr(module, "was_main")


def recursion():
    return sys.getrecursionlimit() == 1000


def threads():
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(square, range(3))) == [0, 1, 4]


def logs():
    logging.basicConfig(stream=sys.stderr, force=True)
    logging.getLogger("mine").warning("careful")
    return True
