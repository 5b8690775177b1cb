"""The chain of audit rows, what somebody looks for in it, and what leaves it."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.audit import AuditFilter, AuditRow, Chain, canonical, chain_mac, first_fault
from core.audit_export import BadHead, Checked, Export, Head, check_export, head_file, read_heads

KEY = b"k" * 32
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
ENTRIES = st.lists(
    st.tuples(TEXTS, TEXTS, TEXTS, st.dictionaries(TEXTS, TEXTS | st.integers(0, 9), max_size=3)),
    min_size=2,
    max_size=8,
)
COLUMNS = ("tenant_id", "seq", "at_ms", "actor", "action", "turn_id", "detail", "mac")
Entry = tuple[str, str, str, dict[str, str | int]]


def chain(entries: list[Entry], tenant: str = "ten_a", key: bytes = KEY) -> list[AuditRow]:
    """The rows as they are written."""
    rows: list[AuditRow] = []
    for seq, (actor, action, turn_id, detail) in enumerate(entries, start=1):
        row = AuditRow(
            tenant_id=tenant,
            seq=seq,
            at_ms=1_000 + seq,
            actor=actor,
            action=action,
            turn_id=turn_id,
            detail=canonical(detail),
            mac="",
        )
        previous = rows[-1].mac if rows else "0" * 64
        rows.append(replace(row, mac=chain_mac(key, previous, row)))
    return rows


def holds(rows: list[AuditRow], head: AuditRow) -> bool:
    """Whether verification finds nothing: the chain and its end."""
    end = Chain(key=KEY, tenant_id="ten_a")
    return first_fault(end, rows) is None and (end.seq, end.mac) == (head.seq, head.mac)


@given(ENTRIES, st.data())
def test_any_single_change_of_a_chain_is_found(entries: list[Entry], data: st.DataObject) -> None:
    """A column edited, a row deleted, swapped, cut off, doubled or put in: each is found."""
    rows = chain(entries)
    assert holds(rows, rows[-1])
    at = data.draw(st.integers(0, len(rows) - 1))
    other = data.draw(st.integers(0, len(rows) - 1).filter(lambda n: n != at))
    kind = data.draw(st.sampled_from(["edit", "delete", "swap", "cut", "double", "insert", "move"]))
    changed = list(rows)
    match kind:
        case "edit":
            column = data.draw(st.sampled_from(COLUMNS))
            before = getattr(rows[at], column)
            after = before + 1 if isinstance(before, int) else before + data.draw(st.just("x"))
            changed[at] = AuditRow(**{**asdict(rows[at]), column: after})
        case "delete":
            del changed[at]
        case "swap":
            changed[at], changed[other] = rows[other], rows[at]
        case "cut":
            del changed[at:]
        case "double":
            changed.insert(at, rows[at])
        case "insert":
            forged = chain(entries, key=b"another key, as a forger has it.")
            changed.insert(at, forged[at])
        case _:  # two rows take each other's number
            changed[at] = replace(rows[other], seq=rows[at].seq)
            changed[other] = replace(rows[at], seq=rows[other].seq)
    assert not holds(changed, rows[-1]), kind


@given(ENTRIES, TEXTS)
def test_a_boundary_between_columns_cannot_be_moved(entries: list[Entry], moved: str) -> None:
    """Text that goes from one column to the next is an edit, not the same content."""
    rows = chain(entries)
    last = rows[-1]
    shifted = replace(last, actor=last.actor + moved + "x", action=last.action)
    other = replace(last, actor=last.actor, action=moved + "x" + last.action)
    for changed in (shifted, other):
        assert not holds([*rows[:-1], changed], last)


def test_another_tenants_chain_is_not_taken_for_ones_own() -> None:
    """Chains that changed places are found, though each holds by itself."""
    rows = chain([("a", "b", "c", {})] * 3, tenant="ten_b")
    assert first_fault(Chain(key=KEY, tenant_id="ten_b"), rows) is None
    fault = first_fault(Chain(key=KEY, tenant_id="ten_a"), rows)
    assert fault == "row 1 of tenant ten_a was changed after it was written"


def test_a_suffix_that_was_forged_is_found() -> None:
    """Who has the database and not the key cannot write a row that fits."""
    rows = chain([("a", "b", "c", {"n": n}) for n in range(4)])
    forged = chain([("a", "b", "c", {"n": n}) for n in range(6)], key=b"f" * 32)
    assert "row 5" in str(first_fault(Chain(key=KEY, tenant_id="ten_a"), [*rows, *forged[4:]]))


@pytest.mark.parametrize(
    ("asked", "fits"),
    [
        (AuditFilter(), True),
        (AuditFilter(since_ms=1_001, until_ms=1_002, actor="a", action="tool.ran"), True),
        (AuditFilter(since_ms=1_002), False),
        (AuditFilter(until_ms=1_001), False),
        (AuditFilter(action="tool.*"), True),
        (AuditFilter(action="too.*"), False),
        (AuditFilter(action="tool"), False),
        (AuditFilter(server="web-2", level="L2"), True),
        (AuditFilter(server="web"), False),
        (AuditFilter(server="echo"), False),
        (AuditFilter(level="L1"), False),
        (AuditFilter(turn_id="t2"), False),
    ],
)
def test_what_a_filter_asks(asked: AuditFilter, *, fits: bool) -> None:
    """Times, exact words, kinds of actions, and one of several servers: never a part of one."""
    detail: dict[str, str | int] = {
        "servers": "web-1,web-2",
        "level": "L2",
        "summary": "echo,web,echo",
    }
    (row,) = chain([("a", "tool.ran", "t1", detail)])
    assert asked.fits(row) is fits
    assert not AuditFilter(level="L2").fits(replace(row, detail="{spoiled"))


# -- what leaves ----------------------------------------------------------------------------


def head_of(rows: list[AuditRow], tenant: str = "ten_a") -> Head:
    """Its head."""
    return Head(tenant_id=tenant, seq=rows[-1].seq, mac=rows[-1].mac, at_ms=5)


def exported(rows: list[AuditRow], asked: AuditFilter | None = None) -> list[str]:
    """The lines of an export."""
    asked = asked or AuditFilter()
    made = Export(key=KEY, asked=asked, head=head_of(rows, rows[0].tenant_id))
    macs = ["0" * 64, *(row.mac for row in rows)]
    lines = [
        made.line(row, before) for row, before in zip(rows, macs, strict=False) if asked.fits(row)
    ]
    return [*lines, made.end()]


def test_a_head_that_was_altered_is_refused() -> None:
    """Its seal covers tenant, number, MAC and time; another key's and rubbish are refused too."""
    rows = chain([("a", "b", "c", {})] * 2)
    content = head_file(KEY, [head_of(rows)])
    assert read_heads(KEY, content) == (head_of(rows),)
    for spoiled in (
        content.replace("ten_a", "ten_b"),
        content.replace('"seq": 2', '"seq": 1'),
        content.replace(rows[-1].mac, rows[0].mac),
        content.replace('"at_ms": 5', '"at_ms": 6'),
        content.replace('"seq": 2', '"seq": "2"'),
        "[" * 100_000,
        "{}",
        "[]",
        "",
    ):
        assert spoiled != content
        with pytest.raises(BadHead):
            read_heads(KEY, spoiled)
    with pytest.raises(BadHead):
        read_heads(b"o" * 32, content)


@given(ENTRIES, st.data())
def test_an_export_is_checked_alone(entries: list[Entry], data: st.DataObject) -> None:
    """Whole or filtered; any line that is changed, missing, doubled or swapped is found."""
    rows = chain(entries)
    actor = data.draw(st.sampled_from(["", *(entry[0] for entry in entries)]))
    lines = exported(rows, AuditFilter(actor=actor))
    checked = check_export(KEY, lines, [head_of(rows)])
    assert checked == Checked(rows=len(lines) - 1, tenants={"ten_a"})
    at = data.draw(st.integers(0, len(lines) - 1))
    document = json.loads(lines[at])
    name = data.draw(st.sampled_from(sorted(document)))
    value = document[name]
    document[name] = value + 1 if isinstance(value, int) else f"{value}x"
    for spoiled in (
        [*lines[:at], json.dumps(document), *lines[at + 1 :]],
        [*lines[:at], *lines[at + 1 :]],
        [*lines[:at], lines[at], lines[at], *lines[at + 1 :]] if at < len(lines) - 1 else [],
        [*lines[:-2], lines[-1]] if len(lines) > 1 else [],
    ):
        assert check_export(KEY, spoiled).faults, spoiled


def test_an_export_is_compared_with_a_head() -> None:
    """A log that was written anew, or ends before the head, is found; what is open is said."""
    rows = chain([("a", f"act.{n}", "c", {}) for n in range(4)])
    other = chain([("b", f"act.{n}", "c", {}) for n in range(4)])
    assert check_export(KEY, exported(rows), [head_of(rows[:2])]).faults == []
    assert "written anew" in check_export(KEY, exported(other), [head_of(rows[:2])]).faults[0]
    assert "written anew" in check_export(KEY, exported(other), [head_of(rows)]).faults[0]
    assert "ended at row 2" in check_export(KEY, exported(rows[:2]), [head_of(rows)]).faults[0]
    some = check_export(KEY, exported(rows, AuditFilter(action="act.0")), [head_of(rows[:2])])
    assert (some.faults, len(some.open_points)) == ([], 1)
    others = check_export(KEY, exported(rows), [head_of(rows, "ten_z")])
    assert (others.faults, len(others.open_points)) == ([], 1)


def test_an_export_of_a_log_with_a_hole_says_so() -> None:
    """The last line is sealed over what was there: a hole in the log is none of the export."""
    rows = chain([("a", "b", "c", {"n": n}) for n in range(4)])
    made = Export(key=KEY, asked=AuditFilter(), head=head_of(rows))
    lines = [made.line(rows[0], "0" * 64), made.line(rows[3], rows[2].mac), made.end()]
    assert "missing in the log" in check_export(KEY, lines).faults[0]
    joined = [*exported(rows), *exported(chain([("a", "b", "c", {})], tenant="ten_b"))]
    assert check_export(KEY, joined).tenants == {"ten_a", "ten_b"}
