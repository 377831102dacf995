"""A throw-away container in which this machine's own systemd runs as PID 1, with its own processes and network.

Its file system is an overlay: this machine's root below, a tmpfs above. So everything is there that is installed here,
nothing here is ever written to, and all of it is gone with the last process of the box.

Needs root, systemd, dbus, iproute2 and util-linux, and a kernel that lets root make namespaces and overlays.
"""

import os
import shutil
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

import ocpp16_bridge

PROGRAMS = {
    "/lib/systemd/systemd": "systemd",
    "dbus-daemon": "dbus",
    "ip": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
}

_PATIENCE = 20.0  # s

# The first shell gives the box a control group of its own: the namespace made by the second `unshare` is rooted there,
# so that the box sees and removes only its own units' groups. /mnt is private to the box from the first mount on.
_OUTER = r"""
mount --make-rprivate /
mount -t cgroup2 cgroup2 /mnt
mkdir "/mnt/$1"
echo $$ > "/mnt/$1/cgroup.procs"
umount /mnt
exec unshare --mount --pid --uts --ipc --net --cgroup --fork --kill-child bash -eux -c "$2" box
"""

_INNER = r"""
read -r pid _ < /proc/self/stat  # seen through the /proc outside: the number outside
echo "$pid"
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir -p /mnt/upper/etc/systemd/system /mnt/work /mnt/root
root=/mnt/root

# What makes no sense in a container, or would wait for a network.
for unit in sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
    sys-fs-fuse-connections.mount dev-hugepages.mount dev-mqueue.mount proc-sys-fs-binfmt_misc.automount \
    proc-sys-fs-binfmt_misc.mount systemd-binfmt.service systemd-modules-load.service systemd-sysctl.service \
    systemd-udevd.service systemd-udevd-kernel.socket systemd-udevd-control.socket \
    systemd-udev-trigger.service systemd-remount-fs.service systemd-timesyncd.service \
    systemd-random-seed.service systemd-pstore.service systemd-journald-audit.socket systemd-firstboot.service \
    systemd-ask-password-console.path systemd-update-utmp.service systemd-hwdb-update.service \
    systemd-machine-id-commit.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_all.timer fstrim.timer man-db.timer logrotate.timer networking.service \
    systemd-networkd-wait-online.service NetworkManager-wait-online.service ifupdown-wait-online.service; do
    ln -s /dev/null /mnt/upper/etc/systemd/system/$unit
done
cat > /mnt/upper/etc/systemd/system/box.target <<TARGET
[Unit]
Requires=basic.target dbus.service
After=basic.target dbus.service
AllowIsolate=yes
TARGET

mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work $root
mount -t proc proc $root/proc
mount -t sysfs -o ro sysfs $root/sys
mount -t cgroup2 cgroup2 $root/sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs $root/run
mount -t tmpfs -o mode=1777 tmpfs $root/tmp
mount -t tmpfs -o mode=755 tmpfs $root/dev
for node in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
    IFS=: read -r name major minor <<< "$node"
    mknod -m 666 $root/dev/$name c $major $minor
done
mkdir $root/dev/pts $root/dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts $root/dev/pts
mount -t tmpfs tmpfs $root/dev/shm
ln -s pts/ptmx $root/dev/ptmx
ln -s /proc/self/fd $root/dev/fd
for number in 0:stdin 1:stdout 2:stderr; do ln -s fd/${number%:*} $root/dev/${number#*:}; done
mount --bind $root/proc/sys $root/proc/sys
mount -o remount,bind,ro $root/proc/sys  # sysctls without namespace are this machine's
ip link set lo up
hostname box
cd $root
pivot_root . mnt
umount -l /mnt
mount --make-rshared /  # or the folders of LoadCredential= never appear
exec env -i container=box PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb \
    /lib/systemd/systemd --system --unit=box.target --log-target=journal < /dev/null
"""

_REMOVE_CONTROL_GROUPS = r"""
mount --make-rprivate /
mount -t cgroup2 cgroup2 /mnt
[ ! -d "/mnt/$1" ] || find "/mnt/$1" -depth -type d -exec rmdir {} +
"""


class BoxUnavailableError(Exception):
    """This machine cannot boot a box; the text says what is missing, or which step the kernel refused."""


class Box:
    def __init__(self) -> None:
        """Boot. Raises: BoxUnavailableError."""
        check_programs()
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `close`
        self._group = f"ocpp16-bridge-box-{os.getpid()}"
        # setpriv: a test run that is killed takes its box along.
        shell = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "bash", "-eux", "-c", _OUTER]
        self._process = subprocess.Popen(
            [*shell, "box", self._group, _INNER], stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        assert self._process.stdout
        self._pid = self._process.stdout.readline().strip()
        if not eventually(lambda: self._has_ended() or self._is_up()) or self._has_ended():
            raise BoxUnavailableError(self.close())

    def close(self) -> str:
        """Kill every process of the box, and with them its file system. Returns the last step of the boot."""
        self._process.kill()  # and --kill-child PID 1 of the box
        self._process.communicate()
        self._remove_control_groups()
        with self._log as log:
            log.seek(0)
            return " ".join(log.read().rpartition("+ ")[2].split())

    def run(self, *command: str) -> str:
        """Run `command` inside and return what it wrote, stripped; it has to end with status 0."""
        result = self.result(*command)
        assert result.returncode == 0, f"{' '.join(command)}: status {result.returncode}: {result.stdout}"
        return result.stdout.strip()

    def result(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*command), check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60
        )

    def command(self, *command: str) -> list[str]:
        """The command line that runs `command` inside."""
        return ["nsenter", "--target", self._pid, "--all", *command]

    def path(self, inside: str) -> Path:
        """Where a file or folder of the box can be reached from here."""
        return Path(f"/proc/{self._pid}/root{inside}")

    def write(self, inside: str, text: str, mode: int = 0o644) -> None:
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def property(self, unit: str, name: str) -> str:
        """One property of a unit, as `systemctl show` names it."""
        return self.run("systemctl", "show", "--value", "-p", name, unit)

    def _is_up(self) -> bool:
        return self.result("systemctl", "is-active", "box.target").stdout.strip() == "active"

    def _has_ended(self) -> bool:
        return self._process.poll() is not None

    def _remove_control_groups(self) -> None:
        remove = ["unshare", "--mount", "bash", "-euc", _REMOVE_CONTROL_GROUPS, "box", self._group]
        patience = 5 if self._pid else 0  # a process that was killed stays in its group for a moment
        eventually(lambda: subprocess.run(remove, check=False, capture_output=True).returncode == 0, patience)


def check_programs() -> None:
    """Raises: BoxUnavailableError."""
    if os.geteuid() != 0:
        raise BoxUnavailableError("only root can boot a box")
    missing = {package for program, package in PROGRAMS.items() if shutil.which(program) is None}
    if missing:
        raise BoxUnavailableError(f"not installed: {', '.join(sorted(missing))}")


def eventually(condition: Callable[[], bool], patience: float = _PATIENCE) -> bool:
    """Whether `condition` becomes true within `patience` seconds."""
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def install(box: Box, folder: str) -> None:
    """Put this package and what it needs into a new virtual environment of the box's /usr/bin/python3.

    The files come from the environment in which the tests run: no network, the versions under test.
    Raises: BoxUnavailableError, if the two Pythons have different binary interfaces.
    """
    ours, theirs = (str(sysconfig.get_config_var("SOABI")), box.run("/usr/bin/python3", "-c", _PRINT_SOABI))
    if ours != theirs:
        raise BoxUnavailableError(f"the tests run with {ours}, /usr/bin/python3 is {theirs}")
    box.run("/usr/bin/python3", "-m", "venv", "--clear", "--without-pip", folder)
    packages = box.path(box.run(f"{folder}/bin/python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"))
    for distribution in _dependencies("ocpp16-bridge"):
        for file in distribution.files or ():
            if ".." not in file.parts:  # scripts and manual pages
                (packages / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file.locate(), packages / file)
    source = Path(ocpp16_bridge.__file__).parent
    shutil.copytree(source, packages / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    box.run(f"{folder}/bin/python", "-m", "compileall", "-q", f"{folder}/lib")


_PRINT_SOABI = "import sysconfig; print(sysconfig.get_config_var('SOABI'))"


def _dependencies(name: str) -> Iterator[metadata.Distribution]:
    """What `name` needs to run, and what that needs in turn; a distribution may come more than once."""
    for line in metadata.requires(name) or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield metadata.distribution(requirement.name)
            yield from _dependencies(requirement.name)
