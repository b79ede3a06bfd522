"""What a sandboxed process does to itself before it runs a line that a model wrote.

Runs as `python -I -S -c "... from curation.sandbox_child import main; main()"` with JSON settings as its argument: limits,
then Landlock where asked, then a seccomp filter that no later code can lift. Numbers of system calls are the kernel's:
arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h (aarch64).
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import json
import os
import resource
import struct
import sys
from typing import Any

SEALED = b"sealed\n"  # the first bytes on standard output: what follows runs under the limits

# System calls refused with EPERM, as (x86_64, aarch64); -1 where the machine does not have it. No new processes or
# programs, no network, no signals or limits for others, nothing that outlives the process (shared memory, queues), no
# folders or links, no owner or mode of a file (Landlock does not cover those), no way around them (io_uring).
REFUSED = {
    "fork": (57, -1),
    "vfork": (58, -1),
    "execve": (59, 221),
    "execveat": (322, 281),
    "socket": (41, 198),
    "connect": (42, 203),
    "bind": (49, 200),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "kcmp": (312, 272),
    "kill": (62, 129),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438),
    "setpgid": (109, 154),
    "setsid": (112, 157),
    "setpriority": (141, 140),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "ioprio_set": (251, 30),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "memfd_create": (319, 279),
    "mkdir": (83, -1),
    "mkdirat": (258, 34),
    "mknod": (133, -1),
    "mknodat": (259, 33),
    "symlink": (88, -1),
    "symlinkat": (266, 36),
    "link": (86, -1),
    "linkat": (265, 37),
    "chmod": (90, -1),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, -1),
    "fchown": (93, 55),
    "lchown": (94, -1),
    "fchownat": (260, 54),
    "truncate": (76, 45),
    "utime": (132, -1),
    "utimes": (235, -1),
    "futimesat": (261, -1),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
}
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column above, AUDIT_ARCH_*
CLONE, CLONE3, TGKILL, PRLIMIT64 = (56, 220), (435, 435), (234, 131), (302, 261)
PRCTL, FCNTL, IOCTL, CAPSET = (157, 167), (72, 25), (16, 29), (126, 91)

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_CLONE_THREAD = 0x00010000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_F_SETOWN, _F_SETOWN_EX = 8, 15  # with F_SETSIG they send any signal to any process of the same user
_FIOSETOWN, _SIOCSPGRP, _TIOCSTI = 0x8901, 0x8902, 0x5412

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Seal this process as the settings in argv[1] say and call `main` of the module they name."""
    settings = json.loads(sys.argv[1])
    sys.argv[:] = [""]
    sys.path += settings["packages"]
    module = importlib.import_module(settings["module"])
    seal(settings)
    os.write(1, SEALED)
    module.main(*settings["fds"])


def seal(settings: dict[str, Any]) -> None:
    """Limits and filters on this process, for good; raises OSError where the kernel refuses one."""
    _prctl(_PR_SET_PDEATHSIG, 9)
    _prctl(_PR_SET_DUMPABLE, 0)  # /proc/<this>/mem and fd are closed to other processes of the same user
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    for which, soft, hard in settings["limits"]:
        most = resource.getrlimit(which)[1]
        most = hard if most == resource.RLIM_INFINITY else min(hard, most)
        resource.setrlimit(which, (min(soft, most), most))
    if settings["landlock"]:
        restrict_files(settings["readable"], settings["scratch"])
    drop_capabilities(os.uname().machine)
    restrict_calls(os.uname().machine, os.getpid())


def drop_capabilities(machine: str) -> None:
    """Root becomes an ordinary user that owns root's files; for an ordinary user nothing changes."""
    header, none = struct.pack("=Ii", 0x20080522, 0), bytes(24)  # version 3, this process; no effective, permitted, inheritable
    _checked(_libc.syscall(CAPSET[MACHINES[machine][0]], header, none), "capset")


def _prctl(option: int, value: int) -> None:
    _checked(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), f"prctl {option}")


def _checked(result: int, what: str) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def restrict_calls(machine: str, pid: int) -> None:
    """Install the seccomp filter on all threads of this process."""
    program = call_filter(machine, pid)
    text = ctypes.create_string_buffer(program, len(program))

    class Fprog(ctypes.Structure):
        _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    prog = Fprog(len(program) // 8, ctypes.cast(text, ctypes.c_void_p))
    _checked(_libc.prctl(_PR_SET_SECCOMP, 2, ctypes.byref(prog), 0, 0), "seccomp")


def call_filter(machine: str, pid: int) -> bytes:
    """The filter as classic BPF, 8 bytes an instruction: refuses REFUSED, processes, and signals to others than `pid`."""
    column, arch = MACHINES[machine]
    deny, allow = (_RETURN, 0, 0, _ERRNO | errno.EPERM), (_RETURN, 0, 0, _ALLOW)
    code = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, arch), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, 0)]
    code += [(_AT_LEAST, 0, 1, 0x40000000), (_RETURN, 0, 0, _KILL)]  # x32: the same calls under other numbers
    for numbers in REFUSED.values():
        if numbers[column] >= 0:
            code += [(_EQUAL, 0, 1, numbers[column]), deny]
    code += [(_EQUAL, 0, 1, CLONE3[column]), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]  # libc falls back to clone
    low = [16 + 8 * n for n in range(2)]  # offset of the low word of each argument, little-endian
    code += [(_EQUAL, 0, 4, CLONE[column]), (_LOAD, 0, 0, low[0]), (_ANY_BIT, 0, 1, _CLONE_THREAD), allow, deny]
    code += [(_EQUAL, 0, 4, TGKILL[column]), (_LOAD, 0, 0, low[0]), (_EQUAL, 0, 1, pid), allow, deny]
    code += [(_EQUAL, 0, 4, PRLIMIT64[column]), (_LOAD, 0, 0, low[0]), (_EQUAL, 0, 1, 0), allow, deny]
    code += [(_EQUAL, 0, 4, PRCTL[column]), (_LOAD, 0, 0, low[0]), (_EQUAL, 0, 1, _PR_SET_PDEATHSIG), deny, allow]
    for call, commands in ((FCNTL, (_F_SETOWN, _F_SETOWN_EX)), (IOCTL, (_FIOSETOWN, _SIOCSPGRP, _TIOCSTI))):
        code += [(_EQUAL, 0, 2 + 2 * len(commands), call[column]), (_LOAD, 0, 0, low[1])]
        code += [step for command in commands for step in ((_EQUAL, 0, 1, command), deny)] + [allow]
    return b"".join(struct.pack("=HBBI", *step) for step in [*code, allow])


_RULESET, _ADD_RULE, _RESTRICT = 444, 445, 446  # landlock_*, the same numbers on every machine
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE = (1 << n for n in range(6))
_MAKE_DIR, _MAKE_REG, _TRUNCATE = 1 << 7, 1 << 8, 1 << 14
_ALL_FILE_RIGHTS = (1 << 13) - 1  # ABI 1; 1 << 13 is REFER (ABI 2, denied unless granted), 1 << 14 TRUNCATE (ABI 3)


def landlock_abi() -> int:
    """Version of Landlock in this kernel; 0 where there is none."""
    return max(0, int(_libc.syscall(_RULESET, None, ctypes.c_size_t(0), 1)))


def restrict_files(readable: list[str], scratch: str) -> None:
    """From here on only `readable` can be read and only files right in `scratch` written (Landlock)."""
    handled = _ALL_FILE_RIGHTS | (_TRUNCATE if landlock_abi() >= 3 else 0)
    attributes = struct.pack("=Q", handled)
    ruleset = _checked(_libc.syscall(_RULESET, attributes, ctypes.c_size_t(8), 0), "landlock")
    for path in readable:
        _grant(ruleset, path, _EXECUTE | _READ_FILE | _READ_DIR)
    _grant(ruleset, "/dev/null", _READ_FILE | _WRITE_FILE)
    _grant(ruleset, "/dev/urandom", _READ_FILE)
    # No directories in it, so that its size is one flat listing for the process that watches it.
    _grant(ruleset, scratch, (_READ_FILE | _READ_DIR | _WRITE_FILE | _REMOVE_FILE | _MAKE_REG | _TRUNCATE) & handled)
    _checked(_libc.syscall(_RESTRICT, ruleset, 0), "landlock_restrict_self")
    os.close(ruleset)


def _grant(ruleset: int, path: str, rights: int) -> None:
    folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    if not os.path.isdir(path):
        rights &= ~_READ_DIR
    rule = struct.pack("=Qi", rights, folder)
    _checked(_libc.syscall(_ADD_RULE, ruleset, 1, rule, 0), f"landlock rule for {path}")
    os.close(folder)
