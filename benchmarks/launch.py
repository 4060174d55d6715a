"""Start one program, wait for its end, and tell what it took; run by `python -I -S`, with built-in modules only.

The kernel counts a parent's memory as its child's peak, so what is measured is started by something small. Two lines
come out: number and start of the process; then wall and processor seconds, peak memory in KiB, and the exit code. The
peak is that of the largest process among the program and the children it has waited for.
"""

import posix
import sys
import time

FILES = [
    (posix.POSIX_SPAWN_OPEN, 0, "/dev/null", posix.O_RDONLY, 0),
    (posix.POSIX_SPAWN_OPEN, 1, "/dev/null", posix.O_WRONLY, 0),
    (posix.POSIX_SPAWN_OPEN, 2, "stderr", posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND, 0o600),
]

start = time.monotonic()
pid = posix.posix_spawn(sys.argv[1], sys.argv[1:], posix.environ, file_actions=FILES)
print(pid, start, flush=True)
_, status, usage = posix.wait4(pid, 0)
wall = time.monotonic() - start
print(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, posix.waitstatus_to_exitcode(status), flush=True)
