"""What a developer waits for: builds from nothing, the first page of a new site, a change of a handler, a change of a
template, and the commands of the tutorial."""

import os, re, shutil, statistics, subprocess, time, tomllib, urllib.request

from . import machine, servers

NOTES = os.path.join(machine.ROOT, "examples", "notes")
# Sites share the compiled crates.
CARGO = {"CARGO_NET_OFFLINE": "true", "CARGO_TARGET_DIR": machine.TARGET}


def cargo(folder, *words, **env):
    """Runs cargo without network access, and returns the seconds and the output."""
    began = time.perf_counter()
    done = subprocess.run(["cargo", *words], cwd=folder, env={**os.environ, **CARGO, **env}, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f"cargo {' '.join(words)} failed")
    return time.perf_counter() - began, done.stdout


def builds(work):
    """Seconds to build the site with all of its crates, which are downloaded already."""
    found = {}
    for name, words in [("debug", []), ("release", ["--release"])]:
        target = os.path.join(work, "cold")
        machine.say(f"Building the notes site from nothing ({name}).")
        found[name], _ = cargo(NOTES, "build", "--locked", "--quiet", *words, CARGO_TARGET_DIR=target)
        shutil.rmtree(target)
        machine.say(f"{name}: {found[name]:.0f} s")
    return found


def watcher():
    """Bytes of a watched session, which a test computes from the size of its parts."""
    _, output = cargo(machine.ROOT, "test", "--locked", "--quiet", "--lib", "a_watched_session_takes", "--", "--nocapture")
    return int(re.search(r"a watched session: (\d+) bytes", output)[1])


def crates(folder, kinds, *words):
    """The number of different crates, without the one in `folder`."""
    _, tree = cargo(folder, "tree", "--locked", "--edges", kinds, "--prefix", "none", "--format", "{p}", *words)
    return len({line.removesuffix(" (*)") for line in tree.splitlines()}) - 1


def features():
    """For each feature of the crate that is on by default: the crates that a site needs less without it."""
    default = tomllib.load(open(os.path.join(machine.ROOT, "Cargo.toml"), "rb"))["features"].get("default", [])
    count = lambda chosen: crates(machine.ROOT, "normal", "--package", "frontdesk", "--no-default-features", "--features", ",".join(chosen))
    everything = count(default)
    return dict(everything=everything, nothing=count([]), rows=[dict(name=name, less=everything - count([each for each in default if each != name])) for name in default])


def new(folder, *words):
    """Runs `frontdesk new`, with the versions of the crates that are compiled already."""
    subprocess.run([machine.program(), "new", folder, "--frontdesk-path", machine.ROOT, *words], check=True, stdout=subprocess.PIPE)
    name = os.path.basename(folder)
    lock = open(os.path.join(NOTES, "Cargo.lock")).read()
    with open(os.path.join(folder, "Cargo.lock"), "w") as out:
        out.write(lock.replace('name = "notes"', f'name = "{name}"'))


def first_page(work, folder):
    """Seconds from `frontdesk new` to the first page of `cargo run`, with a private PostgreSQL."""
    data = os.path.join(work, "data")
    port = machine.free_port()
    began = time.perf_counter()
    new(folder)
    env = {"PORT": str(port), "FRONTDESK_BIND": f"127.0.0.1:{port}", "DATABASE_URL": None, "FRONTDESK_DATA_DIR": data, **CARGO}
    server = servers.Server(work, "new", ["cargo", "run", "--quiet"], env, ready="/", every=0.05, folder=folder)
    took = time.perf_counter() - began
    server.stop()
    return took


def change(path, before, after):
    text = open(path).read()
    if before not in text:
        raise RuntimeError(f"{path} does not contain {before!r}")
    with open(path, "w") as out:
        out.write(text.replace(before, after))


def rebuilds(folder, count=5):
    """Seconds to build the site after a change of a handler, median."""
    handlers, notice, took = os.path.join(folder, "src", "main.rs"), "Note added.", []
    for number in range(count):
        change(handlers, f'"{notice}"', f'"Note {number} added."')
        notice = f"Note {number} added."
        took.append(cargo(folder, "build", "--quiet")[0])
    return statistics.median(took)


def template_change(environment, folder, program):
    """Milliseconds of the first request after a change of a template, and of one before; nothing is built."""
    environment.postgres.create("templates")
    server = servers.frontdesk(environment.work, "templates", environment.postgres.url("templates"), program=program)

    def get(text):
        began = time.perf_counter()
        page = urllib.request.urlopen(server.base + "/").read().decode()
        if text not in page:
            raise RuntimeError(f"the page does not show {text!r}")
        return (time.perf_counter() - began) * 1000

    try:
        text, first, later = "Keep your notes in one place.", [], []
        for number in range(10):
            changed = f"Keep {number} notes."
            later.append(get(text))
            change(os.path.join(folder, "templates", "start.html"), text, changed)
            first.append(get(changed))
            text = changed
    finally:
        server.stop()
    return dict(changed=statistics.median(first), unchanged=statistics.median(later))


def commands(work, program):
    """Seconds of the tutorial's commands that build nothing."""
    began = time.perf_counter()
    new(os.path.join(work, "tutorial"), "--bare")
    subprocess.run([program, "routes"], cwd=work, check=True, stdout=subprocess.PIPE)
    return time.perf_counter() - began


def run(environment):
    machine.say("Building the crates of a new site.")
    cargo(NOTES, "build", "--locked", "--quiet")
    folder = os.path.join(environment.work, "my-site")
    program = os.path.join(machine.TARGET, "debug", "my-site")
    page = first_page(environment.work, folder)
    machine.say(f"a new site: the first page after {page:.1f} s")
    # A setting of Cargo in the environment: "0" is less to write and to link than a new site has.
    found = dict(page=page, rebuild=rebuilds(folder), debug=os.environ.get("CARGO_PROFILE_DEV_DEBUG"))
    found["template"] = template_change(environment, folder, program)
    found["commands"] = commands(environment.work, os.path.join(machine.TARGET, "debug", "notes"))
    machine.say(f"after a change of a handler: {found['rebuild']:.1f} s; of a template: {found['template']['changed']:.0f} ms; the tutorial's commands: {found['commands']:.2f} s")
    return found
