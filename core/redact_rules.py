"""What secrets look like: the table behind ``core.redact``, one rule a shape.

A rule is tried on a line only when one of its triggers stands in it, so that an ordinary line
costs little. No rule begins with a repetition and every repetition is bounded (a test reads
the table), so that no line, however it was made, costs more than its length allows.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

HIDDEN = "[hidden]"

Replacement = str | Callable[[re.Match[str]], str]
_AFTER = rf"\1{HIDDEN}"
"""Keep what says that it is a secret, hide the secret."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A shape of a secret, what to put in its place, and what it cannot be without."""

    pattern: re.Pattern[str]
    replacement: Replacement
    triggers: tuple[str, ...]
    """In small letters."""


def _rule(pattern: str, triggers: str, replacement: Replacement = _AFTER) -> Rule:
    return Rule(re.compile(pattern, re.VERBOSE), replacement, tuple(triggers.split()))


_NAME = r"""
    (?:passw(?:or)?d|passwd|passphrase|passcode|secret|token|(?<!load)credential|connection_?string_?pw
      |(?:api|access|private|auth|logged_in|nonce|encryption|signing|master|account|app|shared
         |pre-?shared|session|cookie|license|service|storage|webhook|hmac|jwt)[_-]?(?:key|salt)
      |client[_-]?key[_-]?data
      |(?:(?<![a-z])|(?<=db)|(?<=user)|(?<=smtp)|(?<=mail)|(?<=ldap)|(?<=root)|(?<=admin)
         |(?<=ssh)|(?<=become))
        (?:pass|pw)(?![a-z])
      |(?:bind|root|admin|user)pw(?![a-z])
      |(?<!old)pwd(?![a-z])(?!\s{0,3}[:=]\s{0,3}[/~])
    )"""
"""The end of PWD is a secret's name in SMTP_PWD, and a directory in what sudo logs."""
_NAMED = "pass pwd pw secret token credential key salt"
_QUOTED = r"""\\?"(?:[^"\\]|\\.|""){0,2000}"?|'(?:[^'\\]|\\.|''){0,2000}'?"""
_VALUE = rf"""(?:{_QUOTED}|[^\s"'<>][^\s<>]{{2,2000}})"""

_SAID = re.compile(
    r"""(?ix)\\?["']?(?:true|false|str|string|int|bytes|bool|:[a-z_]{1,40}|null|none|nil|undefined|yes|no|not|required|optional|enabled
    |disabled|missing|invalid|incorrect|wrong|expired?|expires|unset|empty|changed|updated|accepted
    |rejected|revoked|denied|failed|failure|error|unexpected|expected|ok|sha-?(?:1|256|512)|md5
    |scram-sha-256|bcrypt|prompt|ask|\*{2,40}|x{3,40}|\.{3,9}|\[hidden\]?|hidden|redacted|masked
    |\$\{[^}]{1,100}\}|\$[A-Z_][A-Z0-9_]{0,60}|\{\{.{0,100}|%[(\w)]{0,30}s?|<.{0,40})\\?["',;.)\]}]{0,3}"""
)
"""What is said of a secret rather than being one, and references to one."""
_ABOUT = re.compile(
    r"""(?ix)(?:tokens|(?:^|[_-])(?:count|length|len|size|age|days|limit|ttl|timeout|expiry|expires
    |expiration|expires_in|name|type|policy|url|uri|host|version|bits|algorithm|min|max|field
    |encryption|retries|attempts|required|enabled|change|changed|endpoint|authentication))[\s"'\]:=>,]{0,9}$"""
)
_PLACE = re.compile(r"""(?ix)(?:file|path|dir|directory|key|location|store)[\s"'\]:=>]{0,9}$""")
_IS_PATH = re.compile(r"""["']?(?:/|~/|\./)[\w./@+-]{2,300}["']?[,;]?$""")


def _unless_harmless(found: re.Match[str]) -> str:
    """Hide a value, unless it only says something about the secret, or where it is kept."""
    name, value = found[1], found[2]
    about = _ABOUT.search(name) is not None
    place = _PLACE.search(name) is not None and _IS_PATH.match(value) is not None
    return found[0] if _SAID.fullmatch(value) or about or place else f"{name}{HIDDEN}"


_LEAST_BITS = 4.0
"""Of entropy in each character of a random key in base64; words have about 3.5 or less."""


def _if_random(found: re.Match[str]) -> str:
    """Hide a value that was drawn, not written: mixed letters and digits, much entropy."""
    value = found[2]
    mixed = all(any(test(c) for c in value) for test in (str.isdigit, str.isupper, str.islower))
    counts = Counter(value).values()
    bits = -sum(n / len(value) * math.log2(n / len(value)) for n in counts)
    return f"{found[1]}{HIDDEN}" if mixed and bits >= _LEAST_BITS else found[0]


KEY_HEAD = re.compile(
    r"(?<![A-Za-z0-9+/])(?:MI[IGH][A-Za-z0-9+/]{1,4}(?:IBADANBgkqh|IBAAK[BC]|AgEAMB[MA]GByqG)"
    r"|MHcCAQEEI|MIGkAgEBBD|MIHcAgEBBEI|MIHbAgEBBE"
    r"|MC4CAQAwBQYDK2V|MFECAQEwBQYDK2V|b3BlbnNzaC1rZXktdjE)[A-Za-z0-9+/=]{8,2000}"
)
"""How base64 of a private key in DER (PKCS #1, #8, SEC 1) or OpenSSH's form begins."""

RULES: tuple[Rule, ...] = (
    # Authorization: Bearer x; authorization=AWS4-HMAC-SHA256 Credential=..., Signature=...
    _rule(
        r"""((?i:authorization["']?\s{0,3}[:=]\s{0,3}["']?
        (?:bearer|basic|token|digest|apikey|api-key|negotiate|ntlm|aws4-hmac-sha256|oauth|hawk|key)
        \s{1,3}))(?!\$[A-Z{])[^"'\n]{3,2000}""",
        "authorization",
    ),
    _rule(
        r"""((?i:authorization["']?\s{0,3}[:=]\s{0,3}["']?))(?!\[hidden)[^\s"']{16,2000}""",
        "authorization",
    ),
    _rule(
        r"""\b((?i:bearer|basic)\s{1,9})(?!realm)(?=[A-Za-z+/=._~-]{0,200}[\d=]|[A-Za-z]{0,60}[a-z][A-Z])
        [A-Za-z0-9+/=._~-]{8,2000}""",
        "bearer basic",
    ),
    # Cookie: a=b; Set-Cookie: a=b; curl -b a=b
    _rule(
        r"""((?i:cookie["']?\s{0,3}[:=]\s{0,3}["']?)(?=[^\s=;"']{1,100}=))[^"'\n]{3,2000}""",
        "cookie",
    ),
    _rule(
        r"""(\bcurl\s[^|;]{0,300}?(?<=\s)(?:-b|--cookie)[\s=]{0,3}["']?[^\s=;"']{1,100}=)[^\s"']{3,2000}""",
        "curl",
    ),
    _rule(
        r"""((?i:phpsessid|jsessionid|asp\.net_sessionid|session_?id|connect\.sid|csrftoken
        |(?<=_)session)["']?\s{0,3}[=:]\s{0,3}["']?)(?=[^\s;&"']{0,200}\d)[^\s;&"']{12,2000}""",
        "sess connect.sid csrf",
    ),
    # postgres://user:pa/ss@host, but not http://host:8080/mail?to=a@b
    _rule(r"""(://[^\s:/@]{0,100}:)(?!\d{1,5}[/?\#])[^\s"'<>]{1,500}@""", "://", rf"\1{HIDDEN}@"),
    _rule(r"(://[^\s:/@]{0,100}:)\d{1,5}@", "://", rf"\1{HIDDEN}@"),
    _rule(r"(://)[^\s:/@\[]{16,500}@", "://", rf"\1{HIDDEN}@"),
    _rule(r"(jdbc:oracle:thin:[^/\s]{1,100}/)[^@\s]{1,200}@", "jdbc:", rf"\1{HIDDEN}@"),
    # addresses that are keys themselves
    _rule(
        r"""((?i:hooks\.slack\.com/(?:services|workflows|triggers)/|discord(?:app)?\.com/api/webhooks/
        |\.webhook\.office\.com/|api\.telegram\.org/bot))[^\s"'<>]{8,500}""",
        "hooks.slack.com discord webhook.office.com api.telegram.org",
    ),
    _rule(
        r"""([?&;](?i:sig|signature|x-amz-signature|x-amz-credential|x-goog-signature|key|apikey|auth
        |hmac)=)[A-Za-z0-9%+/=_.~-]{16,1000}""",
        "sig= signature= key= auth= credential= hmac=",
    ),
    # by their shape alone
    _rule(
        r"""(?<![A-Za-z0-9_-])(?:(?:AKIA|ASIA)[A-Z0-9]{16}\b
        |gh[pousr]_[A-Za-z0-9]{30,500}|github_pat_\w{20,500}
        |glpat-[\w-]{15,500}|gl(?:dt|rt|cbt|ptt|ft|soat)-[\w-]{15,500}
        |sk-[A-Za-z0-9_-]{20,500}|(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{10,500}
        |whsec_[A-Za-z0-9+/=_-]{16,500}
        |xox[abeoprs]-[A-Za-z0-9-]{10,500}|xapp-\d-[A-Za-z0-9-]{10,500}
        |AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,500}|GOCSPX-[A-Za-z0-9_-]{20,100}
        |npm_[A-Za-z0-9]{30,100}|pypi-[A-Za-z0-9_-]{30,500}|dckr_pat_[A-Za-z0-9_-]{20,100}
        |hv[sbr]\.[A-Za-z0-9_-]{20,500}|SG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,64}
        |do[pors]_v1_[a-f0-9]{40,80}|shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}|hf_[A-Za-z0-9]{30,60}
        |lin_api_[A-Za-z0-9]{30,60}|dapi[a-f0-9]{32}\b|sq0(?:atp|csp)-[A-Za-z0-9_-]{20,60}
        |AGE-SECRET-KEY-1[A-Z0-9]{50,80}|tskey-[a-z]{2,12}-[A-Za-z0-9-]{10,100}
        |key-[0-9a-f]{32}\b|EAA[A-Za-z0-9]{60,400}|NRAK-[A-Z0-9]{27}|rubygems_[a-f0-9]{40,60}
        |glsa_[A-Za-z0-9]{30,60}_[a-f0-9]{8}|PMAK-[a-f0-9-]{50,80}|ATATT3[A-Za-z0-9_=-]{50,400}
        |eyJ[A-Za-z0-9_-]{10,2000}\.[A-Za-z0-9_-]{10,2000}\.[A-Za-z0-9_-]{5,2000})""",
        "akia asia ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ glpat- gldt- glrt- glcbt- glptt- glft- "
        "glsoat- sk- sk_ rk_ whsec_ xox xapp- aiza ya29. gocspx- npm_ pypi- dckr_pat_ hvs. hvb. "
        "hvr. sg. dop_v1_ doo_v1_ dor_v1_ dos_v1_ shp hf_ lin_api_ dapi sq0 age-secret-key- "
        "tskey- key- eaa nrak- rubygems_ glsa_ pmak- atatt3 eyj",
        HIDDEN,
    ),
    _rule(r"(\bbot|(?<![\w-]))\d{8,10}:AA[A-Za-z0-9_-]{33}(?![\w-])", ":aa", _AFTER),
    _rule(
        r"(?<![A-Za-z0-9+/])LS0tLS1CRUdJTi(?!BDRVJU|BQVUJMSUMg)[A-Za-z0-9+/=]{16,2000}",
        "ls0tls1crudjti",
        HIDDEN,
    ),
    Rule(
        KEY_HEAD,
        HIDDEN,
        (
            "mii",
            "mih",
            "mhccaqeei",
            "mig",
            "mc4caqawbqydk2v",
            "mfecaqewbqydk2v",
            "b3blbnnzac1rzxktdje",
        ),
    ),
    # what passwords are checked against: /etc/shadow, htpasswd, LDAP, MySQL, PostgreSQL
    _rule(
        r"""\$(?:1|2[abxy]?|5|6|7|y|gy|apr1|argon2(?:id|i|d)|pbkdf2[\w-]{0,20}|scrypt|bcrypt-sha256)\$
        (?=[./A-Za-z0-9$=,+*-]{8})[./A-Za-z0-9$=,+*-]{8,500}""",
        "$",
        HIDDEN,
    ),
    _rule(
        r"\{(?i:s?sha\d{0,3}|s?md5|crypt|pbkdf2[\w-]{0,20})\}[A-Za-z0-9+/=$.]{8,500}", "}", HIDDEN
    ),
    _rule(r"SCRAM-SHA-(?:1|256)\$\d{1,9}:[A-Za-z0-9+/=$:]{20,500}", "scram-sha-", HIDDEN),
    _rule(
        r"(?<![\w*])\*[0-9A-F]{40}\b|\bmd5[0-9a-f]{32}\b|\bpbkdf2_sha(?:1|256|512)\$\S{10,500}",
        "* md5 pbkdf2_",
        HIDDEN,
    ),
    # password=x, "api_key": "x", define('DB_PASSWORD', 'x'), name="password" value="x"
    _rule(
        rf"""((?i:{_NAME})[\w-]{{0,20}}
        (?:\\?["']?\]?\s{{0,9}}(?:=>|:=|[=:])|["']\s{{0,3}},(?=\s{{0,9}}["'])
          |["']\s{{1,3}}(?i:value|content)\s?=)
        \s{{0,9}})({_VALUE})""",
        _NAMED,
        _unless_harmless,
    ),
    _rule(
        r"""((?i:(?<![a-z])_?auth)["']?\s{0,3}[:=]\s{0,3}["']?)(?=[A-Za-z]{0,60}[a-z][A-Z]|[A-Za-z]{0,60}\d
          [A-Za-z0-9+/]{0,200}=)[A-Za-z0-9+/]{12,500}={0,2}(?=["'\s,]|$)""",
        "auth",
    ),
    _rule(
        r"""((?<!public_)(?<!public-)(?<!public)(?<!pub)(?<!pub_)(?i:key)(?i:_?base)?["']?\s{0,3}[:=]
        \s{0,3}["']?(?:base64:)?)([A-Za-z0-9+/_-]{24,200}={0,2})(?=["'\s,;&]|$)""",
        "key",
        _if_random,
    ),
    # <password>x</password>, but not $this->token->name
    _rule(
        rf"""((?i:{_NAME})[\w.-]{{0,20}}(?:\s[^<>]{{0,100}})?(?<![-=])>)([^<]{{1,2000}})""",
        _NAMED,
        _unless_harmless,
    ),
    # --password x
    _rule(
        rf"""((?<!\S)--?(?:(?i:[a-z0-9]{{1,20}})-){{0,3}}(?i:{_NAME})\s{{1,9}})(?!-)({_VALUE})""",
        _NAMED,
        _unless_harmless,
    ),
    # configure set aws_secret_access_key x; requirepass x; .netrc; snmpd.conf
    _rule(
        rf"""(\b(?i:configure\s{{1,9}}set|config\s{{1,9}}set|export|setenv)\s{{1,9}}
        [\w.-]{{0,60}}(?i:{_NAME})[\w-]{{0,20}}\s{{1,9}}){_VALUE}""",
        "set export",
    ),
    _rule(
        rf"""((?:^\s{{0,20}}(?i:requirepass|masterauth|auth_pass|bindpw|rootpw|r[ow]community6?)
        |--(?:requirepass|masterauth)
        |\b(?i:login|user|account)\s{{1,9}}\S{{1,100}}\s{{1,9}}(?i:password))\s{{1,9}}){_VALUE}""",
        "requirepass masterauth auth_pass bindpw rootpw community password",
    ),
    _rule(r"((?i:\buser\s{1,9}\S{1,100}\s{1,9}(?:on|off)\s{1,9}>))\S{1,500}", ">"),
    _rule(
        r"(?:^)(\s{0,20}[\w.-]{0,40}(?i:pass(?:word|wd|phrase))\s{1,9})(?!\d{1,5}/)\S{3,2000}\s{0,9}$",
        "pass",
    ),
    _rule(
        r"^((?:\*|localhost|[\w-]{0,60}[g-zG-Z.][\w.-]{0,100}):(?:\d{4,5}|\*):[^:\s]{1,100}:[^:\s]{1,100}:)[^:\s]{1,500}$",
        ":",
    ),
    # The password for bob is x
    _rule(
        rf"""(\b(?i:password|passphrase|secret|token|pin)\s(?:(?i:for|of)\s\S{{1,60}}\s)?(?i:is|was)\s{{1,3}})
        (?=\S{{0,60}}[\d!@\#$%^&*])({_VALUE})""",
        "password passphrase secret token pin",
        _unless_harmless,
    ),
    # IDENTIFIED BY 'x', IDENTIFIED WITH plugin AS 'x', PASSWORD 'x'
    _rule(
        rf"""(\b(?i:identified\s{{1,9}}(?:by|with\s{{1,9}}\S{{1,50}}\s{{1,9}}(?:by|as))
        (?:\s{{1,9}}password)?|password)\s{{1,9}})(?=["']){_VALUE}""",
        "identified password",
    ),
    # curl -u a:b, but not docker run -u 1000:1000; mysql -px; sshpass -p x; and the like
    _rule(
        r"""((?<!\S)(?:-u\s{0,9}|--(?:proxy-)?user[=\s]\s{0,9})["']?[^\s:,%"']{1,100}[:,])
        (?!\d{1,10}(?:\s|$))[^\s"']{1,500}""",
        "-u --user --proxy-user",
    ),
    _rule(r"((?<!\S)-U\s{0,9}[^\s%]{1,100}%)[^\s\"']{1,500}", "-u"),
    _rule(
        r"(\b(?i:mysql|mariadb)[\w-]{0,10}\s[^|;]{0,200}?(?<=\s)-p)(?=\S)\S{1,500}", "mysql mariadb"
    ),
    _rule(r"(\b(?i:sshpass)\s{1,9}-p\s{0,9})\S{1,500}", "sshpass"),
    _rule(r"(\b(?:redis-cli)\s[^|;]{0,200}?(?<=\s)-a\s{1,9})\S{1,500}", "redis-cli"),
    _rule(r"(\b(?:ldap\w{1,10})\s[^|;]{0,300}?(?<=\s)-w\s{1,9})\S{1,500}", "ldap"),
    _rule(r"((?<!\S)-?-?pass(?:in|out)?\s{1,9}pass:)\S{1,500}", "pass:"),
    _rule(
        r"""(\b(?:docker|podman|helm|buildah|skopeo|az|oc|mongo\w{0,7}|psexec|rdesktop|useradd|usermod)
        \s[^|;]{0,200}?(?<=\s)-p\s{1,9})(?!\d{1,5}:|\S{0,60}:\d{1,5}(?:\s|$)|\d{1,5}(?:\s|$)|[/.~-])
        [^\s]{3,500}""",
        "docker podman helm buildah skopeo az oc mongo psexec rdesktop useradd usermod",
    ),
    _rule(
        r"(\becho\s{1,9}(?:-\w{1,3}\s)?[\"']?[^\s:\"']{1,64}:)\S{1,300}(?=[^|]{0,50}\|\s{0,5}(?:sudo\s)?chpasswd)",
        "chpasswd",
    ),
    _rule(
        r"(\bhtpasswd\s{1,5}-\w{0,5}b\w{0,5}\s{1,5}\S{1,200}\s{1,5}\S{1,100}\s{1,5})\S{1,200}",
        "htpasswd",
    ),
    _rule(
        r"(\brabbitmqctl\s{1,5}(?:add_user|change_password)\s{1,5}\S{1,100}\s{1,5})\S{1,200}",
        "rabbitmqctl",
    ),
    _rule(r"(\bvault\s{1,5}login\s{1,5})(?!-)\S{6,200}", "vault"),
)
