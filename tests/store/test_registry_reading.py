"""Registry files: what is refused, with its line and its remedy, all of it at once."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rules.calendar import Base, Calendar, DayClass, Term
from store.registry import RegistryRefused, examine, read_document
from store.registry.document import RouteItem
from store.registry.held import Holding, Kind
from tests.store.registries import EXAMPLE

EMPTY = Holding(
    version=0, things={kind: {} for kind in Kind}, bound={}, seen=frozenset(), versions={}
)

SCHOOL = """
sites:
  - id: school-01
    name: 第三中学
    timezone: Asia/Shanghai
    checkpoints:
      - {id: gate-east, name: 东门, tags: ["0401"]}
      - {id: lab, name: 实验楼, tags: ["0402"]}
    plans:
      - id: night
        name: 夜间巡更
        route: [gate-east, lab]
        windows: ["22:00-23:00"]
"""


def refusal(text: str) -> list[str]:
    """Every problem of a file, against an empty ledger; none if it is fine."""
    try:
        examine(read_document(text.encode()), EMPTY)
    except RegistryRefused as refused:
        return [str(problem) for problem in refused.problems]
    return []


def test_the_examples_are_fine() -> None:
    """The file that the README starts from is not refused."""
    assert refusal(EXAMPLE.read_text(encoding="utf-8")) == []
    assert refusal(SCHOOL) == []


@pytest.mark.parametrize(
    ("was", "becomes", "problem"),
    [
        (
            "[gate-east, lab]",
            "[gate-est, lab]",
            "line 12: plan 'night' visits 'gate-est', which no checkpoint of school-01 is called; "
            "did you mean 'gate-east'?",
        ),
        (
            "route: [gate-east, lab]",
            "rout: [gate-east, lab]",
            "line 12: plan 'night' of site 'school-01': 'rout' is not known; did you mean 'route'?",
        ),
        (
            "        route: [gate-east, lab]\n",
            "",
            "line 10: plan 'night' of site 'school-01': 'route' is missing: add it, as in route: "
            "[gate-east, lab]",
        ),
        (
            "id: lab",
            "id: Lab 2",
            "line 8: checkpoint 'Lab 2' of site 'school-01': id: 'Lab 2' is no id: write 1 to 63 "
            "of a-z, 0-9 and -, as in lab-2",
        ),
        (
            "id: school-01",
            "id: events",
            "line 3: site 'events': id: 'events' is reserved (all, events, service, sim, time): "
            "choose another",
        ),
        (
            "Asia/Shanghai",
            "Asia/Shangai",
            "line 5: site 'school-01': timezone: 'Asia/Shangai' is no time zone; did you mean "
            "'Asia/Shanghai'?",
        ),
        (
            '"0402"',
            '"04:01"',
            "line 8: tag '0401' is on checkpoint 'school-01/lab' and on checkpoint "
            "'school-01/gate-east' (line 7): a tag stands for one thing, keep one",
        ),
        (
            "id: lab, name",
            "id: gate-east, name",
            "line 8: checkpoint 'gate-east' of school-01 stands here and in line 7: keep one",
        ),
        (
            "name: 东门",
            "name: 东门, name: 西门",
            "line 7: 'name' stands here and in line 7: keep one",
        ),
        (
            "name: 东门,",
            "name: ,",
            "line 7: checkpoint 'gate-east' of site 'school-01': 'name' is missing: add it, as in "
            "name: 东门",
        ),
        (
            "name: 东门",
            "name: 东门, risk: rd",
            "line 7: checkpoint 'gate-east' of site 'school-01': risk: 'rd' is not known; did you "
            "mean 'red'?",
        ),
        (
            "name: 东门",
            "name: 东门, pos: {lat: 91, lon: 0}",
            "line 7: pos of checkpoint 'gate-east' of site 'school-01': lat: '91' is no angle: "
            "write degrees from -90 to 90",
        ),
        (
            "name: 东门",
            "name: 东门, area: est",
            "line 7: the area of checkpoint 'gate-east' is 'est', which no area of school-01 is "
            "called: add it, or correct the id",
        ),
        (
            '["22:00-23:00"]',
            '["22:00-2300"]',
            "line 13: plan 'night' of site 'school-01': windows: '22:00-2300' is no window: write "
            "22:00-23:00, or 22:00-06:00 overnight",
        ),
        (
            '["22:00-23:00"]',
            '["22:00-23:00", "22:00-22:30"]',
            "line 10: two windows of plan night open at the same time: keep one",
        ),
        (
            '["22:00-23:00"]',
            '["22:00-23:00"]\n        grace: 5',
            "line 14: plan 'night' of site 'school-01': grace: '5' is no span of time: write 20s, "
            "5m, 2h, 1d or 1h30m",
        ),
        (
            '["22:00-23:00"]',
            '["22:00-23:00"]\n        days: [schoolday]',
            "line 14: plan 'night' of site 'school-01': days: 'schoolday' is not known; did you "
            "mean 'school-day'?",
        ),
        (
            '["22:00-23:00"]',
            '["22:00-23:00"]\n        days: []',
            "line 14: plan 'night' of site 'school-01': days: is empty: write days: [school-day]",
        ),
        (
            '["22:00-23:00"]',
            '["22:00-23:00"]\n        ordered: yes',
            "line 14: plan 'night' of site 'school-01': ordered: 'yes' is neither: write true or "
            "false",
        ),
        (
            '["22:00-23:00"]',
            '["22:00-23:00"]\n        every: 1h',
            "line 10: plan 'night' allows 1h between visits, but its window 22:00-23:00 is no "
            "longer than that, so it would never tell: lengthen the window, or make `every` "
            "shorter",
        ),
        (
            '["22:00-23:00"]',
            '["22:00-06:00"]\n        every: 2h\n        ordered: true',
            "line 10: plan 'night' has `every`, which knows no order: take `ordered` out",
        ),
        (
            '["22:00-23:00"]',
            '["22:00-06:00"]\n        every: 2h\n        early: 5m',
            "line 10: plan 'night' has `every`, whose clock starts when the window opens: take "
            "`early` out",
        ),
        (
            "[gate-east, lab]",
            "[lab, lab]",
            "line 12: checkpoint 'lab' on the route of plan 'night' stands here and in line 12: "
            "keep one",
        ),
        (
            "    checkpoints:",
            "    belongs_to: [bureau]\n    checkpoints:",
            "line 6: a grid that 'school-01' belongs to is 'bureau', which no grid is called: add "
            "it, or correct the id",
        ),
        (
            "    checkpoints:",
            "    devices: [{id: hh-1, protocol: tasmoto}]\n    checkpoints:",
            "line 6: device 'hh-1' of site 'school-01': protocol: 'tasmoto' is not known; did you "
            "mean 'tasmota'?",
        ),
        (
            "    checkpoints:",
            "    devices: [{id: hh-1, protocol: tasmota}]\n    checkpoints:",
            "line 6: device 'hh-1' needs an `address`: its `Topic`, as tasmota_4A21B7",
        ),
        (
            "    checkpoints:",
            "    devices: [{id: hh-1, protocol: owntracks, address: phone}]\n    checkpoints:",
            "line 6: device 'hh-1': 'phone' is no address of owntracks: write user/device as in "
            "the app, as phone-17/phone",
        ),
        (
            "    checkpoints:",
            "    devices: [{id: hh-1, checkpoint: labb}]\n    checkpoints:",
            "line 6: where device 'hh-1' hangs is 'labb', which no checkpoint of school-01 is "
            "called; did you mean 'lab'?",
        ),
        (
            "    checkpoints:",
            "    devices: [{id: hh-1, address: x}]\n    checkpoints:",
            "line 6: device 'hh-1' speaks our contract, where its id is its address: take "
            "`address` out, or name the `protocol` of its maker",
        ),
        (
            "    checkpoints:",
            "    devices:\n    - {id: a, protocol: tasmota, address: x}\n"
            "    - {id: b, protocol: tasmota, address: x}\n    checkpoints:",
            "line 8: device 'b' has the address 'x', and so has 'a' (line 7): an address is one "
            "reader's, keep one",
        ),
        (
            "    checkpoints:",
            "    devices: [{id: hh-1}, {id: hh-1}]\n    checkpoints:",
            "line 6: device 'hh-1' belongs to school-01 here and to school-01 in line 6: a device "
            "has one place, keep one",
        ),
        (
            "    checkpoints:",
            "    areas: [{id: a, name: A, parent: b}, {id: b, name: B}, {id: c, name: C, "
            "leader: p-1}]\n    checkpoints:",
            "line 6: the leader of area 'c' is 'p-1', which no person is called: add it, or "
            "correct the id",
        ),
        (
            '["0402"]',
            '"0402"',
            "line 8: checkpoint 'lab' of site 'school-01': tags: must be a list: write [ ] around "
            "it, or - before each",
        ),
        (
            '{id: lab, name: 实验楼, tags: ["0402"]}',
            "lab",
            "line 8: checkpoint of site 'school-01': must be a mapping: write {id: …, …}, or its "
            "keys below each other",
        ),
        (
            "sites:",
            "terms: [{from: 2026-09-01, to: 2026-08-01}]\nsites:",
            "line 2: term: a term from 2026-09-01 to 2026-08-01 ends before it begins: swap the "
            "dates",
        ),
        (
            "sites:",
            "terms: [{from: 2026-09-01, to: 2027-01-01}, {from: 2026-12-01, to: 2027-02-01}]\n"
            "sites:",
            "line 2: the file: terms: this one begins before 2027-01-01, when another ends",
        ),
        (
            "sites:",
            "terms: [{from: 2026-9-1, to: 2027-01-01}]\nsites:",
            "line 2: term: from: '2026-9-1' is no date: write it as 2026-09-01",
        ),
        (
            "sites:",
            "calendar: us\nsites:",
            "line 2: the file: calendar: 'us' is not known: write one of cn, every-day",
        ),
        (
            "sites:",
            "devices: [{id: insp-01}]\nsites:",
            "line 2: device 'insp-01': 'grid' is missing: name a grid node, or put it under a site",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line_and_remedy(was: str, becomes: str, problem: str) -> None:
    """Each mistake is told once it is made: where, what, and what to write instead."""
    assert was in SCHOOL
    assert problem in refusal(SCHOOL.replace(was, becomes, 1))


GRIDS = """
grids:
  - {id: a, name: A, tree: sector, level: 1}
  - {id: b, name: B, tree: sector, level: 2, parent: a}
  - {id: c, name: C, tree: territory, level: 2}
sites:
  - {id: s, name: S, timezone: UTC, belongs_to: [b, c]}
"""


@pytest.mark.parametrize(
    ("was", "becomes", "problem"),
    [
        (
            "tree: sector, level: 1",
            "tree: sector, level: 1, parent: b",
            "line 3: grid 'a' is above itself: correct a parent of its",
        ),
        (
            "level: 2, parent: a",
            "level: 1, parent: a",
            "line 4: grid 'b' has level 1, its parent 'a' 1: a parent's level is the smaller "
            "number",
        ),
        (
            "level: 2}",
            "level: 2, parent: a}",
            "line 5: grid 'c' is of tree territory, its parent 'a' of sector: a tree does not "
            "cross, name a parent of the same",
        ),
        (
            "[b, c]",
            "[b, a]",
            "line 7: site 's' hangs on 'b' and 'a', both of tree sector: name one node of each "
            "tree",
        ),
    ],
)
def test_trees_stay_trees(was: str, becomes: str, problem: str) -> None:
    """No circle, no crossing from one tree into the other, one node of each tree for a site."""
    assert refusal(GRIDS) == []
    assert refusal(GRIDS.replace(was, becomes, 1))[0] == problem


def test_areas_form_a_tree() -> None:
    """An area cannot be above itself."""
    areas = "areas: [{id: a, name: A, parent: b}, {id: b, name: B, parent: a}]\n    checkpoints:"
    assert refusal(SCHOOL.replace("checkpoints:", areas, 1)) == [
        "line 6: area 'a' of school-01 is above itself: correct a parent of its",
        "line 6: area 'b' of school-01 is above itself: correct a parent of its",
    ]


def test_everything_wrong_is_told_at_once() -> None:
    """Mistakes of reading, of names and of sense come in one refusal, by line."""
    text = SCHOOL.replace("Asia/Shanghai", "Mars/Base").replace("[gate-east, lab]", "[gate]")
    found = refusal(text.replace('"22:00-23:00"', '"9-10"') + "sitez: []\n")
    assert [line.split(":")[0] for line in found] == ["line 5", "line 12", "line 13", "line 14"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"sites: [", "line 1: this is not YAML"),
        (b"a: 1\nb: \xcb\xfe\xd5\xc6\n", "line 2: the file is not UTF-8"),
        (b"[" * 2_000, "nests too deeply|not YAML"),
        (b"a: \x00", "line 1: this is not YAML"),
        (b"sites: *nobody", "line 1: this is not YAML"),
        (b"--- 1\n--- 2\n", "not YAML"),
    ],
)
def test_what_is_no_yaml_is_refused_with_a_line(data: bytes, words: str) -> None:
    """Broken files, GBK files and nests of brackets are refused, never raised through."""
    with pytest.raises(RegistryRefused, match=words):
        read_document(data)


@pytest.mark.parametrize("data", [b"", b"# nothing\n", b"hello", b"[1, 2]", b"&a [*a]"])
def test_what_holds_no_registry_says_so(data: bytes) -> None:
    """An empty file, or YAML that is no mapping, would apply nothing: it is refused."""
    (problem,) = read_document(data).problems
    assert "holds no registry: begin as examples/registry.yaml does" in str(problem)


def test_a_byte_order_mark_is_allowed() -> None:
    """Files saved by Notepad begin with one."""
    assert refusal("\ufeff" + SCHOOL) == []


def test_scalars_are_what_was_written() -> None:
    """Ids and tags that look like numbers stay text; tags come in their normal form."""
    text = SCHOOL.replace("id: lab", "id: 007").replace("gate-east, lab", "gate-east, 007")
    document = read_document(text.replace('"0402"', "04:11:22:33:44:55:66, 04E5, GATE 1").encode())
    (school,) = document.sites
    point = school.checkpoints[1]
    assert document.problems == ()
    assert point.slug == "007"
    assert [tag.text for tag in point.tags] == ["04112233445566", "04E5", "GATE 1"]
    assert school.plans[0].route[1] == RouteItem("007", 12)


def test_what_is_left_out_has_its_default() -> None:
    """No calendar: China's; no terms: always; no days: every day; no spans: none."""
    document = read_document(SCHOOL.encode())
    plan = document.sites[0].plans[0]
    assert document.calendar == Calendar(base=Base.CN, terms=None)
    assert (plan.days, plan.ordered, plan.every) == (None, False, None)
    assert (plan.grace, plan.early, plan.min_gap) == (0, 0, 0)


def test_values_come_in_our_units() -> None:
    """Spans are ms, days are classes, terms have both their ends."""
    document = read_document(EXAMPLE.read_bytes())
    school = document.sites[0]
    night, gap = school.plans[0], school.plans[2]
    assert (night.grace, night.min_gap, gap.every) == (300_000, 20_000, 7_200_000)
    assert night.days == frozenset(map(DayClass, ("school-day", "weekend", "holiday")))
    assert school.devices[0].heartbeat == 300_000
    terms = document.calendar.terms
    assert terms is not None
    assert all(isinstance(term, Term) for term in terms)
    assert (str(terms[1].since), str(terms[1].until)) == ("2026-09-01", "2027-01-22")


def test_a_plan_knows_who_answers_for_each_place() -> None:
    """The leader of a checkpoint is its area's, or that of the nearest area above."""
    school = read_document(EXAMPLE.read_bytes()).sites[0]
    route = school.plan(school.plans[0]).route
    assert [(point.slug, point.leader) for point in route] == [
        ("gate-east", "p-017"),
        ("lab", "p-017"),
        ("dorm-a", "p-021"),
        ("dorm-b", "p-021"),
        ("boiler", "p-001"),
    ]


def test_anchors_save_writing() -> None:
    """A plan may be written once and used again with `<<`; its own members go over it."""
    text = SCHOOL.replace("- id: night", "- &night\n        id: night")
    text += "      - {<<: *night, id: day, windows: ['08:00-09:00']}\n"
    document = read_document(text.encode())
    assert document.problems == ()
    night, day = document.sites[0].plans
    assert (day.slug, day.name, day.route) == ("day", night.name, night.route)
    assert day.windows != night.windows


FUZZ = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
LINES = EXAMPLE.read_bytes().splitlines(keepends=True)


@FUZZ
@given(data=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    """Whatever the file holds, it is read or refused."""
    try:
        examine(read_document(data), EMPTY)
    except RegistryRefused as refused:
        assert refused.problems


@FUZZ
@given(st.data())
def test_no_slip_of_the_hand_breaks_the_reader(data: st.DataObject) -> None:
    """The example with a line dropped, doubled or cut short is read or refused, with lines."""
    index = data.draw(st.integers(0, len(LINES) - 1))
    line = LINES[index]
    cut = line[: data.draw(st.integers(0, len(line)))]
    slip = data.draw(st.sampled_from([b"", line * 2, cut, cut + b"\n", line.replace(b":", b"")]))
    try:
        examine(read_document(b"".join((*LINES[:index], slip, *LINES[index + 1 :]))), EMPTY)
    except RegistryRefused as refused:
        assert all(1 <= problem.line <= len(LINES) + 2 for problem in refused.problems)


def test_a_big_file_is_read_with_its_lines(tmp_path: Path) -> None:
    """A mistake at the end of a long file is found at its line."""
    many = "".join(
        f"  - {{id: s-{n}, name: S, timezone: UTC, devices: [{{id: d-{n}}}]}}\n" for n in range(200)
    )
    assert refusal("sites:\n" + many + "  - {id: s-1, name: S, timezone: UTC}\n") == [
        "line 202: site 's-1' stands here and in line 3: keep one"
    ]
