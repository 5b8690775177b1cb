"""How grave it is to write a file, by its path, and how such a file is checked afterwards."""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.protected import ProtectedPaths
from core.risk import Level

GRAVE: tuple[tuple[str, str], ...] = (
    (r"/etc/ssh/.*", "a mistake there locks everybody out of SSH"),
    (r"/etc/sudoers(?:\.d/.*)?", "it decides who may become root; a mistake locks out sudo"),
    (r"/etc/(?:passwd|group|login\.defs|nsswitch\.conf)", "it decides who can log in"),
    (r"/etc/(?:pam\.d|security|pam\.conf)(?:/.*)?", "it decides who can log in"),
    (r"/etc/fstab|/etc/crypttab", "a mistake there keeps the server from booting"),
    (r"/boot/.*|/etc/default/grub.*|/etc/grub\.d/.*", "a mistake there keeps it from booting"),
    (
        r"/etc/(?:ana)?crontab|/etc/cron\.[^/]+/.*|/var/spool/cron/.*|/etc/at\.(?:allow|deny)",
        "it runs commands at set times",
    ),
    (r"(?:/etc|/usr/lib|/lib|/run)/systemd/.*", "it decides what runs as a service"),
    (
        r"/etc/(?:network|netplan|sysconfig/network[^/]*|NetworkManager)(?:/.*)?",
        "a mistake there cuts the server off the network",
    ),
    (r"/etc/(?:nftables|iptables|ufw|firewalld).*", "it decides who can reach the server"),
    (r"/etc/(?:resolv\.conf|hosts|hostname)", "it decides which names the server finds"),
    (
        r"/etc/(?:profile|bash\.bashrc|environment|zsh/.*|profile\.d/.*)",
        "it runs whenever somebody logs in",
    ),
    (
        r".*/\.(?:bashrc|profile|bash_profile|zshrc|zprofile)",
        "it runs whenever somebody logs in",
    ),
    (r"/etc/ld\.so\..*", "every program loads it"),
    (r"/(?:usr/(?:local/)?)?s?bin/.*|/(?:usr/)?lib(?:32|64)?/.*|/opt/.*", "programs are there"),
    (r"/etc/(?:apt|yum|dnf|zypp|apk)(?:/.*|\..*)?", "it decides where software comes from"),
)
"""Paths whose change deserves a word; the first that fits tells why."""
_COMPILED = tuple((re.compile(pattern), why) for pattern, why in GRAVE)
_SCRATCH = re.compile(r"/(?:var/)?tmp/.+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A program that says whether a configuration is right; 127 means it is not installed."""

    path: str
    command: str


CHECKS: tuple[Check, ...] = (
    Check(path=r"/etc/nginx/.*", command="nginx -t"),
    Check(path=r"/etc/ssh/sshd_config(?:\.d/.*)?", command="sshd -t"),
    Check(path=r"/etc/sudoers(?:\.d/.*)?", command="visudo -c"),
    Check(path=r"/etc/apache2/.*", command="apache2ctl configtest"),
    Check(path=r"/etc/httpd/.*", command="httpd -t"),
    Check(path=r"/etc/haproxy/.*\.cfg", command="haproxy -c -f /etc/haproxy/haproxy.cfg"),
    Check(path=r"/etc/fstab", command="findmnt --verify"),
    Check(path=r"/etc/(?:bind|named)(?:/.*|\.conf)", command="named-checkconf"),
    Check(path=r"/etc/netplan/.*", command="netplan generate"),
)


def write_level(path: str, protected: ProtectedPaths) -> tuple[Level, tuple[str, ...]]:
    """The level of writing this path, and why."""
    why = protected.why(path)
    if why:
        return Level.L3, (why,)
    if _SCRATCH.fullmatch(path) and "/../" not in path:
        return Level.L1, ("it writes a scratch file",)
    for pattern, reason in _COMPILED:
        if pattern.fullmatch(path):
            return Level.L2, (f"critical file: {reason}",)
    return Level.L2, ("it changes a file",)


def check_for(path: str) -> str | None:
    """The command that checks what was written, if there is one."""
    fitting = (each.command for each in CHECKS if re.fullmatch(each.path, path))
    return next(fitting, None)
