"""Signals as Python takes, waits for and sends them, faulthandler, and descriptors of processes."""

import faulthandler
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time

me = os.getpid()


def in_child(run):
    pid = os.fork()
    if pid == 0:
        try:
            run()
            os._exit(0)
        except BaseException:
            faulthandler.dump_traceback()
            os._exit(1)
    return pid


def reaped(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# sigwaitinfo and sigtimedwait: who sent it.
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD})
child = in_child(lambda: os.kill(me, signal.SIGUSR1))
info = signal.sigwaitinfo({signal.SIGUSR1})
assert (info.si_signo, info.si_pid, info.si_uid) == (signal.SIGUSR1, child, os.getuid()), info
info = signal.sigtimedwait({signal.SIGCHLD}, 30)
assert (info.si_signo, info.si_pid, info.si_status) == (signal.SIGCHLD, child, 0), info
assert reaped(child) == 0
assert signal.sigtimedwait({signal.SIGUSR1}, 0.01) is None
os.kill(me, signal.SIGUSR2)
assert signal.sigpending() == {signal.SIGUSR2}
assert signal.sigtimedwait({signal.SIGUSR2}, 0).si_pid == me
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD})

# pthread_kill: a thread that waits, and one that doesn't exist any more.
waiting = threading.Event()
answers = []


def wait_for_signal():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    waiting.set()
    answers.append(signal.sigwaitinfo({signal.SIGUSR2}))


thread = threading.Thread(target=wait_for_signal)
thread.start()
waiting.wait()
time.sleep(0.02)
signal.pthread_kill(thread.ident, signal.SIGUSR2)
thread.join()
assert [answer.si_pid for answer in answers] == [me], answers
assert thread.native_id != me

# Descriptors of processes.
child = in_child(signal.pause)
handle = os.pidfd_open(child)
signal.pidfd_send_signal(handle, 0)
signal.pidfd_send_signal(handle, signal.SIGTERM)
assert select.select([handle], [], [], 30)[0] == [handle]
info = os.waitid(os.P_PIDFD, handle, os.WEXITED)
assert (info.si_pid, info.si_status) == (child, signal.SIGTERM), info
try:
    signal.pidfd_send_signal(handle, 0)
    raise AssertionError("a process that is gone was signalled")
except ProcessLookupError:
    os.close(handle)

# Timers, and a wakeup descriptor.
reader, writer = os.pipe2(os.O_NONBLOCK)
signal.signal(signal.SIGALRM, lambda number, frame: None)
signal.set_wakeup_fd(writer)
signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
assert select.select([reader], [], [], 30)[0] == [reader]
assert os.read(reader, 1) == bytes([signal.SIGALRM])
signal.setitimer(signal.ITIMER_REAL, 0)
signal.set_wakeup_fd(-1)

# faulthandler: on a signal, after a while, and on a crash.
with tempfile.TemporaryFile("w+") as log:
    faulthandler.register(signal.SIGUSR1, file=log, all_threads=True)
    os.kill(me, signal.SIGUSR1)
    faulthandler.unregister(signal.SIGUSR1)
    faulthandler.dump_traceback_later(0.05, file=log)
    time.sleep(0.5)
    faulthandler.cancel_dump_traceback_later()
    log.seek(0)
    text = log.read()
    assert text.startswith("Current thread 0x"), text
    assert "Timeout (0:00:00.050000)!" in text and text.count("signals.py") >= 2, text
for number, code, message in (
    (signal.SIGSEGV, "faulthandler._sigsegv()", "Segmentation fault"),
    (signal.SIGABRT, "faulthandler._sigabrt()", "Aborted"),
    (signal.SIGFPE, "faulthandler._sigfpe()", "Floating point exception"),
    (signal.SIGSEGV, "faulthandler._stack_overflow()", "Segmentation fault"),
    (signal.SIGSEGV, "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "Segmentation fault"),
):
    crash = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", "import faulthandler; " + code],
        capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
    )
    assert crash.returncode == -number, (code, crash)
    assert f"Fatal Python error: {message}" in crash.stderr, crash.stderr
late = subprocess.run(
    [sys.executable, "-c",
     "import faulthandler, time; faulthandler.dump_traceback_later(0.1, exit=True); time.sleep(60)"],
    capture_output=True, text=True,
)
assert late.returncode == 1 and "Timeout" in late.stderr, late

# Many signals at once, from several processes: none is lost that waits in a queue.
first = signal.SIGRTMIN
signal.pthread_sigmask(signal.SIG_BLOCK, {first})


def send():
    for _ in range(50):
        os.kill(me, first)


senders = [in_child(send) for _ in range(4)]
assert [reaped(pid) for pid in senders] == [0] * 4
seen = {}
while (info := signal.sigtimedwait({first}, 0)) is not None:
    seen[info.si_pid] = seen.get(info.si_pid, 0) + 1
assert seen == {pid: 50 for pid in senders}, seen
