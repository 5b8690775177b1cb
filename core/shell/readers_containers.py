"""Read-only subcommands of what manages containers: docker, podman, kubectl, helm."""

from __future__ import annotations

from core.shell.spec import reader

_NAME = r"[\w.:@/-]+"
_any = reader(allow="-n -a -q -v -A -l --namespace --all --no-pager", operands=_NAME)
_bare = reader(allow="-a -q -v -l -r --all --no-pager --quiet", most=0)

DOCKER_LIST = reader(
    allow="-a -q -f -n -l -s --all --quiet --filter --format --no-trunc --last --latest --size "
    "--digests",
    values="-f -n --filter --format --last",
    operands=_NAME,
)
DOCKER_LOGS = reader(
    allow="-f -n -t --follow --tail --since --until --timestamps --details --no-color "
    "--no-log-prefix",
    values="-n --tail --since --until",
    operands=_NAME,
)
COMPOSE = reader(
    allow="",
    sub={
        "ps": DOCKER_LIST,
        "ls": DOCKER_LIST,
        "logs": DOCKER_LOGS,
        "images": DOCKER_LIST,
        "top": _any,
        "version": _bare,
    },
)
DOCKER = reader(
    allow="",
    sub={
        "ps": DOCKER_LIST,
        "images": DOCKER_LIST,
        "logs": DOCKER_LOGS,
        "stats": reader(
            allow="-a --all --no-stream --format --no-trunc", values="--format", operands=_NAME
        ),
        "top": reader(operands=_NAME, most=1),
        "port": _any,
        "diff": _any,
        "history": DOCKER_LIST,
        "version": reader(allow=""),
        "info": reader(allow=""),
        "events": reader(
            allow="--since --until --filter -f", values="--since --until --filter -f", most=0
        ),
        "compose": COMPOSE,
        "container": reader(allow="", sub={"ls": DOCKER_LIST, "logs": DOCKER_LOGS, "top": _any}),
        "image": reader(allow="", sub={"ls": DOCKER_LIST, "history": DOCKER_LIST}),
        "network": reader(allow="", sub={"ls": DOCKER_LIST, "inspect": _any}),
        "volume": reader(allow="", sub={"ls": DOCKER_LIST, "inspect": _any}),
        "system": reader(allow="", sub={"df": reader(allow="-v --verbose")}),
        "node": reader(allow="", sub={"ls": DOCKER_LIST, "ps": DOCKER_LIST}),
        "service": reader(
            allow="", sub={"ls": DOCKER_LIST, "ps": DOCKER_LIST, "logs": DOCKER_LOGS}
        ),
        "stack": reader(
            allow="", sub={"ls": DOCKER_LIST, "ps": DOCKER_LIST, "services": DOCKER_LIST}
        ),
    },
)

_NO_SECRET = r"(?i)(?!.*secret)[\w.,:@/-]+"  # noqa: S105  # a pattern that keeps secrets out
_kube_get = reader(
    allow="-n -A -o -w -l -L --namespace --all-namespaces --output --watch --selector "
    "--show-labels "
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
KUBECTL = reader(
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
            allow="-n --namespace",
            values="-n --namespace",
            sub={"status": _kube_get, "history": _kube_get},
        ),
        "auth": reader(allow="", sub={"can-i": _any, "whoami": _bare}),
        "config": reader(
            allow="", sub={"current-context": _bare, "get-contexts": _any, "get-clusters": _bare}
        ),
    },
)
HELM = reader(
    allow="-n --namespace -A",
    values="-n --namespace",
    sub={
        "list": _kube_get,
        "ls": _kube_get,
        "status": _kube_get,
        "history": _kube_get,
        "version": _bare,
    },
)
