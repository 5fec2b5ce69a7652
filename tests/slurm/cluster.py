"""A real SLURM of one node for the tests, private to the process that starts it.

`python tests/slurm/cluster.py` starts one by hand and prints what to export; Ctrl-C ends it. Wants root on Debian or Ubuntu:
missing packages are installed. Nothing outside its folder is touched, so that clusters side by side do not meet.
"""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PROGRAMS = {"munged": "munge", "slurmctld": "slurmctld", "slurmd": "slurmd", "sbatch": "slurm-client"}  # and their packages
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"

# Submitit asks sacct whether a job lives, and without an answer waits for ever. A database for that is not worth its start-up:
# slurmctld remembers ended jobs for a day (MinJobAge).
SACCT = """#!/bin/sh
echo 'JobID|State|NodeList'
squeue --states=all --array --noheader --format='%i|%T|%N'
"""

CONFIG = """
ClusterName=private
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
MailProg=/bin/true

AuthType=auth/munge
CredType=cred/munge
# A requeued job waits until its credential has expired: 120 s if nothing is said.
AuthInfo=socket={folder}/munge.socket,cred_expire=10

# What needs neither cgroups nor a database. Memory is not counted: a job that asks for none would get all of it.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
MinJobAge=86400
KillWait=5

# Start jobs at once rather than in the next round.
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1

GresTypes=gpu
SlurmdParameters=config_overrides
NodeName=localhost NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=200000 Gres=gpu:1 State=UNKNOWN
PartitionName=debug Nodes=localhost Default=YES MaxTime=INFINITE State=UP
"""


class Cluster:
    """A cluster with a partition `debug` of one node, which claims `cpus` CPUs and one GPU (there is none)."""

    def __init__(self, folder: Path, cpus: int = 8) -> None:
        if len(str(folder)) > 80:
            raise ValueError(f"{folder}: too long for the name of a socket")
        self.folder = folder
        self.cpus = cpus
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": f"{folder}/bin:{PATH}"}
        self._daemons: list[subprocess.Popen[bytes]] = []

    def up(self) -> None:
        install()
        self._write()
        self._start("munged", "--foreground", "--force", f"--key-file={self.folder}/munge.key", *self._munge_files())
        self._wait(self._answers("munge", "--no-input", f"--socket={self.folder}/munge.socket"), "munged does not answer")
        self._start("slurmctld", "-D")
        self._wait(self._answers("scontrol", "ping"), "slurmctld does not answer")
        self._start("slurmd", "-D", "-N", "localhost")
        self._wait(lambda: self.run("sinfo", "--noheader", "--format=%t").stdout.strip() == "idle", "the node does not get idle")

    def down(self) -> None:
        self.run("scancel", "--full", "--signal=KILL", "--user=root")
        self.run("scancel", "--user=root")
        for daemon in reversed(self._daemons):
            daemon.terminate()
            daemon.wait(timeout=30)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | self.environment
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    def _write(self) -> None:
        for name in ("state", "spool", "bin", "log"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        controller, daemon = free_ports(2)
        config = CONFIG.format(folder=self.folder, cpus=self.cpus, controller=controller, daemon=daemon)
        (self.folder / "slurm.conf").write_text(config)
        (self.folder / "gres.conf").write_text("NodeName=localhost Name=gpu File=/dev/null\n")
        (self.folder / "bin" / "sacct").write_text(SACCT)
        (self.folder / "bin" / "sacct").chmod(0o755)

    def _munge_files(self) -> list[str]:
        places = {"socket": "munge.socket", "pid-file": "munged.pid", "log-file": "log/munged.log", "seed-file": "munged.seed"}
        return [f"--{option}={self.folder}/{name}" for option, name in places.items()]

    def _start(self, *command: str) -> None:
        with (self.folder / "log" / f"{command[0]}.out").open("wb") as log:
            daemon = subprocess.Popen(command, env=os.environ | self.environment, stdout=log, stderr=log, start_new_session=True)
        self._daemons.append(daemon)

    def _answers(self, *command: str) -> Callable[[], bool]:
        return lambda: self.run(*command).returncode == 0

    def _wait(self, ready: Callable[[], bool], complaint: str) -> None:
        end = time.monotonic() + 60
        while not ready():
            if time.monotonic() > end or any(daemon.poll() is not None for daemon in self._daemons):
                logs = "\n".join(path.read_text(errors="replace")[-2000:] for path in (self.folder / "log").iterdir())
                self.down()
                raise RuntimeError(f"{complaint}\n{logs}")
            time.sleep(0.1)


def install() -> None:
    missing = [package for program, package in PROGRAMS.items() if not shutil.which(program, path=PATH)]
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise RuntimeError(f"the tests marked slurm need root and Debian's packages {' '.join(missing)}")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *missing]):
        apt = ["apt-get", "--quiet", "--option=DPkg::Lock::Timeout=300", *command]
        subprocess.run(apt, env=environment, stdout=sys.stderr, check=True)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def main() -> None:
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="slurm-")))
    cluster.up()
    print("\n".join(f"export {name}={value}" for name, value in cluster.environment.items()), flush=True)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        cluster.down()


if __name__ == "__main__":
    main()
