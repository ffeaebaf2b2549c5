"""The machine: its processes, their CPU and memory, and the required programs."""

import glob, os, platform, shutil, socket, subprocess, sys

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(HERE)
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
# The package bench/programs.
PROGRAMS = ["plain_page", "page_without_sessions", "plain_notes", "notes_start_page", "signed_in_cookies", "bare_hash", "touch_flush"]


def say(text):
    print(text, file=sys.stderr, flush=True)


def progress(title, done, total):
    """Updates one line in a terminal; elsewhere prints a line for every tenth."""
    if sys.stderr.isatty():
        print(f"\r{title}: {done:,} of {total:,}", end="\n" if done >= total else "", file=sys.stderr, flush=True)
    elif done * 10 // total != progress.tenths.get(title):
        progress.tenths[title] = done * 10 // total
        say(f"{title}: {done:,} of {total:,}")


progress.tenths = {}


def install(*programs):
    """Installs missing programs with the system's package manager."""
    packages = {"wrk": "wrk", "redis-server": "redis-server"}
    missing = [packages[name] for name in programs if not shutil.which(name)]
    if not missing:
        return
    say(f"Installing {', '.join(missing)}.")
    privileged = [] if os.getuid() == 0 else ["sudo", "-n"]
    quiet = {"stdout": subprocess.DEVNULL, "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}}
    if shutil.which("apt-get"):
        subprocess.run([*privileged, "apt-get", "update", "-qq"], **quiet)
        done = subprocess.run([*privileged, "apt-get", "install", "-y", "-qq", *missing], **quiet)
    elif shutil.which("brew"):
        done = subprocess.run(["brew", "install", "--quiet", *(name.replace("redis-server", "redis") for name in missing)], **quiet)
    else:
        sys.exit(f"Install {', '.join(missing)} first.")
    if done.returncode:
        sys.exit(f"{', '.join(missing)} could not be installed.")


def build(programs, profile):
    say("Building.")
    binaries = [part for name in ["frontdesk", *programs] for part in ("--bin", name)]
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", "--workspace", *binaries], check=True, cwd=ROOT, env={**os.environ, **profile})


def program(name="frontdesk"):
    return os.path.join(TARGET, "release", name)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def stat(pid):
    try:
        text = open(f"/proc/{pid}/stat").read()
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()


def processes(root):
    """`root` and all its descendants."""
    children = {}
    for path in glob.glob("/proc/[0-9]*"):
        pid = int(path.split("/")[2])
        fields = stat(pid)
        if fields:
            children.setdefault(int(fields[1]), []).append(pid)
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue += children.get(pid, [])
    return found


def cpu(root):
    """CPU seconds of a process tree, including exited children of `root`."""
    total = 0
    for pid in processes(root):
        fields = stat(pid)
        if fields:
            total += int(fields[11]) + int(fields[12]) + (int(fields[13]) + int(fields[14]) if pid == root else 0)
    return total / TICKS


def memory(root):
    """Resident memory of a process tree in bytes; shared pages count once per process."""
    total = 0
    for pid in processes(root):
        try:
            total += int(open(f"/proc/{pid}/statm").read().split()[1]) * PAGE
        except OSError:
            pass
    return total


def peak_memory(pid):
    """Peak resident memory of one process, in bytes."""
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmHWM")


def version(command):
    return subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT).stdout.strip().split("\n")[0]


def described(postgres=None):
    """Describes the machine without its host name."""
    parts = [platform.machine(), f"{os.cpu_count()} cores", version("uname -s") + " " + version("uname -r").split("-")[0],
             " ".join(version("rustc --version").split()[:2])]
    if postgres:
        parts.append("PostgreSQL " + version(postgres.bin + "/postgres --version").split()[2])
    return ", ".join(parts)
