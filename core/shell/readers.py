"""Programs that only read, and the options and subcommands that keep it so (L0).

A program that is not here is not known to read. ``deny`` lists what makes a reader write, run
something or show secrets; where a program can do much, ``allow`` lists what it may be asked.
"""

from __future__ import annotations

from core.shell.readers_services import SERVICES
from core.shell.spec import Opens, Reader, reader

_NAME = r"[\w@.:%+/-]+"
_HOST = r"@?[A-Za-z0-9_.:%-]+"

_text = reader(opens=Opens.NOTHING)
_bare = reader(most=0)
_names = reader(opens=Opens.NAMES)
_disks = reader(opens=Opens.DEVICES)
_volumes = reader(deny="--config --configreport --profile --commandprofile", opens=Opens.DEVICES)
_status = reader(allow="--no-pager -a -l --all --full", most=0)
_FILES = "--files0-from"

SHELL: dict[str, Reader] = {
    ":": _text,
    "true": _text,
    "false": _text,
    "echo": _text,
    "printf": reader(deny="-v", opens=Opens.NOTHING, operands=r"(?s)(?!.*%[^a-zA-Z%]*n).*"),
    "[": reader(deny="-v -R", opens=Opens.NOTHING),
    "test": reader(deny="-v -R", opens=Opens.NOTHING),
    "cd": reader(opens=Opens.NAMES, most=1),
    "pwd": _bare,
    "exit": _text,
    "return": _text,
    "break": _text,
    "continue": _text,
    "shift": _text,
    "wait": _text,
    "jobs": reader(deny="-x"),
    "times": _bare,
    "type": reader(operands=r"[\w.+-]+"),
    "which": reader(operands=r"[\w.+-]+"),
    "whereis": reader(deny="-B -M -S", operands=r"[\w.+-]+"),
    "set": reader(
        allow="-e -u -x -v -f -o -eu -ex -euo -euxo", operands="pipefail|errexit|nounset"
    ),
    "read": reader(allow="-r", operands="[a-z][a-z0-9_]*"),
    "sleep": reader(most=1, operands=r"\d{1,4}(?:\.\d+)?[sm]?"),
    "basename": _text,
    "dirname": _text,
    "expr": _text,
    "seq": _text,
    "yes": reader(most=0),
}

_BLOCK = "--getsize64 --getsz --getro --getbsz --getss --getpbsz --getra --report"
FILES: dict[str, Reader] = {
    "ls": _names,
    "dir": _names,
    "stat": _names,
    "du": reader(deny=_FILES, opens=Opens.NAMES),
    "tree": reader(deny="-o --fromfile -R", opens=Opens.NAMES),
    "readlink": _names,
    "realpath": _names,
    "namei": _names,
    "file": reader(deny="-f -C -m -M -z -Z --files-from --compile --magic-file --uncompress"),
    "cat": reader(),
    "tac": reader(),
    "nl": reader(),
    "head": reader(),
    "tail": reader(deny="--pid"),
    "wc": reader(deny=_FILES),
    "cut": reader(),
    "paste": reader(),
    "fold": reader(),
    "fmt": reader(),
    "column": reader(),
    "expand": reader(),
    "unexpand": reader(),
    "rev": reader(),
    "join": reader(),
    "comm": reader(),
    "tr": reader(opens=Opens.NOTHING),
    "sort": reader(
        deny=f"-o -T -S --output --compress-program --temporary-directory {_FILES}",
        values="-k -t",
    ),
    "uniq": reader(most=1, values="-f -s -w"),
    "od": reader(),
    "xxd": reader(allow="-l -s -c -g -u -p -b -0", values="-l -s -c -g", most=1),
    "hexdump": reader(allow="-C -n -s -v -c -d -x -0", values="-n -s"),
    "strings": reader(allow="-a -n -t -0", values="-n -t"),
    "cmp": reader(),
    "diff": reader(deny="--to-file --from-file -l --paginate -r --recursive -N"),
    "md5sum": reader(),
    "sha1sum": reader(),
    "sha256sum": reader(),
    "sha512sum": reader(),
    "b2sum": reader(),
    "cksum": reader(),
    "zcat": reader(allow="-f -q"),
    "zgrep": reader(allow="-i -v -c -n -E -F -o -h -H -l -w -A -B -C -m -0", values="-A -B -C -m"),
    "grep": reader(
        allow="-i -v -c -n -E -F -G -P -o -h -H -l -L -w -x -q -s -a -I -z -Z -b -T -y -0 -e -m "
        "-A -B -C --color --colour --ignore-case --invert-match --count --line-number "
        "--extended-regexp --fixed-strings --perl-regexp --only-matching --no-filename "
        "--with-filename --word-regexp --line-regexp --quiet --silent --no-messages --text "
        "--after-context --before-context --context --max-count --regexp --line-buffered "
        "--files-with-matches --files-without-match -r -R --recursive --include --exclude "
        "--exclude-dir",
        values="-e -m -A -B -C --regexp --max-count --after-context --before-context --context "
        "--include --exclude --exclude-dir",
    ),
    "less": reader(allow="-N -S -R -F -X -E -i", operands=r"[^+].*"),
    "more": reader(allow="", operands=r"[^+].*"),
    "man": reader(allow="", operands=r"[\w.+-]+"),
    "jq": reader(
        allow="-r -c -e -s -n -S -M -a -j --raw-output --compact-output --exit-status --slurp "
        "--null-input --sort-keys --tab",
        operands=r"(?!.*(?:\benv\b|\$ENV|\binclude\b|\bimport\b|input_filename)).*",
    ),
    "lsattr": _names,
    "getfacl": _names,
    "lsof": reader(deny="-D -k -S", opens=Opens.DEVICES),
    "fuser": reader(allow="-v -n -m -4 -6 -a -u", values="-n", opens=Opens.DEVICES),
}
FILES["egrep"] = FILES["fgrep"] = FILES["grep"]

MACHINE: dict[str, Reader] = {
    "df": _disks,
    "lsblk": _disks,
    "blkid": reader(allow="-o -s -p", values="-o -s", opens=Opens.DEVICES),
    "findmnt": reader(opens=Opens.DEVICES),
    "mount": reader(allow="-l", most=0),
    "mountpoint": _names,
    "swapon": reader(allow="-s --show --summary --noheadings --bytes", most=0),
    "smartctl": reader(
        allow="-a -A -H -i -x -l -d --all --health --info --scan",
        values="-l -d",
        opens=Opens.DEVICES,
    ),
    "hdparm": reader(allow="-I -i -C -g -H", needs="-I -i -C -g -H", opens=Opens.DEVICES),
    "fdisk": reader(allow="-l --list -x", needs="-l --list -x", opens=Opens.DEVICES),
    "sfdisk": reader(allow="-l --list -d --dump", needs="-l --list -d --dump", opens=Opens.DEVICES),
    "blockdev": reader(allow=_BLOCK, needs=_BLOCK, opens=Opens.DEVICES),
    "nvme": reader(
        sub=dict.fromkeys(
            ("list", "list-subsys", "smart-log", "error-log", "fw-log", "id-ctrl", "id-ns"),
            reader(
                allow="-o --output-format -H -v", values="-o --output-format", opens=Opens.DEVICES
            ),
        ),
        opens=Opens.DEVICES,
    ),
    "pvs": _volumes,
    "vgs": _volumes,
    "lvs": _volumes,
    "pvdisplay": _volumes,
    "vgdisplay": _volumes,
    "lvdisplay": _volumes,
    "mdadm": reader(allow="--detail -D --query -Q --examine -E --scan", opens=Opens.DEVICES),
    "free": reader(most=0, values="-s -c -d"),
    "uptime": _bare,
    "vmstat": reader(operands=r"\d+"),
    "iostat": reader(deny="-o", operands=r"[\w]+", values="-g"),
    "mpstat": reader(deny="-o", operands=r"\d+", values="-P -I -N"),
    "sar": reader(
        allow="-u -r -b -d -n -q -P -S -W -B -A -f -s -e -p -h",
        values="-n -P -f -s -e",
        operands=r"\d+",
    ),
    "pidstat": reader(deny="-e", operands=r"\d+", values="-p -C -T -G -U"),
    "nproc": _bare,
    "arch": _bare,
    "uname": _bare,
    "hostname": reader(
        allow="-f -s -i -I -d -A --fqdn --short --ip-address --all-ip-addresses", most=0
    ),
    "hostnamectl": reader(
        allow="--static --json", sub={"": _status, "status": _status, "hostname": _status}
    ),
    "timedatectl": reader(
        allow="--no-pager",
        sub={
            "": _status,
            "status": _status,
            "show": _status,
            "timesync-status": _status,
            "list-timezones": _status,
        },
    ),
    "localectl": reader(allow="--no-pager", sub={"": _status, "status": _status}),
    "loginctl": reader(
        allow="--no-pager",
        sub={
            "": _status,
            "list-sessions": _status,
            "list-users": _status,
            "session-status": reader(allow="--no-pager -l", operands=r"\w+"),
            "user-status": reader(allow="--no-pager -l", operands=r"\w+"),
        },
    ),
    "date": reader(
        allow="-u -R -I -d -Iseconds -Iminutes -Ihours -Idate --utc --iso-8601 --rfc-3339 --date "
        "--rfc-email -r --reference",
        values="-d --date -r --reference",
        operands=r"\+.*",
        most=1,
    ),
    "cal": reader(operands=r"[\w]+"),
    "id": reader(operands=r"[\w.-]+"),
    "whoami": _bare,
    "logname": _bare,
    "groups": reader(operands=r"[\w.-]+"),
    "tty": _bare,
    "who": reader(operands=r"am|i", most=2),
    "w": reader(operands=r"[\w.-]+"),
    "users": _bare,
    "last": reader(operands=r"[\w./:-]+"),
    "lastb": reader(operands=r"[\w./:-]+"),
    "lastlog": reader(allow="-u -t -b", values="-u -t -b", most=0),
    "getent": reader(
        operands=r"(?:passwd|group|hosts|ahosts|ahostsv4|services|protocols|networks)|(?!shadow|gshadow)[\w.:-]+",
    ),
    "ps": reader(
        deny="-E",
        opens=Opens.NAMES,
        most=8,
        operands=r"(?!.*environ)(?:[aufxlwjmhHTSX]*(?:[op](?:[\w,:%=.]*)?)?|\d+(?:,\d+)*|[a-z%][a-z_%]*(?:[,=:][\w,%:=.-]*)+)",
        values="-o -p -u -U -C -t -G -g -q --sort --pid --ppid --format --user -O",
    ),
    "pgrep": reader(deny="--signal -F --pidfile --logpidfile -L"),
    "pidof": reader(operands=r"[\w./-]+"),
    "pstree": reader(operands=r"[\w.-]+"),
    "top": reader(
        needs="-b", allow="-b -n -d -o -p -u -c -H -w -0 -1 -i", values="-n -d -o -p -u -w", most=0
    ),
    "lscpu": _bare,
    "lsmem": _bare,
    "lspci": reader(deny="-A -O -F -i -p", most=0),
    "lsusb": reader(most=0, values="-s -d"),
    "lsmod": _bare,
    "modinfo": reader(deny="-b -k"),
    "lsns": _bare,
    "lsipc": _bare,
    "lslocks": _bare,
    "lslogins": reader(allow="-u -s", operands=r"[\w.-]+"),
    "lshw": reader(allow="-short -C -class -json -quiet", values="-C -class", most=0),
    "dmidecode": reader(allow="-t -s -q --type --string", values="-t -s --type --string", most=0),
    "sensors": reader(allow="-u -f -A -j", most=0),
    "dmesg": reader(
        allow="-T -H -k -u -x -l -f -L -P -w -t -d -e -r --ctime --human --level --facility "
        "--kernel --since --until --color --nopager --follow --decode",
        values="-l -f --level --facility --since --until",
        most=0,
    ),
    "sysctl": reader(allow="-a -n -e --all --values", operands=r"[\w./-]+"),
    "getconf": reader(operands=r"[\w./-]+"),
    "locale": reader(allow="-a -m", most=1),
    "ulimit": reader(allow="-a -n -u -v -s -f -c -H -S", most=0),
    "runlevel": _bare,
    "numactl": reader(allow="--hardware -H --show -s", most=0),
    "ethtool": reader(allow="-i -S -k -g -c -a -P -n", operands=r"[\w.@:-]+", most=1),
    "needrestart": reader(allow="-b -l", most=0),
}

NETWORK: dict[str, Reader] = {
    "ss": reader(deny="-K --kill -D --diag -F --filter -N --net", operands=r"[\w.:()=!*/ -]+"),
    "netstat": reader(),
    "ifconfig": reader(allow="-a -s", operands=r"[\w.:-]+", most=1),
    "arp": reader(allow="-a -n -e", operands=r"[\w.:-]+"),
    "route": reader(allow="-n -e -4 -6", most=0),
    "dig": reader(deny="-f -k -y", operands=r"@?[\w.:/%-]+|\+[\w=.-]+", opens=Opens.CONTENTS),
    "host": reader(allow="-t -a -v -4 -6 -W -0", values="-t -W", operands=_HOST),
    "nslookup": reader(allow="-type -query", operands=_HOST),
    "ping": reader(
        allow="-c -W -w -i -n -q -4 -6 -I -s -O -D -M",
        values="-c -W -w -i -I -s -M",
        operands=_HOST,
    ),
    "ping6": reader(allow="-c -W -w -i -n -q -I -s", values="-c -W -w -i -I -s", operands=_HOST),
    "traceroute": reader(allow="-n -4 -6 -m -w -q -I -T -U", values="-m -w -q", operands=_HOST),
    "tracepath": reader(allow="-n -4 -6 -m -b", values="-m", operands=_HOST),
    "mtr": reader(
        needs="-r --report", allow="-r -n -c -w -b -4 -6 --report", values="-c", operands=_HOST
    ),
    "nc": reader(needs="-z", allow="-z -v -n -w -4 -6 -u", values="-w", operands=r"[\w.:-]+"),
    "iptables": reader(
        needs="-L -S --list",
        allow="-L -S -n -v -t -x --line-numbers --list -w",
        values="-t",
        operands=r"[\w-]+",
    ),
    "conntrack": reader(allow="-L -C -S -p", needs="-L -C -S", values="-p", most=0),
    "brctl": reader(
        sub={"show": reader(operands=r"[\w.-]+"), "showmacs": reader(operands=r"[\w.-]+")}
    ),
}
NETWORK["ip6tables"] = NETWORK["iptables"]

READERS: dict[str, Reader] = {**SHELL, **FILES, **MACHINE, **NETWORK, **SERVICES}
