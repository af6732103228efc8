"""Processes and threads as Python makes them: subprocess, multiprocessing, fork, posix_spawn."""

import multiprocessing
import os
import signal
import subprocess
import threading
import time


def report(queue):
    queue.put((os.getpid(), os.getppid()))

if __name__ == "__main__":
    me = os.getpid()
    out = subprocess.run(["sh", "-c", "echo $PPID"], capture_output=True, text=True).stdout
    assert int(out) == me, out
    for method in ("fork", "spawn"):
        context = multiprocessing.get_context(method)
        queue = context.Queue()
        child = context.Process(target=report, args=(queue,))
        child.start()
        pid, parent = queue.get(timeout=30)
        child.join()
        assert (pid, parent) == (child.pid, me), (method, pid, parent, child.pid, me)
        assert child.exitcode == 0
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert set(pool.map(os.getpgid, [0] * 9)) == {os.getpgrp()}
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "kill -TERM $$"], os.environ)
    assert os.waitpid(pid, 0) == (pid, signal.SIGTERM)
    pid = os.fork()
    if pid == 0:
        signal.pause()
    os.kill(pid, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    seen = []
    signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
    os.kill(me, signal.SIGUSR1)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
    while len(seen) < 2: time.sleep(0.001)
    names = set()
    threads = [threading.Thread(target=lambda: names.add(threading.get_native_id())) for _ in range(50)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert me not in names
    assert threading.get_native_id() == me
    popen = subprocess.Popen(["sleep", "60"], start_new_session=True)
    assert os.getsid(popen.pid) == popen.pid == os.getpgid(popen.pid)
    os.killpg(popen.pid, signal.SIGTERM)
    assert popen.wait() == -signal.SIGTERM
