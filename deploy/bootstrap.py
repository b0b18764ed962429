"""Make .venv ready for work: what every target of the Makefile needs first.

Run by whatever Python the machine has, so this file uses nothing that Python 3.6 lacks: an old
Python must get as far as the sentence that says it is too old. Checks come before work:

1. Python new enough, with the modules `venv` and `ensurepip`;
2. room on the disk;
3. a .venv that works, or a new one;
4. `pip install -c constraints.txt -e '.[dev]'`, with the whole output in .venv/install.log.

The Makefile writes a stamp file afterwards and calls this again only when pyproject.toml,
constraints.txt or this file changed.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import time

OLDEST = (3, 11)

ROOM_GB = 8.0
"""Gigabytes for the default Linux build of torch: 5.5 installed and up to 2.5 while unpacking."""

ROOM_LEAN_GB = 3.0
"""Gigabytes without CUDA: another package index was given, or this is not Linux."""

ROOM_AGAIN_GB = 0.5
"""Gigabytes when torch is there already and only something changed."""

LOG_TAIL = 25
"""Lines of pip's output to show when it fails: fewer hide the reason, more hide the end."""

SKIP_ROOM_CHECK = "ANOEAN_SKIP_DISK_CHECK"


def main(venv):
    """Make the virtual environment `venv` ready, or stop with a sentence."""
    check_python()
    python = os.path.join(venv, "bin", "python")
    check_room(venv)
    if not works(python):
        say("creating %s with Python %s" % (venv, version()))
        clear = ["--clear"] if os.path.exists(venv) else []
        if subprocess.call([sys.executable, "-m", "venv"] + clear + [venv]) != 0:
            stop("%s could not be created; the lines above say why" % venv)
    install(python, os.path.join(venv, "install.log"))


def version():
    """Say which Python runs this."""
    return ".".join(str(part) for part in sys.version_info[:3])


def say(text):
    """Tell what is being done; on stderr, as stdout belongs to the command that follows."""
    sys.stderr.write("==> %s\n" % text)
    sys.stderr.flush()


def stop(text):
    """End with what is missing, and how to get it."""
    sys.stderr.write("error: %s\n" % text)
    sys.exit(2)


def check_python():
    """Refuse a Python that is too old or has been shipped in pieces."""
    if sys.version_info < OLDEST:
        stop(
            "Anoean needs Python %d.%d or newer, %s is %s; install one and run again, "
            "or name it: make PYTHON=/path/to/python3.11 ..."
            % (OLDEST[0], OLDEST[1], sys.executable, version())
        )
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            stop(
                "%s has no module '%s', so it cannot make a virtual environment; on Debian and "
                "Ubuntu: apt-get install python%d.%d-venv"
                % (sys.executable, module, sys.version_info[0], sys.version_info[1])
            )


def check_room(venv):
    """Refuse to begin an installation that would fill the disk."""
    if os.environ.get(SKIP_ROOM_CHECK):
        return
    other_index = os.environ.get("PIP_EXTRA_INDEX_URL") or os.environ.get("PIP_INDEX_URL")
    lib = os.path.join(venv, "lib", "python%d.%d" % sys.version_info[:2], "site-packages", "torch")
    if os.path.exists(lib):
        needed = ROOM_AGAIN_GB
    elif other_index or not sys.platform.startswith("linux"):
        needed = ROOM_LEAN_GB
    else:
        needed = ROOM_GB
    free = shutil.disk_usage(".").free / 1e9
    if free < needed:
        stop(
            "the installation needs about %.1f GB, the disk of %s has %.1f GB free; make room, or "
            "take torch's CPU build (see 'Installation' in README.md), or set %s=1 to try anyway"
            % (needed, os.getcwd(), free, SKIP_ROOM_CHECK)
        )


def works(python):
    """Tell whether this virtual environment can install packages."""
    try:
        with open(os.devnull, "w") as nowhere:
            check = "import sys, pip; sys.exit(sys.version_info < (%d, %d))" % OLDEST
            return subprocess.call([python, "-c", check], stdout=nowhere, stderr=nowhere) == 0
    except OSError:
        return False


def install(python, log_path):
    """Install the project with everything that was tested, telling what is fetched."""
    say("installing Anoean and what it needs, once (torch is large: 2 to 10 minutes)")
    command = [python, "-m", "pip", "install", "--disable-pip-version-check"]
    command += ["--progress-bar", "off", "--constraint", "constraints.txt", "--editable", ".[dev]"]
    began = time.time()
    lines = []
    with open(log_path, "w") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True
        )
        for line in process.stdout:
            log.write(line)
            lines.append(line.rstrip())
            words = line.split()
            if words[:1] == ["Downloading"] and words[-1:] == ["MB)"]:
                say(
                    "  fetching %s %s" % (words[1].split("/")[-1].split("-")[0], words[-2] + " MB)")
                )
            elif words[:2] == ["Installing", "collected"]:
                say("  unpacking %d packages" % (len(words) - 3))
        code = process.wait()
    if code != 0:
        sys.stderr.write("\n".join(lines[-LOG_TAIL:]) + "\n")
        stop(
            "pip could not install the project; its last lines are above, all of them in %s; "
            "is the network (or the proxy) there? Run the same command again to try again"
            % log_path
        )
    say("installed in %.0f s" % (time.time() - began))


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except KeyboardInterrupt:
        stop("stopped; run the same command again to go on")
