"""Read-only subcommands of what manages services, containers, packages and databases."""

from __future__ import annotations

from core.shell.readers_containers import COMPOSE, DOCKER, DOCKER_LIST, DOCKER_LOGS, HELM, KUBECTL
from core.shell.spec import Opens, Reader, reader

_UNIT = r"[\w@.:%+\\*?\ue001\ue002-]+"
_NAME = r"[\w.:@/-]+"
_any = reader(allow="-n -a -q -v -A -l --namespace --all --no-pager", operands=_NAME)
_bare = reader(allow="-a -q -v -l -r --all --no-pager --quiet", most=0)

_unit = reader(
    allow="-l -n -o -a -q -t -p -r --no-pager --full --lines --output --all --quiet --type --state "
    "--failed --property --value --no-legend --plain --reverse --legend",
    values="-n -o -t -p --lines --output --type --state --property",
    operands=_UNIT,
)
_SYSTEMCTL = reader(
    allow="-l -n -a -t -q --no-pager --full --lines --all --type --state --failed --user --system "
    "--plain --no-legend --quiet",
    values="-n -t --lines --type --state",
    sub={
        "": _bare,
        **dict.fromkeys(
            (
                "status",
                "is-active",
                "is-enabled",
                "is-failed",
                "is-system-running",
                "show",
                "cat",
                "list-units",
                "list-unit-files",
                "list-timers",
                "list-sockets",
                "list-jobs",
                "list-dependencies",
                "list-machines",
                "list-paths",
                "get-default",
            ),
            _unit,
        ),
    },
)
_JOURNALCTL = reader(
    allow="-u -n -f -e -x -xe -r -b -k -p -o -g -t -q -a -l -S -U -N -F -0 -1 -2 -3 --unit "
    "--lines --follow --since "
    "--until --priority --output --grep --identifier --no-pager --reverse --boot --list-boots "
    "--dmesg --disk-usage --no-hostname --utc --quiet --all --full --catalog --no-full --system "
    "--user --user-unit --case-sensitive --output-fields --header --verify",
    values="-u -n -p -o -g -t -S -U -F --unit --lines --since --until --priority --output --grep "
    "--identifier --user-unit --output-fields",
    operands=r"[\w@./=:+-]+",
)
_IP_SHOW = reader(allow="", operands=r"[\w.:/%-]+", most=8)
_ip_object = reader(
    sub={
        "": _bare,
        "show": _IP_SHOW,
        "list": _IP_SHOW,
        "ls": _IP_SHOW,
        "sh": _IP_SHOW,
        "get": _IP_SHOW,
    }
)
_IP = reader(
    allow="-4 -6 -s -d -br -brief -o -j -p -c -color -stats -details -json -statistics -oneline",
    sub=dict.fromkeys(
        (
            "a",
            "addr",
            "address",
            "l",
            "link",
            "r",
            "route",
            "n",
            "neigh",
            "neighbour",
            "rule",
            "ru",
            "maddr",
            "tunnel",
        ),
        _ip_object,
    ),
)

_git_read = reader(
    deny="--ext-diff --textconv --output -O --open-files-in-pager --no-index --contents -S "
    "--show-signature "
    "--exec --upload-pack",
    operands=r"[^-].*",
)
_GIT = reader(
    allow="-C --no-pager",
    values="-C",
    sub={
        **dict.fromkeys(
            (
                "status",
                "log",
                "diff",
                "show",
                "shortlog",
                "rev-parse",
                "describe",
                "blame",
                "ls-files",
                "ls-tree",
                "rev-list",
                "show-ref",
                "whatchanged",
                "merge-base",
                "name-rev",
                "cherry",
                "count-objects",
            ),
            _git_read,
        ),
        "branch": reader(
            allow="-a -r -v -vv --list --all --remotes --show-current --verbose", most=0
        ),
        "tag": reader(allow="-l --list -n", most=0),
        "remote": reader(allow="-v", most=0),
        "stash": reader(sub={"list": _bare}),
        "worktree": reader(sub={"list": _bare}),
        "reflog": _bare,
        "version": _bare,
    },
)

_dpkg = reader(
    allow="-l -L -s -S -p -V -C --list --listfiles --status --search --get-selections "
    "--print-architecture "
    "--audit --verify --print-avail"
)
_rpm = reader(
    allow="-q -a -i -l -f -c -d -R -p -V -qa -qi -ql -qf -qc -qd -qR --query --all --info "
    "--list --last "
    "--requires --provides --changelog --verify --qf --queryformat",
    values="--qf --queryformat",
    needs="-q -qa -qi -ql -qf -qc -qd -qR -V --query --verify",
    operands=r"(?!.*://).*",
)
_dnf_list = reader(
    allow="-q -C --quiet --installed --available --updates --upgrades --cacheonly --all",
    operands=r"[\w.+*\ue001:-]+",
)
_DNF = reader(
    allow="-q -C --quiet --cacheonly",
    sub=dict.fromkeys(
        (
            "list",
            "info",
            "repolist",
            "check-update",
            "search",
            "provides",
            "repoquery",
            "updateinfo",
        ),
        _dnf_list,
    ),
)
_name_list = reader(
    allow="-a -n -i -f -v --installed --upgradable --manual-installed --all-versions -q",
    operands=r"[\w.+*\ue001:-]+",
)

SERVICES: dict[str, Reader] = {
    "systemctl": _SYSTEMCTL,
    "journalctl": _JOURNALCTL,
    "systemd-analyze": reader(
        allow="--no-pager",
        sub={"": _bare, "time": _bare, "blame": _bare, "critical-chain": reader(operands=_UNIT)},
    ),
    "systemd-cgls": reader(allow="--no-pager -l", operands=_UNIT),
    "systemd-cgtop": reader(allow="-b -n -1 -0", values="-n", most=0),
    "systemd-detect-virt": reader(allow="-c -v -q", most=0),
    "resolvectl": reader(
        allow="--no-pager",
        sub={"": _bare, "status": _any, "query": _any, "statistics": _bare, "dns": _bare},
    ),
    "networkctl": reader(allow="--no-pager -a", sub={"": _bare, "status": _any, "list": _any}),
    "ip": _IP,
    "docker": DOCKER,
    "podman": DOCKER,
    "docker-compose": COMPOSE,
    "kubectl": KUBECTL,
    "helm": HELM,
    "crictl": reader(
        allow="",
        sub={
            "ps": DOCKER_LIST,
            "images": DOCKER_LIST,
            "logs": DOCKER_LOGS,
            "pods": DOCKER_LIST,
        },
    ),
    "git": _GIT,
    "dpkg": _dpkg,
    "dpkg-query": reader(allow="-l -L -s -S -W -f --list --show --showformat", values="-f"),
    "rpm": _rpm,
    "apt": reader(
        sub=dict.fromkeys(("list", "show", "search", "policy", "depends", "rdepends"), _name_list)
    ),
    "apt-cache": reader(
        sub=dict.fromkeys(
            ("policy", "show", "search", "depends", "rdepends", "showpkg", "madison", "stats"),
            _name_list,
        )
    ),
    "apt-mark": reader(
        sub={"showhold": _name_list, "showmanual": _name_list, "showauto": _name_list}
    ),
    "dnf": _DNF,
    "yum": _DNF,
    "zypper": reader(sub={"lu": _bare, "list-updates": _bare, "lr": _bare, "repos": _bare}),
    "apk": reader(
        sub={"list": _name_list, "info": _name_list, "policy": _name_list, "version": _bare}
    ),
    "pacman": reader(
        allow="-Q -Qi -Ql -Qo -Qe -Qu -Si -Ss",
        needs="-Q -Qi -Ql -Qo -Qe -Qu -Si -Ss",
        operands=_NAME,
    ),
    "snap": reader(
        sub={"list": _any, "info": _any, "services": _any, "changes": _bare, "version": _bare}
    ),
    "flatpak": reader(sub={"list": _bare}),
    "needs-restarting": reader(allow="-r -s", most=0),
    "nginx": reader(allow="-t -T -v -V -q", needs="-t -T -v -V", most=0),
    "apachectl": reader(allow="-t -S -v -V -M", operands="configtest|fullstatus|status", most=1),
    "apache2ctl": reader(allow="-t -S -v -V -M", operands="configtest|fullstatus|status", most=1),
    "httpd": reader(allow="-t -S -v -V -M", needs="-t -S -v -V -M", most=0),
    "sshd": reader(allow="-t -T", needs="-t -T", most=0),
    "haproxy": reader(allow="-c -f -v -vv", needs="-c -v -vv", values="-f", most=0),
    "named-checkconf": reader(allow="", most=1),
    "visudo": reader(allow="-c -q", needs="-c", most=0),
    "postconf": reader(allow="-n -d -h", operands=r"\w+"),
    "mailq": reader(allow="", most=0),
    "postqueue": reader(allow="-p -j", needs="-p -j", most=0),
    "atq": _bare,
    "crontab": reader(allow="-l -u", needs="-l", values="-u", most=0),
    "chronyc": reader(
        allow="-n -c",
        sub=dict.fromkeys(
            ("tracking", "sources", "sourcestats", "activity", "ntpdata"),
            reader(allow="-v", most=0),
        ),
    ),
    "ntpq": reader(allow="-p -n -pn", needs="-p -pn", most=0),
    "ufw": reader(sub={"status": reader(operands="verbose|numbered", most=1), "version": _bare}),
    "firewall-cmd": reader(
        allow="--state --list-all --list-all-zones --get-active-zones --get-zones --list-ports "
        "--list-services --get-default-zone --zone --permanent --list-rich-rules",
        values="",
        most=0,
    ),
    "nft": reader(allow="-a -n -j", sub={"list": reader(operands=r"\w+")}),
    "fail2ban-client": reader(sub={"status": _any, "ping": _bare, "version": _bare}),
    "zpool": reader(
        sub={
            "status": reader(allow="-v -x -L -P", operands=_NAME),
            "list": reader(allow="-v -H -p", operands=_NAME),
        }
    ),
    "zfs": reader(
        sub={
            "list": reader(allow="-t -r -o -H -p -s", values="-t -o -s", operands=r"[\w.:@/,-]+"),
            "get": reader(allow="-r -H -p", operands=r"[\w.:@/,-]+"),
        }
    ),
    "virsh": reader(sub={"list": reader(allow="--all", most=0), "dominfo": _any, "domstate": _any}),
    "tmux": reader(sub={"ls": _bare, "list-sessions": _bare}),
    "screen": reader(allow="-ls -list", needs="-ls -list", most=0),
    "pg_lsclusters": _bare,
    "pg_isready": reader(allow="-h -p -q -t", values="-h -p -t", most=0, opens=Opens.NAMES),
    "rabbitmqctl": reader(sub={"status": _bare, "list_queues": _any, "cluster_status": _bare}),
    "certbot": reader(sub={"certificates": _bare}),
    "logrotate": reader(
        allow="-d", needs="-d", operands=r"/etc/logrotate\.(?:conf|d/[\w.-]+)", most=1
    ),
    "supervisorctl": reader(sub={"status": _any}),
    "pm2": reader(sub={"ls": _bare, "list": _bare, "status": _bare}),
    "update-alternatives": reader(allow="--list --display --query", operands=r"[\w.+-]+", most=1),
    "cloud-init": reader(
        sub={"status": reader(allow="--long --format", values="--format", most=0)}
    ),
}
VERSIONED = frozenset(
    {
        "ansible",
        "bash",
        "cargo",
        "composer",
        "curl",
        "docker",
        "gcc",
        "git",
        "go",
        "java",
        "kubectl",
        "mariadb",
        "mysql",
        "nginx",
        "node",
        "npm",
        "openssl",
        "perl",
        "php",
        "pip",
        "pip3",
        "psql",
        "python",
        "python3",
        "redis-cli",
        "redis-server",
        "rsync",
        "ruby",
        "ssh",
        "sudo",
        "systemctl",
        "tar",
        "terraform",
        "vim",
        "wget",
    }
)
"""Known programs that only tell their version when asked with one of these words alone."""
VERSION_FLAGS = frozenset({"--version", "-version", "version"})
