"""The report: whole, offline, readable, and calm about whatever numbers it gets."""

import copy
import json
import math
import random
import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offjax.agents import AGENTS
from offjax.evaluation import charts, notation
from offjax.evaluation.notation import Interval
from offjax.evaluation.report import _asset as asset
from offjax.evaluation.report import _learned_styles as learned_styles
from offjax.evaluation.report import report_html, write_report

SLOTS = 2000
WINDOWS = [
    {"label": "edge server away", "start": 500, "stop": 750},
    {"label": "edge server away", "start": 1250, "stop": 1500},
]
# label, kind, reward, half width, in time, energy J, latency s, battery J, share of tasks kept at home
POLICIES = {
    "ddqn": ("DDQN", "learned", -0.01187, 0.00021, 0.9412, 0.4121, 0.0534, 3175.2, 0.30),
    "ac": ("Actor-critic", "learned", -0.01391, 0.00058, 0.9187, 0.4536, 0.0561, 3092.7, 0.36),
    "oracle": ("Oracle, task by task", "reference", -0.01124, 0.00018, 0.9474, 0.4013, 0.0518, 3197.4, 0.27),
    "least_latency": ("Least latency", "rule", -0.01212, 0.00019, 0.9474, 0.6220, 0.0391, 2755.9, 0.21),
    "least_energy": ("Least energy", "rule", -0.01984, 0.00031, 0.8611, 0.3127, 0.0811, 3374.6, 0.18),
    "random": ("Random", "rule", -0.04377, 0.00032, 0.6104, 0.9722, 0.1427, 2055.8, 0.33),
    "local": ("Always local", "rule", -0.06702, 0.00040, 0.3338, 2.0016, 0.3902, 0.0, 1.0),
    "mec": ("Always mec", "rule", -0.02711, 0.00034, 0.7503, 0.3310, 0.0487, 3337.8, 0.0),
    "cloud": ("Always cloud", "rule", -0.03022, 0.00036, 0.7007, 0.3290, 0.0630, 3341.9, 0.0),
    "best_fixed_rule": (
        "Best fixed rule (local, cloud, cloud)",
        "rule", -0.01693, 0.00027, 0.8903, 0.3810, 0.0601, 3237.9, 0.33,
    ),
}  # fmt: skip


def spread(mean, half):
    return {"mean": mean, "ci95": half}


def policy(noise, label, kind, reward, half, success, energy, latency, battery, home):
    slots = list(range(0, SLOTS, 10))
    failed = 1.0 - success
    rewards = []
    for slot in slots:
        away = any(window["start"] <= slot < window["stop"] for window in WINDOWS)
        rewards.append(reward * (1.9 if away else 0.7) + noise.gauss(0, 0.0008))
    shares = {"wait": 0.0, "decide": 0.002, "uplink": 0.4, "backhaul": 0.17, "queue": 0.05, "service": 0.378}
    offloaded = 1.0 - home
    return {
        "label": label,
        "kind": kind,
        "reward": spread(reward, half),
        "regret": spread(-0.01124 - reward, half / 3),
        "score": spread((reward + 0.04377) / (0.04377 - 0.01124), half * 20),
        "success": spread(success, 0.004),
        "energy_j": spread(energy, 0.0061),
        "latency_s": spread(latency, 0.0012),
        "battery_j": spread(battery, 11.3),
        "latency_parts_s": {
            name: spread(share * latency, 0.01 * latency) for name, share in {**shares, "downlink": 0.0}.items()
        },
        "drops": {
            "link_lost": spread(0.1 * failed, 0.01 * failed),
            "server_lost": spread(0.55 * failed, 0.01 * failed),
            "battery_empty": spread(0.05 * failed, 0.01 * failed),
        },
        "late": spread(0.3 * failed, 0.01 * failed),
        "decisions": {
            "class1": [min(1.0, 1.6 * home), 0.0, 1.0 - min(1.0, 1.6 * home)],
            "class2": [home, 0.7 * offloaded, 0.3 * offloaded],
            "class3": [0.2 * home, 0.85 * (1 - 0.2 * home), 0.15 * (1 - 0.2 * home)],
        },
        "battery_curve": {
            "slot": slots,
            "joules": [max(0.0, 4000 - (4000 - battery) * slot / SLOTS) for slot in slots],
        },
        "reward_curve": {
            "slot": slots,
            "reward": rewards,
            "low": [value - 0.0009 for value in rewards],
            "high": [value + 0.0009 for value in rewards],
        },
    }


def make_setting(noise, key, title):
    return {
        "key": key,
        "title": title,
        "description": "Twenty devices in one cell; the edge server is away twice for 250 slots.",
        "reference": "exact",
        "reference_note": "Rewards do not depend on the battery: the best place per task is optimal.",
        "windows": WINDOWS,
        "policies": {name: policy(noise, *numbers) for name, numbers in POLICIES.items()},
    }


def training(noise, key, algorithm, label, start, end):
    slots = list(range(0, 20_000, 100))
    regret, drift = [], 0.0
    for slot in slots:
        drift = 0.9 * drift + noise.gauss(0, 0.05)
        regret.append(end + (start - end) * math.exp(-slot / 2500 + drift))
    band = [0.25 * value + 0.0002 for value in regret]
    pairs = list(zip(regret, band, strict=True))
    return {
        "algorithm": algorithm,
        "label": label,
        "setting": key,
        "seeds": 5,
        "slot": slots,
        "reward": {
            "value": [-0.0112 - value for value in regret],
            "low": [-0.0112 - value - half for value, half in pairs],
            "high": [-0.0112 - value + half for value, half in pairs],
        },
        "regret": {
            "value": regret,
            "low": [value - half for value, half in pairs],
            "high": [value + half for value, half in pairs],
        },
    }


def bounds(value, half):
    return {"value": value, "low": value - half, "high": value + half}


def aggregated(keys):
    def algorithm(label, score):
        shares = [1.0, 1.0 if score > 0.95 else 0.4, 0.0]
        profile = {"value": shares, "low": [1.0, 0.1, 0.0], "high": [1.0, 1.0, 0.2]}
        return {
            "label": label,
            "iqm": bounds(score, 0.01),
            "optimality_gap": bounds(1 - score, 0.01),
            "profile": profile,
        }

    return {
        "references": dict.fromkeys(keys, "exact"),
        "left_out": ["class1/scenario2"],
        "runs": 5,
        "thresholds": [0.9, 0.95, 1.0],
        "algorithms": {"ac": algorithm("Actor-critic", 0.93), "ddqn": algorithm("DDQN", 0.98)},
        "improvement": {"ddqn": {"ac": bounds(0.88, 0.1)}, "ac": {"ddqn": bounds(0.12, 0.1)}},
    }


def make_report(settings_count=2):
    noise = random.Random(7)
    keys = [("uniform/scenario1", "Uniform mix, scenario 1"), ("class3/scenario2", "Class 3 mix, scenario 2")]
    keys = keys[:settings_count]
    return {
        "title": "nieto2024: DDQN and actor-critic",
        "subtitle": "5 training seeds, 20 evaluation seeds, 2,000 slots",
        "decision_names": ["local", "mec", "cloud"],
        "settings": [make_setting(noise, *key) for key in keys],
        "aggregate": aggregated([key for key, _ in keys]),
        "training": [
            training(noise, key, *rest)
            for key, _ in keys
            for rest in (("ddqn", "DDQN", 0.03, 0.0006), ("ac", "Actor-critic", 0.04, 0.0024))
        ],
        "export": {
            "ddqn": {"observations": 10_000, "max_abs_diff": 1.9e-7, "decision_agreement": 1.0},
            "ac": {"observations": 10_000, "max_abs_diff": 3.1e-7, "decision_agreement": 0.99999},
        },
        "provenance": {
            "offjax": "0.1.0",
            "commit": "4f2c1e0d9a (with changes)",
            "started": "2026-11-22T15:49:45+00:00",
            "platform": "Linux-6.8.0-x86_64-with-glibc2.36",
            "backend": "cpu, 1 device, two cores",
        },
        "config_yaml": "problem:\n  name: nieto2024\n  preset: text\ntraining:\n  seeds: 5\n  slots: 20000\n",
    }


VOID = {"meta", "link", "br", "hr", "img", "input"}
SECTIONS = {
    "headline",
    "setting-1",
    "aggregate",
    "aggregate-profile-figure",
    "learning",
    "export",
    "board",
    "provenance",
    "config",
}
FIGURES = {f"setting-1-{name}-figure" for name in ("regret", "energy", "decisions", "latency", "drops", "battery")}


class Page(HTMLParser):
    """A page taken apart; fails where tags do not close in order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.stack, self.ids, self.elements, self.text = [], [], [], []
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        if self.stack and self.stack[-1] not in ("style", "script"):
            self.text.append(data)

    @property
    def words(self):
        """The visible text with single plain spaces."""
        return " ".join(" ".join(self.text).split())

    def attributes(self, tag):
        """Those of all elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def report():
    return make_report()


@pytest.fixture(scope="module")
def page(report):
    return Page(report_html(report))


def test_file_is_written_whole_and_under_its_name(tmp_path, report):
    path = write_report(tmp_path, report)
    assert path == tmp_path / "report.html"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
    assert path.read_text(encoding="utf-8") == report_html(report)


def test_page_is_well_formed_and_every_section_is_there(page):
    assert len(page.ids) == len(set(page.ids))
    assert {*SECTIONS, *FIGURES, "setting-2", "setting-1-reward-figure"} <= set(page.ids)
    links = [link["href"] for link in page.attributes("a")]
    assert links
    assert all(href[0] == "#" and href[1:] in page.ids for href in links)


def test_page_opens_offline(report):
    text = report_html(report)
    assert not re.search(r"https?:|=[\"']?//|url\(|@import|\bfetch\(|XMLHttpRequest|\bimport\(", text)
    loads = [attributes for _, attributes in Page(text).elements if {"src", "srcset", "data"} & set(attributes)]
    assert loads == []


def test_charts_say_what_they_show(page):
    charts_shown = [svg for svg in page.attributes("svg") if svg.get("role") == "img"]
    assert len(charts_shown) > 20
    for svg in charts_shown:
        assert set(svg["aria-labelledby"].split()) <= set(page.ids)
    decorations = [svg for svg in page.attributes("svg") if svg.get("role") != "img" and "class" not in svg]
    assert all(svg.get("aria-hidden") == "true" for svg in decorations)


def test_tables_have_headers_captions_and_boxes_that_scroll(page):
    tables = len(page.attributes("table"))
    assert tables == len(page.attributes("caption")) == len(page.attributes("tbody"))
    boxes = [box for box in page.attributes("div") if box.get("class") == "scroll"]
    assert len(boxes) == tables
    assert all(box["tabindex"] == "0" and box["aria-label"] for box in boxes)
    assert all(cell.get("scope") in ("col", "row") for cell in page.attributes("th"))


def test_headings_do_not_skip_a_level(page):
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_headline_names_policy_regret_score_and_reference(page):
    assert "DDQN has a regret of 6.30 × 10⁻⁴ ± 7 × 10⁻⁵ per task against the exact optimum" in page.words
    assert "a score of 0.981 ± 0.004" in page.words
    assert "The best fixed rule (local, cloud, cloud) has 0.00569 ± 0.00009" in page.words


def test_rows_are_sorted_by_reward_and_marked(report):
    html = report_html(make_report(1))
    heads = re.findall(r'<tr class="(\w+)"><th scope="row">.*?</svg></svg>(.*?)</th>', html)
    expected = sorted(POLICIES.values(), key=lambda numbers: -numbers[2])
    assert [kind for kind, _ in heads] == [numbers[1] for numbers in expected]
    assert [re.sub(r" <em>.*", "", label) for _, label in heads] == [numbers[0] for numbers in expected]
    assert "<em>reference</em>" in heads[0][1]


def test_numbers_carry_units_and_intervals(page):
    for text in ("−0.0119 ±\u20090.0002", "94.1 ±\u20090.4", "3\u2009175 ±\u200911", "53.4 ms"):
        assert " ".join(text.split()) in page.words
    for unit in ("ms per task", "J per task", "J per device", "% of tasks", "per task, log scale"):
        assert unit in page.words


def test_labels_are_escaped():
    report = make_report(1)
    nasty = "<script>alert('1')</script>&amp;\"onload=x"
    report["title"] = report["config_yaml"] = report["subtitle"] = nasty
    report["provenance"] = {nasty: nasty}
    report["export"] = {nasty: {"observations": 1}}
    setting = report["settings"][0]
    setting["title"] = setting["description"] = setting["reference"] = nasty
    setting["windows"][0] = {"label": nasty, "start": 1, "stop": 900}
    setting["policies"]["ddqn"]["label"] = report["training"][0]["label"] = nasty
    setting["policies"]["ddqn"]["decisions"] = {nasty: [0.5, 0.5]}
    report["decision_names"] = [nasty, "mec", "cloud"]
    page = Page(report_html(report))
    assert len(page.attributes("script")) == 1
    assert not any("onload" in name for _, attributes in page.elements for name in attributes)
    assert page.words.count(nasty) > 5


def test_what_holds_over_all_settings_names_its_references_and_sorts_by_score(page):
    assert "the exact optimum (uniform/scenario1, class3/scenario2)" in page.words
    assert "Left out, because random decisions are no worse than the reference: class1/scenario2" in page.words
    assert re.search(r"DDQN 0\.980 0\.970 to 0\.990 0\.020 0\.010 to 0\.030 – 88\s%.*Actor-critic 0\.930", page.words)
    mixed = make_report()
    mixed["aggregate"]["references"]["class3/scenario2"] = "best_response"
    assert "Scores against different references are pooled here." in Page(report_html(mixed)).words
    assert "Scores against different references" not in page.words


def test_one_algorithm_in_one_setting_has_nothing_over_all_settings():
    report = make_report(1)
    assert 'id="aggregate"' in report_html(report)
    del report["aggregate"]["algorithms"]["ac"]
    assert 'id="aggregate"' not in report_html(report)


@pytest.mark.parametrize("empty", [{}, {"settings": None, "training": None, "export": None}, {"settings": [{}]}])
def test_a_report_without_results_is_still_a_page(empty):
    assert "This run holds no evaluated policy." in Page(report_html(empty)).words


def paths_of(data, prefix=()):
    """The path to every value of a report that is no plain list."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for name, value in items:
        yield (*prefix, name)
        if isinstance(value, dict) or (value and isinstance(value, list) and isinstance(value[0], dict)):
            yield from paths_of(value, (*prefix, name))


def replaced(data, path, value):
    data = copy.copy(data)
    data[path[0]] = replaced(data[path[0]], path[1:], value) if len(path) > 1 else value
    return data


@pytest.mark.parametrize("value", [None, math.nan, {}])
def test_any_part_may_be_missing(value):
    report = make_report(1)
    setting = report["settings"][0]
    setting["policies"] = {name: setting["policies"][name] for name in ("ddqn", "best_fixed_rule")}
    report["training"] = report["training"][:1]
    report["aggregate"]["algorithms"]["ac"] = {"label": "Actor-critic"}  # fewer pages to draw
    for path in paths_of(report):
        text = report_html(replaced(report, path, value))
        assert not re.search(r"\bnan\b|\binf\b|None", text), path


def test_a_missing_number_is_a_dash():
    report = make_report(1)
    policies = report["settings"][0]["policies"]
    policies["ddqn"]["battery_j"] = None
    policies["ac"]["score"] = {"mean": math.nan, "ci95": math.nan}
    report["export"]["ac"]["max_abs_diff"] = None
    rows = re.findall(r"<tr.*?</tr>", report_html(report))
    cells = {label: re.findall(r"<td>(.*?)</td>", row) for row in rows for label in POLICIES if f">{label}<" in row}
    assert cells["ac"][1] == "–"
    assert sum("<td>–<" in row for row in rows if "DDQN" in row or "Actor-critic" in row) >= 2


def test_regret_at_or_below_zero_is_clamped_and_said(page):
    assert page.words.count("at or below zero, or too small for the axis, are drawn on its left edge") == 2


def lightness(colour):
    channels = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    high, low = sorted((lightness(one), lightness(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colours_are_readable_in_light_and_dark():
    blocks = re.findall(r":root[^{]*\{([^}]*)\}", asset("report.css"))
    light, dark, chosen = (dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in blocks)
    assert dark == chosen
    assert set(light) == set(dark)
    for colours in (light, dark):
        for ink in ("ink", "muted", "link", *(f"k{index}" for index in range(8))):
            assert contrast(colours[ink], colours["paper"]) >= 4.5, ink
        for ground in ("tint", "faint", "window"):
            assert contrast(colours["muted"], colours[ground]) >= 4.5, ground


def test_every_algorithm_has_a_line_of_its_own():
    """Colour and dash differ, and are in the style sheet, for as many as can be trained in one run."""
    styles = re.findall(r"^\.l(\d) \{ --mark: (\S+); --dash: ([^;]+);", asset("report.css"), re.MULTILINE)
    assert [int(index) for index, _, _ in styles] == list(range(len(AGENTS)))
    assert len({colour for _, colour, _ in styles}) == len({dash for _, _, dash in styles}) == len(AGENTS)
    names = [f"trained_{name}" for name in AGENTS]
    report = {"training": [{"algorithm": name} for name in names]}
    assert list(learned_styles(report, []).values()) == [f"l{index}" for index in range(len(AGENTS))]


def numbers_of(svg):
    """Every coordinate and size in a drawing."""
    names = "|".join(("x", "y", "x1", "x2", "y1", "y2", "dx", "r", "width", "height", "points", "viewBox"))
    for attribute in re.findall(rf' (?:{names})="([^"]*)"', svg):
        for part in attribute.replace(",", " ").replace("%", " ").split():
            yield float(part)


ANY = st.one_of(st.none(), st.floats(), st.integers(-(10**12), 10**12), st.floats(-1e-3, 1e-3), st.just("text"))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(ANY, ANY, ANY, ANY), max_size=12), st.booleans())
def test_line_charts_have_finite_coordinates_only(rows, log):
    columns = [list(column) for column in zip(*rows, strict=True)] or [[]] * 4
    lines = [charts.curve("a", "l0", *columns), charts.curve("b", "r0", columns[0], columns[2])]
    chart = charts.line_chart("c", "t", "d", lines, charts.Axes("slot", "reward", log, (("out", 1.0, 5.0),)))
    if chart is not None:
        Page(chart.svg)
        assert all(map(math.isfinite, numbers_of(chart.svg)))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(ANY, ANY), max_size=8), st.booleans())
def test_dot_plots_have_finite_coordinates_only(rows, log):
    values = [notation.interval({"mean": mean, "ci95": half}) for mean, half in rows]
    decimals = notation.decimals_for(values)
    dots = [charts.Dot("a", "l0", "rule", value, notation.fixed(value.mean, decimals)) for value in values]
    chart = charts.dot_plot("c", "t", "d", dots, "regret", log)
    if chart is not None:
        Page(chart.svg)
        assert all(map(math.isfinite, numbers_of(chart.svg)))


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(["uplink", "queue", "service", "other"]), ANY), ANY, ANY)
def test_a_page_of_any_numbers_has_finite_coordinates_only(parts, late, mean):
    row = {"kind": "learned", "reward": {"mean": mean, "ci95": late}, "latency_parts_s": parts, "late": late}
    html = report_html({"settings": [{"policies": {"p": row | {"decisions": {"class1": [late, mean]}}}}]})
    for svg in re.findall(r"<svg.*</svg>", html):
        assert all(map(math.isfinite, numbers_of(svg)))


def test_labels_at_the_ends_of_curves_keep_apart():
    places = charts.spread([10.0, 11.0, 12.0, 188.0, 189.0], gap=14.0, low=4.0, high=188.0)
    assert all(after - before >= 14.0 - 1e-9 for before, after in pairwise(places))
    assert places[0] >= 4.0
    assert places[-1] <= 188.0


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (-0.01234, 4, "−0.0123"),
        (0.0, 2, "0.00"),
        (1234.5, 1, "1\u2009234.5"),
        (None, 2, "–"),
        (3e-9, 4, "3.0 × 10⁻⁹"),
    ],
)
def test_numbers_are_written_for_readers(value, decimals, text):
    assert notation.fixed(value, decimals).replace("\u2009×\u2009", " × ") == text


@pytest.mark.parametrize(("share", "text"), [(1.0, "100.0 %"), (0.99999, "99.999 %"), (0.0, "0.0 %"), (0.5, "50.0 %")])
def test_only_all_of_them_are_100_percent(share, text):
    assert notation.percent(share) == text.replace(" %", "\u00a0%")


def test_decimals_follow_the_interval():
    assert notation.decimals_for([Interval(0.0123, 0.0004), Interval(0.5, 0.0005)]) == 4
    assert notation.decimals_for([Interval(123.0, 12.0)]) == 0
    assert notation.decimals_for([Interval(None, None)]) == 0


def test_the_report_is_plain_data_and_not_changed():
    report = make_report(1)
    before = json.dumps(report)
    report_html(report)
    assert json.dumps(report) == before
