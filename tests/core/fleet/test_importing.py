"""Servers from OpenSSH configurations and Ansible inventories."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.fleet.import_ansible import expanded
from core.fleet.importing import MAX_BYTES, Imported, NotReadable, read_servers
from core.fleet.inventory import Environment, Identity
from core.fleet.registry import NewServer, checked

HOME = "/home/ann"

OPENSSH = """
# comment
Include conf.d/*
User everybody

Host bastion
    HostName 192.0.2.1
    IdentityFile ~/.ssh/bastion_%r
    User=jump

Host web-* !web-9
    User deploy
    Port 2222
    ProxyJump bastion
Host web-1 web-9 web-2
    HostName %h.example.org
    IdentityFile "~/.ssh/my key"
Host odd*
    ProxyCommand ssh -W %h:%p x
Host odd-1 hops bad_port bad*name
Host hops
    ProxyJump a,b
Host bad_port
    Port 99999
Host -oX
Match user root
    Port 1
Host loop-a
    ProxyJump loop-b
Host loop-b
    ProxyJump loop-a
Host *
    Port 22
    IdentityFile relative_%C
"""


def read(text: str, group: str = "") -> Imported:
    """What a text holds."""
    return read_servers(text.encode(), home=HOME, group=group)


def by_name(read: Imported) -> dict[str, NewServer]:
    """The servers that were found."""
    return {new.name: new for new in read.found}


def test_an_openssh_configuration_is_read_as_ssh_reads_it() -> None:
    """The first value of a word counts; patterns give defaults, also negated ones."""
    found = by_name(read(OPENSSH))
    assert set(found) == {"bastion", "web-1", "web-9", "web-2"}
    assert next(iter(found)) == "bastion"
    bastion, web, other = found["bastion"], found["web-1"], found["web-9"]
    assert (bastion.address, bastion.port, bastion.user) == ("192.0.2.1", 22, "everybody")
    assert bastion.identity_file == "/home/ann/.ssh/bastion_everybody"
    assert (web.address, web.port, web.jump) == ("web-1.example.org", 2222, "bastion")
    assert (web.identity, web.identity_file) == (Identity.FILE, "/home/ann/.ssh/my key")
    assert (other.port, other.jump, other.user) == (22, "", "everybody")


def test_what_an_openssh_configuration_cannot_say_is_told() -> None:
    """One bad entry does not stop the others."""
    found = read(OPENSSH)
    why = {it.name: it.why for it in found.left_out}
    assert "ProxyCommand" in why["odd-1"]
    assert "ProxyJump" in why["hops"]
    assert "port" in why["bad_port"]
    assert "host name" in why["-oX"]
    assert {"loop-a", "loop-b"} <= set(why)
    assert "Include conf.d/* is not followed: import that file, too." in found.notes
    assert any("Match" in note for note in found.notes)


INI = """
mail.example.com:2525

[web]
web[01:03].example.com ansible_user=deploy
[db:vars]
ansible_user = "dba"
ansible_port=2200
[db]
db-[a:c] ansible_host=192.0.2.9 # one address
[site:children]
web
db
[site:vars]
ansible_port=2300
ansible_ssh_private_key_file=~/.ssh/site
[prod:children]
site
[odd]
secret ansible_host="{{ vault }}"
win ansible_connection=winrm
here ansible_connection=local
pass ansible_password=x ansible_ssh_private_key_file=keys/x
behind ansible_ssh_common_args='-o ProxyJump=mail.example.com'
hops ansible_ssh_common_args='-J a@b'
command ansible_ssh_common_args='-o ProxyCommand="ssh -W %h:%p x"'
"""


def test_an_ini_inventory_is_read() -> None:
    """Ranges, groups of groups as tags, and the nearer variable before the farther one."""
    found = by_name(read(INI))
    assert found["mail.example.com"].port == 2525
    web, db = found["web02.example.com"], found["db-c"]
    assert (web.address, web.port, web.user) == ("web02.example.com", 2300, "deploy")
    assert (web.tags, web.environment) == (("prod", "site", "web"), Environment.PRODUCTION)
    assert web.identity_file == "/home/ann/.ssh/site"
    assert (db.address, db.port, db.user) == ("192.0.2.9", 2200, "dba")
    assert found["behind"].jump == "mail.example.com"
    assert found["pass"].identity is Identity.AGENT
    assert list(found).index("mail.example.com") < list(found).index("behind")


def test_what_an_inventory_computes_is_left_out_with_the_reason() -> None:
    """So are machines that SSH does not reach."""
    found = read(INI)
    why = {it.name: it.why for it in found.left_out}
    assert set(why) == {"secret", "win", "here", "hops", "command"}
    assert "template" in why["secret"]
    assert "winrm" in why["win"]
    assert any("Passwords" in note for note in found.notes)


def test_a_group_is_read_with_those_below_it() -> None:
    """An unknown one names those that there are."""
    assert set(by_name(read(INI, "site"))) == {
        *(f"web0{number}.example.com" for number in (1, 2, 3)),
        *(f"db-{letter}" for letter in "abc"),
    }
    with pytest.raises(NotReadable, match="Its groups: db, odd, prod, site, web"):
        read(INI, "nobody")
    with pytest.raises(NotReadable, match="no groups"):
        read(OPENSSH, "web")


YAML = """
# an inventory
all:
  vars: {ansible_user: root}
  hosts:
    mail.example.com:
  children:
    staging:
      children:
        web:
          hosts:
            web[1:2]:
              ansible_port: 2222
          vars: &shared
            ansible_user: deploy
    "my group":
      hosts:
        locked: {ansible_host: !vault "abc"}
        other:
      vars: *shared
"""


def test_a_yaml_inventory_is_read() -> None:
    """A group named for an environment says which one it is; a vault is left out."""
    read_ = read(YAML)
    found = by_name(read_)
    assert set(found) == {"mail.example.com", "web1", "web2", "other"}
    web = found["web2"]
    assert (web.port, web.user, web.tags) == (2222, "deploy", ("staging", "web"))
    assert web.environment is Environment.STAGING
    assert (found["mail.example.com"].user, found["other"].user) == ("root", "deploy")
    assert [it.name for it in read_.left_out] == ["locked"]
    assert read_.notes == ("The group my group is not taken over: it is no tag.",)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"$ANSIBLE_VAULT;1.1;AES256\n3030", "ansible-vault"),
        (b"\xff\xfe", "UTF-8"),
        (b"---\n- a\n- b\n", "no groups"),
        (b"---\na: [b\n", "line 3"),
        (b"---\na: !!bool x\n", "no YAML"),
        (b"---\n" + b"[" * 3_000, "no YAML"),
        (b"x" * (MAX_BYTES + 1), "too large"),
    ],
)
def test_a_file_that_is_no_list_says_so(data: bytes, said: str) -> None:
    """With what to do, where there is something."""
    with pytest.raises(NotReadable, match=said):
        read_servers(data, home=HOME)


@pytest.mark.parametrize(
    "text",
    [
        "---\na: &a\n  children:\n    b: *a\n",
        "---\n"
        + "".join(
            f"x{n}: &x{n} {{children: {{c: *x{n - 1}, d: *x{n - 1}}}}}\n"
            if n
            else "x0: &x0 {hosts: {h: }}\n"
            for n in range(60)
        ),
        "[a:children]\nb\n[b:children]\na\n[b]\nh\n",
        "w[0:999999999]x[0:999999999]\n",
        "[0:1]" * 5_000,
    ],
)
def test_inventories_without_an_end_come_to_one(text: str) -> None:
    """Groups in circles, aliases of aliases, ranges of ranges."""
    assert len(read(text).found) <= 5_000


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a", ["a"]),
        ("a[1:3]", ["a1", "a2", "a3"]),
        ("a[08:10]", ["a08", "a09", "a10"]),
        ("a[0:4:2]", ["a0", "a2", "a4"]),
        ("[a:c]x", ["ax", "bx", "cx"]),
        ("[1:2][a:b]", ["1a", "1b", "2a", "2b"]),
        ("a[3:1]", []),
        ("a[1:b]", []),
    ],
)
def test_ranges(pattern: str, names: list[str]) -> None:
    """Both ends are included; leading zeros are kept."""
    assert list(expanded(pattern)) == names


LINES = st.sampled_from(
    [
        *OPENSSH.splitlines(),
        *INI.splitlines(),
        *YAML.splitlines(),
        "---",
        "Host = a",
        'Host "a',
        "ProxyJump c",
        "h ansible_port=\u00b2",
        "[:children]",
        "=x",
        "a:",
        "- a",
        "? [a]",
        "<<: *x",
    ]
)


@given(st.lists(LINES, max_size=14).map("\n".join).map(str.encode) | st.binary(max_size=200))
def test_anything_is_read_or_refused_with_a_sentence(data: bytes) -> None:
    """What is found could be registered: by its own rules, with each jump host before it."""
    try:
        found = read_servers(data, home=HOME).found
    except NotReadable:
        return
    names = [new.name for new in found]
    assert len({name.casefold() for name in names}) == len(names)
    for at, new in enumerate(found):
        assert isinstance(checked(new, own=True), NewServer)
        assert new.jump not in names[at:]
