"""Read-only subcommands of what manages services, containers, packages and databases."""

from __future__ import annotations

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
                "status", "is-active", "is-enabled", "is-failed", "is-system-running", "show", "cat",
                "list-units", "list-unit-files", "list-timers", "list-sockets", "list-jobs",
                "list-dependencies", "list-machines", "list-paths", "get-default",
            ),
            _unit,
        ),
    },
)  # fmt: skip
_JOURNALCTL = reader(
    allow="-u -n -f -e -x -xe -r -b -k -p -o -g -t -q -a -l -S -U -N -F -0 -1 -2 -3 --unit --lines --follow --since "
    "--until --priority --output --grep --identifier --no-pager --reverse --boot --list-boots "
    "--dmesg --disk-usage --no-hostname --utc --quiet --all --full --catalog --no-full --system "
    "--user --user-unit --case-sensitive --output-fields --header --verify",
    values="-u -n -p -o -g -t -S -U -F --unit --lines --since --until --priority --output --grep "
    "--identifier --user-unit --output-fields",
    operands=r"[\w@./=:+-]+",
)
_IP_SHOW = reader(allow="", operands=r"[\w.:/%-]+", most=8)
_ip_object = reader(
    sub={"": _bare, "show": _IP_SHOW, "list": _IP_SHOW, "ls": _IP_SHOW, "sh": _IP_SHOW,
         "get": _IP_SHOW}
)  # fmt: skip
_IP = reader(
    allow="-4 -6 -s -d -br -brief -o -j -p -c -color -stats -details -json -statistics -oneline",
    sub=dict.fromkeys(
        ("a", "addr", "address", "l", "link", "r", "route", "n", "neigh", "neighbour", "rule", "ru",
         "maddr", "tunnel"),
        _ip_object,
    ),
)  # fmt: skip

_docker_list = reader(
    allow="-a -q -f -n -l -s --all --quiet --filter --format --no-trunc --last --latest --size "
    "--digests",
    values="-f -n --filter --format --last",
    operands=_NAME,
)
_docker_logs = reader(
    allow="-f -n -t --follow --tail --since --until --timestamps --details --no-color "
    "--no-log-prefix",
    values="-n --tail --since --until",
    operands=_NAME,
)
_COMPOSE = reader(
    allow="",
    sub={"ps": _docker_list, "ls": _docker_list, "logs": _docker_logs, "images": _docker_list,
         "top": _any, "version": _bare},
)  # fmt: skip
_DOCKER = reader(
    allow="",
    sub={
        "ps": _docker_list,
        "images": _docker_list,
        "logs": _docker_logs,
        "stats": reader(allow="-a --all --no-stream --format --no-trunc", values="--format", operands=_NAME),
        "top": reader(operands=_NAME, most=1),
        "port": _any,
        "diff": _any,
        "history": _docker_list,
        "version": reader(allow=""),
        "info": reader(allow=""),
        "events": reader(allow="--since --until --filter -f", values="--since --until --filter -f", most=0),
        "compose": _COMPOSE,
        "container": reader(allow="", sub={"ls": _docker_list, "logs": _docker_logs, "top": _any}),
        "image": reader(allow="", sub={"ls": _docker_list, "history": _docker_list}),
        "network": reader(allow="", sub={"ls": _docker_list, "inspect": _any}),
        "volume": reader(allow="", sub={"ls": _docker_list, "inspect": _any}),
        "system": reader(allow="", sub={"df": reader(allow="-v --verbose")}),
        "node": reader(allow="", sub={"ls": _docker_list, "ps": _docker_list}),
        "service": reader(allow="", sub={"ls": _docker_list, "ps": _docker_list, "logs": _docker_logs}),
        "stack": reader(allow="", sub={"ls": _docker_list, "ps": _docker_list, "services": _docker_list}),
    },
)  # fmt: skip

_NO_SECRET = r"(?i)(?!.*secret)[\w.,:@/-]+"  # noqa: S105  # a pattern that keeps secrets out
_kube_get = reader(
    allow="-n -A -o -w -l -L --namespace --all-namespaces --output --watch --selector --show-labels "
    "--no-headers --sort-by --field-selector --show-kind --ignore-not-found --context",
    values="-n -o -l -L --namespace --output --selector --sort-by --field-selector --context",
    operands=_NO_SECRET,
)
_kube_logs = reader(
    allow="-n -c -f -p -l --namespace --container --follow --previous --selector --tail --since "
    "--since-time --timestamps --all-containers --prefix --context",
    values="-n -c -l --namespace --container --selector --tail --since --since-time --context",
    operands=_NAME,
)
_KUBECTL = reader(
    allow="-n --namespace --context -A",
    values="-n --namespace --context",
    sub={
        "get": _kube_get,
        "describe": _kube_get,
        "events": _kube_get,
        "logs": _kube_logs,
        "top": _kube_get,
        "version": reader(allow="--client --short --output -o", values="-o --output", most=0),
        "cluster-info": reader(allow="", most=0),
        "api-resources": reader(allow="--namespaced --verbs", most=0),
        "api-versions": _bare,
        "explain": reader(allow="--recursive", operands=_NAME),
        "rollout": reader(
            allow="-n --namespace", values="-n --namespace",
            sub={"status": _kube_get, "history": _kube_get},
        ),
        "auth": reader(allow="", sub={"can-i": _any, "whoami": _bare}),
        "config": reader(
            allow="", sub={"current-context": _bare, "get-contexts": _any, "get-clusters": _bare}
        ),
    },
)  # fmt: skip

_git_read = reader(
    deny="--ext-diff --textconv --output -O --open-files-in-pager --no-index --contents -S --show-signature "
    "--exec --upload-pack",
    operands=r"[^-].*",
)
_GIT = reader(
    allow="-C --no-pager",
    values="-C",
    sub={
        **dict.fromkeys(
            ("status", "log", "diff", "show", "shortlog", "rev-parse", "describe", "blame",
             "ls-files", "ls-tree", "rev-list", "show-ref", "whatchanged", "merge-base",
             "name-rev", "cherry", "count-objects"),
            _git_read,
        ),
        "branch": reader(allow="-a -r -v -vv --list --all --remotes --show-current --verbose", most=0),
        "tag": reader(allow="-l --list -n", most=0),
        "remote": reader(allow="-v", most=0),
        "stash": reader(sub={"list": _bare}),
        "worktree": reader(sub={"list": _bare}),
        "reflog": _bare,
        "version": _bare,
    },
)  # fmt: skip

_dpkg = reader(
    allow="-l -L -s -S -p -V -C --list --listfiles --status --search --get-selections --print-architecture "
    "--audit --verify --print-avail"
)
_rpm = reader(
    allow="-q -a -i -l -f -c -d -R -p -V -qa -qi -ql -qf -qc -qd -qR --query --all --info --list --last "
    "--requires --provides --changelog --verify --qf --queryformat",
    values="--qf --queryformat",
    needs="-q -qa -qi -ql -qf -qc -qd -qR -V --query --verify",
)
_dnf_list = reader(
    allow="-q -C --quiet --installed --available --updates --upgrades --cacheonly --all",
    operands=r"[\w.+*\ue001:-]+",
)
_DNF = reader(
    allow="-q -C --quiet --cacheonly",
    sub=dict.fromkeys(
        ("list", "info", "repolist", "check-update", "search", "provides", "repoquery", "updateinfo"),
        _dnf_list,
    ),
)  # fmt: skip
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
    "docker": _DOCKER,
    "podman": _DOCKER,
    "docker-compose": _COMPOSE,
    "kubectl": _KUBECTL,
    "helm": reader(
        allow="-n --namespace -A", values="-n --namespace",
        sub={"list": _kube_get, "ls": _kube_get, "status": _kube_get, "history": _kube_get,
             "version": _bare},
    ),
    "crictl": reader(allow="", sub={"ps": _docker_list, "images": _docker_list, "logs": _docker_logs, "pods": _docker_list}),
    "git": _GIT,
    "dpkg": _dpkg,
    "dpkg-query": reader(allow="-l -L -s -S -W -f --list --show --showformat", values="-f"),
    "rpm": _rpm,
    "apt": reader(sub=dict.fromkeys(("list", "show", "search", "policy", "depends", "rdepends"), _name_list)),
    "apt-cache": reader(sub=dict.fromkeys(("policy", "show", "search", "depends", "rdepends", "showpkg", "madison", "stats"), _name_list)),
    "apt-mark": reader(sub={"showhold": _name_list, "showmanual": _name_list, "showauto": _name_list}),
    "dnf": _DNF,
    "yum": _DNF,
    "zypper": reader(sub={"lu": _bare, "list-updates": _bare, "lr": _bare, "repos": _bare}),
    "apk": reader(sub={"list": _name_list, "info": _name_list, "policy": _name_list, "version": _bare}),
    "pacman": reader(allow="-Q -Qi -Ql -Qo -Qe -Qu -Si -Ss", needs="-Q -Qi -Ql -Qo -Qe -Qu -Si -Ss", operands=_NAME),
    "snap": reader(sub={"list": _any, "info": _any, "services": _any, "changes": _bare, "version": _bare}),
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
    "mailq": _bare,
    "postqueue": reader(allow="-p -j", needs="-p -j", most=0),
    "atq": _bare,
    "crontab": reader(allow="-l -u", needs="-l", values="-u", most=0),
    "chronyc": reader(
        allow="-n -c",
        sub=dict.fromkeys(("tracking", "sources", "sourcestats", "activity", "ntpdata"), reader(allow="-v", most=0)),
    ),
    "ntpq": reader(allow="-p -n -pn", needs="-p -pn", most=0),
    "ufw": reader(sub={"status": reader(operands="verbose|numbered", most=1), "version": _bare}),
    "firewall-cmd": reader(
        allow="--state --list-all --list-all-zones --get-active-zones --get-zones --list-ports "
        "--list-services --get-default-zone --zone --permanent --list-rich-rules", values="",
        most=0,
    ),
    "nft": reader(allow="-a -n -j", sub={"list": reader(operands=r"\w+")}),
    "fail2ban-client": reader(sub={"status": _any, "ping": _bare, "version": _bare}),
    "zpool": reader(sub={"status": reader(allow="-v -x -L -P", operands=_NAME), "list": reader(allow="-v -H -p", operands=_NAME)}),
    "zfs": reader(sub={"list": reader(allow="-t -r -o -H -p -s", values="-t -o -s", operands=r"[\w.:@/,-]+"),
                       "get": reader(allow="-r -H -p", operands=r"[\w.:@/,-]+")}),
    "virsh": reader(sub={"list": reader(allow="--all", most=0), "dominfo": _any, "domstate": _any}),
    "tmux": reader(sub={"ls": _bare, "list-sessions": _bare}),
    "screen": reader(allow="-ls -list", needs="-ls -list", most=0),
    "pg_lsclusters": _bare,
    "pg_isready": reader(allow="-h -p -q -t", values="-h -p -t", most=0, opens=Opens.NAMES),
    "rabbitmqctl": reader(sub={"status": _bare, "list_queues": _any, "cluster_status": _bare}),
    "certbot": reader(sub={"certificates": _bare}),
    "logrotate": reader(allow="-d", needs="-d", operands=r"/etc/logrotate\.(?:conf|d/[\w.-]+)", most=1),
    "supervisorctl": reader(sub={"status": _any}),
    "pm2": reader(sub={"ls": _bare, "list": _bare, "status": _bare}),
    "update-alternatives": reader(allow="--list --display --query", operands=r"[\w.+-]+", most=1),
    "cloud-init": reader(sub={"status": reader(allow="--long --format", values="--format", most=0)}),
}  # fmt: skip
VERSIONED = frozenset(
    {
        "ansible", "bash", "cargo", "composer", "curl", "docker", "gcc", "git", "go", "java", "kubectl",
        "mariadb", "mysql", "nginx", "node", "npm", "openssl", "perl", "php", "pip", "pip3", "psql",
        "python", "python3", "redis-cli", "redis-server", "rsync", "ruby", "ssh", "sudo",
        "systemctl", "tar", "terraform", "vim", "wget",
    }
)  # fmt: skip
"""Known programs that only tell their version when asked with one of these words alone."""
VERSION_FLAGS = frozenset({"--version", "-version", "version"})
