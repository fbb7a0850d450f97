"""A Ceph cluster of one monitor, one manager, one disk in a file and a RADOS gateway, on the loopback device only."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

#: What must be installed, by Debian's packages.
PROGRAMS = {
    "ceph-mon": "ceph-mon", "ceph-mgr": "ceph-mgr", "ceph-osd": "ceph-osd", "radosgw": "radosgw", "ceph": "ceph-common",
    "monmaptool": "ceph-common", "radosgw-admin": "radosgw",
}  # fmt: skip

ACCESS_KEY, SECRET_KEY = "AGDACCESSKEY", "agd-secret-key"

#: Without tcp_nodelay a small answer waits for the acknowledgement of the one before it: 20 ms in place of 2.
_CONFIGURATION = """
[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{v2}/0,v1:127.0.0.1:{v1}/0]
mon_initial_members = a
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
# The default of radosgw is "secure", which never gets past the handshake without authentication.
ms_mon_client_mode = crc
osd_pool_default_size = 1
osd_pool_default_min_size = 1
mon_allow_pool_size_one = true
osd_crush_chooseleaf_type = 0
osd_pool_default_pg_num = 8
osd_pool_default_pg_autoscale_mode = off
run_dir = {folder}/run
log_file = {folder}/log/$name.log
admin_socket = {folder}/run/$name.asok
pid_file = {folder}/run/$name.pid
mon_data = {folder}/mon
mgr_data = {folder}/mgr
osd_data = {folder}/osd
osd_objectstore = bluestore
bluestore_block_size = 10737418240
bluestore_block_create = true
osd_memory_target = 1073741824
osd_class_update_on_start = false
mon_data_avail_crit = 1
[client.rgw.a]
rgw_data = {folder}/rgw
rgw_frontends = beast endpoint=127.0.0.1:{gateway} tcp_nodelay=1
rgw_gc_obj_min_wait = 5
rgw_gc_processor_period = 5
"""


def missing() -> list[str]:
    """Debian packages that are needed and not installed."""
    return sorted({package for program, package in PROGRAMS.items() if shutil.which(program) is None})


class Cluster:
    """A cluster in a folder of its own.

    Parameters
    ----------
    folder : Path
        Empty; holds everything, logs included.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.configuration = folder / "ceph.conf"
        ports = _free_ports(3)
        self.endpoint = f"http://127.0.0.1:{ports[2]}"
        for name in ("mon", "mgr", "osd", "run", "log", "rgw"):
            (folder / name).mkdir()
        self._fsid = str(uuid.uuid4())
        self.configuration.write_text(
            _CONFIGURATION.format(fsid=self._fsid, folder=folder, v2=ports[0], v1=ports[1], gateway=ports[2])
        )
        self._addresses = f"[v2:127.0.0.1:{ports[0]},v1:127.0.0.1:{ports[1]}]"

    def _run(self, program: str, *arguments: str, seconds: float = 120) -> str:
        command = [program, *arguments, "-c", str(self.configuration)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-2000:]}")
        return done.stdout

    def start(self) -> None:
        """Make the cluster and start it; returns when the gateway answers."""
        monitors = str(self.folder / "monmap")
        self._run("monmaptool", "--create", "--clobber", "--fsid", self._fsid, "--addv", "a", self._addresses, monitors)
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monitors)
        self._run("ceph-mon", "-i", "a")
        self._run("ceph", "-s", seconds=60)
        self._run("ceph-mgr", "-i", "x")
        disk = str(uuid.uuid4())
        self._run("ceph", "osd", "new", disk)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
        self._run("ceph-osd", "-i", "0")
        _wait(lambda: "1 up" in self._run("ceph", "osd", "stat"), "the disk")
        self.start_gateway()
        self._run(
            "radosgw-admin", "user", "create", "--uid=agd", "--display-name=agd", f"--access-key={ACCESS_KEY}",
            f"--secret-key={SECRET_KEY}",
        )  # fmt: skip

    def start_gateway(self) -> None:
        """Start the gateway and wait until it answers."""
        self._run("radosgw", "-n", "client.rgw.a")
        host, port = self.endpoint.removeprefix("http://").split(":")

        def answers() -> bool:
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
                return True
            return False

        _wait(answers, "the gateway")

    def kill_gateway(self) -> None:
        """End the gateway at once, as a crash would."""
        self._signal("client.rgw.a", signal.SIGKILL)

    def pids(self) -> dict[str, int]:
        """Process ids of the daemons that were started here, by name."""
        found = {}
        for file in sorted((self.folder / "run").glob("*.pid")):
            with contextlib.suppress(ValueError):
                found[file.stem] = int(file.read_text())
        return found

    def _signal(self, name: str, number: int) -> None:
        pid = self.pids().get(name)
        if pid is not None and self._is_ours(pid):
            os.kill(pid, number)
            _wait(lambda: not self._is_ours(pid), f"the end of {name}")

    def _is_ours(self, pid: int) -> bool:
        # A number may have gone to another process: ours were started with this configuration.
        try:
            return str(self.configuration).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False

    def stop(self) -> None:
        """End the daemons that were started here, and no others."""
        for name in ("client.rgw.a", "osd.0", "mgr.x", "mon.a"):
            try:
                self._signal(name, signal.SIGTERM)
            except TimeoutError:
                self._signal(name, signal.SIGKILL)


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A running cluster, stopped at the end."""
    running = Cluster(folder)
    try:
        running.start()
        yield running
    finally:
        running.stop()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _wait(done: Callable[[], bool], what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.1)
