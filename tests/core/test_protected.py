from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.protected import ProtectedPaths

OWN = ProtectedPaths(own=("/srv/it0/data", "/srv/it0/.env"))

PROTECTED = [
    "",
    "/srv/it0/data",
    "/srv/it0/data/it0.db",
    "/srv/it0/data/skills/../secret_key",
    "/srv/it0/.env",
    "/srv/app/.env",
    "/srv/app/.env.production",
    "/srv/app/.envrc",
    "/proc/self/environ",
    "/proc/1/environ",
    "/proc/1/task/1/environ",
    "/proc/thread-self/environ",
    "/proc/42/mem",
    "/proc/42/cmdline",
    "/proc/42/auxv",
    "/proc/42/pagemap",
    "/proc/kcore",
    "/proc/keys",
    "/proc/self/root/etc/hosts",
    "/proc/1/root/etc/shadow",
    "/proc/1/cwd/../secret",
    "/proc/1/cwd/id",
    "/proc/self/fd/3",
    "/proc/1/map_files/00400000-00452000",
    "/proc/7/task/7/fd/5",
    "/proc/7/exe",
    "/dev/mem",
    "/dev/kmem",
    "/dev/sda",
    "/dev/sda1",
    "/dev/vda",
    "/dev/nvme0n1p2",
    "/dev/mapper/vg-root",
    "/dev",
    "/dev/watchdog",
    "/dev/st0",
    "/dev/ttyS0",
    "/dev/loop0",
    "/dev/shm/report.txt",
    "/etc/postfix/sasl_passwd",
    "/etc/postfix/sasl_passwd.db",
    "/etc/exim4/passwd.client",
    "/root/.env~",
    "/srv/app/.env.swp",
    "/srv/app/.env.bak",
    "/srv/it0/.env.2024-01-31",
    "/srv/it0/data.old/it0.db",
    "/root/backup/secret.key.bak",
    "/root/backup/secret.key.old.1",
    "/root/backup/secret.key~",
    "/root/backup/#secret.key#",
    "/root/backup/.id_rsa.swp",
    "/etc/.shadow.swp",
    "/root/.ssh.bak/config",
    "/root/.netrc.dpkg-old",
    "/root/.pgpass.orig",
    "/home/ann/.config/containers/auth.json",
    "/run/user/1000/containers/auth.json",
    "/home/ann/.cargo/credentials.toml",
    "/home/ann/.gem/credentials",
    "/home/ann/.codex/auth.json",
    "/root/.ssh",
    "/root/.ssh/id_ed25519",
    "/root/.ssh/authorized_keys",
    "/home/ann/.ssh/config",
    "/home/ann/.SSH/config",
    "~/.ssh/known_hosts",
    "~ann/.ssh/id_rsa",
    "/home/ann/id_rsa",
    "/home/ann/id_rsa.bak",
    "/home/ann/id_ecdsa_sk",
    "/backup/id_deploy",
    "/etc/ssh/ssh_host_ed25519_key",
    "/etc/ssh/ssh_host_rsa_key",
    "/etc/ssl/private",
    "/etc/ssl/private/server.crt",
    "/etc/pki/tls/private/localhost.crt",
    "/etc/letsencrypt/live/example.org/fullchain.pem",
    "/etc/letsencrypt/archive/example.org/privkey1.pem",
    "/etc/nginx/tls/site.key",
    "/etc/nginx/tls/site.pem",
    "/opt/app/keystore.jks",
    "/opt/app/client.p12",
    "/opt/app/client.pfx",
    "/home/ann/putty.ppk",
    "/home/ann/passwords.kdbx",
    "/etc/krb5.keytab",
    "/etc/wireguard/wg0.conf",
    "/root/.claude",
    "/root/.claude/.credentials.json",
    "/root/.claude.json",
    "/root/.claude.json.backup",
    "/home/ann/.aws/credentials",
    "/home/ann/.aws/config",
    "/home/ann/.azure/accessTokens.json",
    "/home/ann/.config/gcloud/credentials.db",
    "/home/ann/.config/gh/hosts.yml",
    "/home/ann/.kube/config",
    "/root/.docker/config.json",
    "/root/.gnupg/secring.gpg",
    "/root/.netrc",
    "/root/.pgpass",
    "/root/.my.cnf",
    "/root/.git-credentials",
    "/root/.npmrc",
    "/root/.pypirc",
    "/root/.vault-token",
    "/var/www/.htpasswd",
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/srv/chroot/etc/shadow",
    "/var/backups/shadow.bak",
    "/etc/security/opasswd",
    "/etc/mysql/debian.cnf",
    "/etc/ppp/chap-secrets",
    "/etc/NetworkManager/system-connections/office.nmconnection",
    "/etc/wpa_supplicant/wpa_supplicant.conf",
    "/etc/kubernetes/admin.conf",
    "/etc/kubernetes/pki/ca.key",
    "/etc/rancher/k3s/k3s.yaml",
    "/run/secrets/db_password",
    "/var/run/secrets/kubernetes.io/serviceaccount/token",
    "/run/credentials/app.service/key",
    "/var/lib/kubelet/config.yaml",
    "/var/lib/docker/containers/abc/config.v2.json",
    "/var/lib/cloud/instances/i-1/user-data.txt",
    "/srv/infra/terraform.tfstate",
    "/root/.bash_history",
    "/home/ann/.zsh_history",
    "/home/ann/.python_history",
    "/home/ann/.psql_history",
    "/home/ann/.local/share/fish/fish_history",
    "/home/ann/.lesshst",
    "/home/ann/.viminfo",
    "/ETC/SHADOW",
    "//etc//shadow",
    "/etc/./shadow",
    "/etc/ssh/../shadow",
    "/etc/shadow.",
    "/etc/shadow/",
    "/etc/shadow (deleted)",
    "/var/log/../../etc/shadow",
    "/../../etc/shadow",
    "",
][1:-1]

FREE = [
    "/etc/hosts",
    "/etc/passwd",
    "/etc/nginx/nginx.conf",
    "/etc/ssh/sshd_config",
    "/etc/ssh/ssh_host_rsa_key.pub",
    "/etc/ssl/openssl.cnf",
    "/etc/shells",
    "/var/log/syslog",
    "/var/log/nginx/error.log",
    "/var/log/auth.log",
    "/proc/meminfo",
    "/proc/loadavg",
    "/proc/cmdline",
    "/proc/1/status",
    "/proc/self/mountinfo",
    "/proc/net/tcp",
    "/proc/sys/vm/swappiness",
    "/sys/fs/cgroup/memory.max",
    "/srv/it0/database/readme.md",
    "/srv/it0/datasheet",
    "/srv/app/.env.example",
    "/srv/app/environment.yml",
    "/srv/app/environ",
    "/home/ann/id_map.txt",
    "/home/ann/notes/history.md",
    "/home/ann/monkey.keys.txt",
    "/var/lib/docker/containers/abc/abc-json.log",
    "/opt/keyboard.keymap",
    "/var/www/wp-config.php",
    "/srv/app/settings.py.bak",
    "/var/log/nginx/error.log.1",
    "/etc/nginx/nginx.conf~",
    "/etc/hosts.2024-01-31",
    "/devices/readme",
]


@pytest.mark.parametrize("path", PROTECTED)
def test_protected(path: str) -> None:
    """Nobody reads it, and there is a reason to tell."""
    assert OWN.why(path)


@pytest.mark.parametrize("path", FREE)
def test_not_protected(path: str) -> None:
    """What an operator needs every day stays readable."""
    assert OWN.why(path) is None


def test_there_are_enough_labelled_paths() -> None:
    """The table of forbidden paths does not shrink unnoticed, and names nothing twice."""
    assert len(set(PROTECTED)) == len(PROTECTED) >= 80


PLAIN = [path for path in PROTECTED if path.startswith("/") and ".." not in path]


@given(path=st.sampled_from(PLAIN), data=st.data())
def test_no_spelling_of_a_protected_path_slips_through(path: str, data: st.DataObject) -> None:
    """Doubled slashes, dots, detours, case, trailing dots and back doors change nothing."""
    spelled = ""
    for part in path.split("/")[1:]:
        detour = data.draw(st.sampled_from(["/", "//", "/./", "/x/../", "/a/b/../../", "///.//"]))
        cased = data.draw(st.sampled_from([part, part.upper(), part.title(), part.swapcase()]))
        spelled += detour + cased
    front = data.draw(st.sampled_from(["", "/..", "/proc/self/root", "/proc/1/task/1/root", "/."]))
    end = data.draw(st.sampled_from(["", "/", ".", "..." if not path.endswith("/") else "", "/."]))
    assert OWN.why(front + spelled + end), front + spelled + end


@given(st.text())
def test_any_text_is_judged(path: str) -> None:
    """No text makes the check fail; the answer is a reason or None."""
    assert OWN.why(path) is None or OWN.why(path)


def test_a_nul_byte_is_refused() -> None:
    """A path that is cut by C functions is never honest."""
    assert OWN.why("/etc/hosts\0.txt")


def test_look_alike_letters_do_not_help_either_way() -> None:
    """Full-width letters read as narrow ones; dots that normalise to ``..`` do not go up."""
    assert OWN.why("/etc/" + "".join(chr(ord(letter) + 0xFEE0) for letter in "shadow"))
    assert OWN.why("/root/.ssh/\u2025/known")


def test_own_paths_are_protected_under_both_names(tmp_path: Path) -> None:
    """A data directory behind a link is protected by the link's name and the real one."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    protected = ProtectedPaths.of(tmp_path / "link")
    assert protected.why(f"{tmp_path}/link/it0.db")
    assert protected.why(f"{tmp_path}/real/it0.db")
    assert protected.why(f"{tmp_path}/other") is None


def test_what_sqlite_keeps_beside_a_database_is_protected(tmp_path: Path) -> None:
    """The write-ahead log holds the same rows as the database."""
    protected = ProtectedPaths.of(tmp_path / "it0.db")
    assert protected.why(f"{tmp_path}/it0.db-wal")
    assert protected.why(f"{tmp_path}/it0.db-journal")
    assert protected.why(f"{tmp_path}/it0.db-notes") is None
