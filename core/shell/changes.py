"""What well known programs change: their level, half a sentence why, and how it is undone.

Keys are a program, or a program and its first words. A program that is in no table is L2.
``{0}`` and so on are the operands after the key, ``{*}`` all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.risk import Level


@dataclass(frozen=True, slots=True)
class Change:
    """A row of the table."""

    level: Level
    why: str
    undo: str = ""


def _l1(why: str, undo: str = "") -> Change:
    return Change(Level.L1, why, undo)


def _l2(why: str, undo: str = "") -> Change:
    return Change(Level.L2, why, undo)


def _units(tool: str) -> dict[str, Change]:
    return {
        f"{tool} start": _l2("starts a service", f"{tool} stop {{*}}"),
        f"{tool} stop": _l2("stops a service", f"{tool} start {{*}}"),
        f"{tool} restart": _l2("restarts a service"),
        f"{tool} kill": _l2("ends the processes of a service"),
        f"{tool} enable": _l2("changes what starts at boot", f"{tool} disable {{*}}"),
        f"{tool} disable": _l2("changes what starts at boot", f"{tool} enable {{*}}"),
    }


def _packages(tool: str) -> dict[str, Change]:
    return {
        f"{tool} install": _l2("installs software", f"{tool} remove {{*}}"),
        f"{tool} remove": _l2("removes software", f"{tool} install {{*}}"),
        f"{tool} purge": _l2("removes software and its configuration"),
        f"{tool} upgrade": _l2("replaces software with newer versions"),
        f"{tool} autoremove": _l2("removes software"),
    }


def _containers(tool: str) -> dict[str, Change]:
    return {
        f"{tool} start": _l2("starts a container", f"{tool} stop {{*}}"),
        f"{tool} stop": _l2("stops a container", f"{tool} start {{*}}"),
        f"{tool} restart": _l2("restarts a container"),
        f"{tool} pause": _l2("halts a container", f"{tool} unpause {{*}}"),
        f"{tool} unpause": _l2("lets a container go on", f"{tool} pause {{*}}"),
        f"{tool} kill": _l2("kills a container", f"{tool} start {{*}}"),
        f"{tool} rm": _l2("removes a container for good"),
        f"{tool} rmi": _l2("removes an image"),
        f"{tool} exec": _l2("runs a command inside a container"),
        f"{tool} run": _l2("starts a new container"),
        f"{tool} inspect": _l2("shows the environment of a container, where secrets are"),
        f"{tool} cp": _l2("copies files into or out of a container"),
    }


CHANGES: dict[str, Change] = {
    **_units("systemctl"),
    **_containers("docker"),
    **_containers("podman"),
    **_packages("apt"),
    **_packages("apt-get"),
    **_packages("dnf"),
    **_packages("yum"),
    "systemctl reload": _l1("makes a service read its configuration again"),
    "systemctl daemon-reload": _l1("makes systemd read its units again"),
    "systemctl reset-failed": _l1("forgets that a unit failed"),
    "systemctl mask": _l2("forbids a unit to start", "systemctl unmask {*}"),
    "systemctl unmask": _l2("allows a unit to start", "systemctl mask {*}"),
    "systemctl reboot": _l2("restarts the machine"),
    "systemctl poweroff": _l2("switches the machine off"),
    "systemctl show-environment": _l2("shows the environment, where secrets may be"),
    "nginx -s reload": _l1("makes nginx read its configuration again"),
    "apachectl graceful": _l1("makes Apache read its configuration again"),
    "apache2ctl graceful": _l1("makes Apache read its configuration again"),
    "postfix reload": _l1("makes Postfix read its configuration again"),
    "resolvectl flush-caches": _l1("empties the cache of the resolver"),
    "apt update": _l1("fetches the list of packages"),
    "apt-get update": _l1("fetches the list of packages"),
    "logger": _l1("writes a line to the log"),
    "mkdir": _l1("makes a directory", "rmdir {*}"),
    "touch": _l1("makes an empty file or sets its time"),
    "apt full-upgrade": _l2("replaces software with newer versions"),
    "apt-get dist-upgrade": _l2("replaces software with newer versions"),
    "dnf update": _l2("replaces software with newer versions"),
    "yum update": _l2("replaces software with newer versions"),
    "docker system prune": _l2("removes containers, images and networks for good"),
    "docker inspect": _l2("shows the environment of a container, where secrets are"),
    "kubectl delete": _l2("deletes objects of the cluster"),
    "kubectl apply": _l2("changes the cluster"),
    "kubectl exec": _l2("runs a command inside a pod"),
    "kubectl scale": _l2("changes how many copies run"),
    "kubectl drain": _l2("empties a node", "kubectl uncordon {0}"),
    "kubectl cordon": _l2("keeps new pods off a node", "kubectl uncordon {0}"),
    "kubectl uncordon": _l2("lets new pods onto a node", "kubectl cordon {0}"),
    "kubectl rollout restart": _l2("restarts every pod of a workload"),
    "kubectl rollout undo": _l2("goes back to an earlier version"),
    "kubectl get": _l2("may show secrets of the cluster"),
    "git pull": _l2("fetches and merges what others wrote", "git reset --hard ORIG_HEAD"),
    "git push": _l2("sends commits elsewhere"),
    "git commit": _l2("writes a commit", "git reset --soft HEAD~1"),
    "git reset": _l2("may throw away changes"),
    "git clean": _l2("deletes files that git does not know"),
    "git checkout": _l2("replaces files of the working copy", "git checkout -"),
    "rm": _l2("deletes files for good"),
    "rmdir": _l2("removes a directory", "mkdir {*}"),
    "unlink": _l2("deletes a file for good"),
    "shred": _l2("overwrites files for good"),
    "truncate": _l2("cuts files off"),
    "mv": _l2("moves or replaces files"),
    "cp": _l2("copies over files"),
    "install": _l2("copies over files"),
    "ln": _l2("makes a link"),
    "dd": _l2("copies raw data"),
    "tee": _l2("writes files"),
    "chmod": _l2("changes who may read or run files"),
    "chown": _l2("changes who owns files"),
    "chgrp": _l2("changes who owns files"),
    "chattr": _l2("changes what may be done with files"),
    "setfacl": _l2("changes who may read files"),
    "kill": _l2("ends or signals processes"),
    "killall": _l2("ends processes"),
    "pkill": _l2("ends processes"),
    "reboot": _l2("restarts the machine"),
    "shutdown": _l2("switches the machine off"),
    "halt": _l2("stops the machine"),
    "poweroff": _l2("switches the machine off"),
    "init": _l2("changes the state of the machine"),
    "mount": _l2("attaches a file system", "umount"),
    "umount": _l2("detaches a file system"),
    "sysctl": _l2("changes settings of the kernel"),
    "modprobe": _l2("changes the modules of the kernel"),
    "rmmod": _l2("removes a module of the kernel"),
    "insmod": _l2("loads code into the kernel"),
    "iptables": _l2("changes the firewall"),
    "ip6tables": _l2("changes the firewall"),
    "nft": _l2("changes the firewall"),
    "ufw": _l2("changes the firewall"),
    "firewall-cmd": _l2("changes the firewall"),
    "ip": _l2("changes the network"),
    "ifconfig": _l2("changes the network"),
    "hostname": _l2("changes the name of the machine"),
    "hostnamectl": _l2("changes the name of the machine"),
    "date": _l2("may change the clock or read a file"),
    "timedatectl": _l2("changes the clock"),
    "useradd": _l2("adds an account", "userdel"),
    "userdel": _l2("removes an account"),
    "usermod": _l2("changes an account"),
    "passwd": _l2("changes a password"),
    "chpasswd": _l2("changes passwords"),
    "crontab": _l2("changes what runs on a schedule"),
    "at": _l2("runs commands later"),
    "batch": _l2("runs commands later"),
    "curl": _l2("talks to the network, so data can leave"),
    "wget": _l2("talks to the network, so data can leave"),
    "nc": _l2("opens a network connection, so data can leave"),
    "ncat": _l2("opens a network connection, so data can leave"),
    "socat": _l2("opens connections, so data can leave"),
    "telnet": _l2("opens a network connection, so data can leave"),
    "ftp": _l2("talks to the network, so data can leave"),
    "scp": _l2("copies files over the network"),
    "sftp": _l2("copies files over the network"),
    "rsync": _l2("copies or deletes files"),
    "ssh": _l2("runs something on another machine"),
    "python": _l2("runs a program text, which can do anything"),
    "python3": _l2("runs a program text, which can do anything"),
    "perl": _l2("runs a program text, which can do anything"),
    "ruby": _l2("runs a program text, which can do anything"),
    "node": _l2("runs a program text, which can do anything"),
    "php": _l2("runs a program text, which can do anything"),
    "lua": _l2("runs a program text, which can do anything"),
    "psql": _l2("runs statements in a database"),
    "mysql": _l2("runs statements in a database"),
    "mariadb": _l2("runs statements in a database"),
    "sqlite3": _l2("runs statements in a database"),
    "mongosh": _l2("runs statements in a database"),
    "redis-cli": _l2("runs commands in a database"),
    "vim": _l2("edits files and can run anything"),
    "vi": _l2("edits files and can run anything"),
    "nano": _l2("edits files"),
    "ed": _l2("edits files and can run anything"),
    "tar": _l2("packs or unpacks files"),
    "zip": _l2("packs files"),
    "unzip": _l2("unpacks files"),
    "gzip": _l2("replaces files with packed ones"),
    "gunzip": _l2("replaces packed files"),
    "sed": _l2("edits text in a way that is not known to only read"),
    "awk": _l2("runs a program text that may write or run something"),
    "find": _l2("may change the files it finds"),
    "env": _l2("shows the environment, where secrets may be"),
    "printenv": _l2("shows the environment, where secrets may be"),
    "set": _l2("shows every variable or changes how the shell works"),
    "history": _l2("shows the history, where secrets may be"),
    "fc": _l2("shows or runs the history"),
    "base64": _l2("encodes or decodes, so what passes cannot be seen"),
    "base32": _l2("encodes or decodes, so what passes cannot be seen"),
    "openssl": _l2("may use keys or write files"),
    "eval": _l2("runs text that is put together when it runs"),
    "source": _l2("runs the commands of a file"),
    ".": _l2("runs the commands of a file"),
    "alias": _l2("gives a command another meaning"),
    "trap": _l2("runs commands when something happens"),
    "export": _l2("changes the environment of later commands"),
    "docker": _l2("is not known to only read"),
    "tcpdump": _l2("records network traffic, where secrets may be"),
    "strace": _l2("looks into a process, where secrets may be"),
    "gdb": _l2("looks into a process and can change it"),
}  # fmt: skip

EASY_PLACES = ("/tmp/", "/var/tmp/", "/srv/", "/opt/", "/home/", "/root/")  # noqa: S108  # judged, not used
"""Where a new directory or an empty file wakes nobody up; elsewhere it can mean something."""
L1_OPTIONS = frozenset({"-p", "-v", "-q", "-qq", "-y", "-t", "-m", "--no-block", "--"})
"""Options that keep a small change (L1) small; with any other it is L2."""
