"""The figures of a score: tables of rows, every rule's figures, other runs on the same rows."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from overlay.action.completion import ANSWER_TAG
from overlay.errors import DataError, SettingError
from overlay.evaluate import baselines
from overlay.evaluate.protocols import PROTOCOLS
from overlay.evaluate.rows import Asked
from overlay.metrics import intervals
from overlay.metrics.flags import gold_action, row_flags, step_of, under
from overlay.metrics.rules import RULE, RULES

COLUMNS = ("digest", "content", "source", "task", "group", "app", "position")
# What a rule is scored on besides all steps: gold types.
PARTS = {"clicks": ("click", "long_click"), "texts": ("type",), "swipes": ("swipe",)}


def table(rows: list[dict[str, Any]], completions: list[str], answer_format: str | None = None) -> pd.DataFrame:
    """One line for each row: where it is from, and its flags. `answer_format`: of the completions, where it is not what
    the row asked for."""
    lines = []
    for row, text in zip(rows, completions, strict=True):
        form = answer_format or row["answer_format"]
        flags = row_flags(text, row["solution"], row["screen"], row["with_thinking"], form)
        lines.append({name: row[name] for name in COLUMNS} | flags)
    return pd.DataFrame(lines)


def read_table(folder: Path, rule: str = RULE) -> pd.DataFrame:
    """The table of an earlier score. Raises SettingError when there is none, or when it was written before rows were
    paired by what they hold."""
    file = folder / "rows.csv"
    if not file.is_file():
        raise SettingError(f"--compare {folder}: no rows.csv there; it is the --out of another score")
    rows = pd.read_csv(file)
    missing = [name for name in ("digest", "task", "source", under(rule)) if name not in rows]
    if missing:
        raise SettingError(f"--compare {folder}: rows.csv has no column {', '.join(missing)}: score it again")
    return rows


def labels(folders: Sequence[Path]) -> dict[str, Path]:
    """Folders by their names, with as much of the path before them as keeps them apart; each once."""
    found = dict.fromkeys(folder.resolve() for folder in folders)

    def label(folder: Path) -> str:
        others = [other.parts for other in found if other != folder]
        depth = next(n for n in range(1, len(folder.parts) + 1) if folder.parts[-n:] not in [o[-n:] for o in others])
        return "/".join(folder.parts[-depth:])

    return {label(folder): folder for folder in found}


def _plain(scores: dict[str, intervals.Score]) -> dict[str, Any]:
    return {name: asdict(score) for name, score in scores.items()}


def check_judged(asked: Asked, rule: str) -> None:
    """DataError when the headline's rule can judge none of the rows."""
    reasons = [RULES[rule].lacks(step_of(gold_action(row["solution"]), row["screen"])) for row in asked.rows]
    if all(reasons):
        commonest = ", ".join(reason for reason, _ in Counter(reasons).most_common(2))
        raise DataError(f"rule {rule} can judge none of the {len(reasons)} rows: {commonest} (docs/scores.md)")


def rules_figures(asked: Asked, own: pd.DataFrame, others: dict[str, pd.DataFrame]) -> dict[str, dict[str, Any]]:
    """For each rule: what it means, its figures on all steps and parts of them (None where it judged none), over tasks,
    why steps have no verdict, on how many clicks the gold box's centre stood in for the tap, and the baselines."""
    steps = [step_of(gold_action(row["solution"]), row["screen"]) for row in asked.rows]
    figures = {}
    for name, rule in RULES.items():
        column = under(name)
        lacking = Counter(filter(None, map(rule.lacks, steps)))
        found: dict[str, Any] = {"steps": intervals.estimate(own[column], own["task"])}
        for part, types in PARTS.items():
            of_part = own[own["gold_type"].isin(types)]
            found[part] = intervals.estimate(of_part[column], of_part["task"])
        stand_ins = sum(
            not rule.lacks(step) and step.gold.type in PARTS["clicks"] and step.screen.tap is None for step in steps
        )
        figures[name] = {
            "meaning": rule.meaning, "link": rule.link,
            **{part: None if score is None else asdict(score) for part, score in found.items()},
            **_plain(intervals.episodes(own, column)),
            "not_judged": dict(lacking),
            "centre_for_tap": stand_ins if rule.taps else 0,
            "baselines": {
                other: sum(known) / len(known)
                for other, part in others.items() if (known := [bool(flag) for flag in part[column].dropna()])
            },
        }  # fmt: skip
    return figures


def protocol_figures(name: str, asked: Asked, own: pd.DataFrame, rule: str) -> dict[str, Any]:
    """A protocol's record with its number: under `rule`, over all its rows and as the mean over groups."""
    column = under(rule)
    groups = intervals.by(own.query("group != ''"), "group", column)
    return {
        "name": name, **asdict(PROTOCOLS[name]), "rule": rule, "left_out": dict(asked.left_out),
        "by_group": _plain(groups),
        "mean_of_groups": sum(score.value for score in groups.values()) / len(groups) if groups else None,
    }  # fmt: skip


def summary(
    asked: Asked, completions: list[str], compared: Sequence[Path] = (), rule: str = RULE, protocol: str | None = None
) -> dict[str, Any]:
    """All that metrics.json holds, with the table of rows under `_rows`; `rule` is that of the headline."""
    rows, column = asked.rows, under(rule)
    golds, sizes = [gold_action(row["solution"]) for row in rows], [row["screen_size"] for row in rows]
    own = table(rows, completions)
    answers = {
        "random": baselines.guess(sizes), "majority": baselines.majority(golds, sizes),
        "plan": [row["plan"] for row in rows],
    }  # fmt: skip
    named = {name: table(rows, texts, ANSWER_TAG) for name, texts in answers.items()}
    runs = {label: read_table(folder, rule) for label, folder in labels(compared).items()}
    runs |= {f"baseline {name}": part for name, part in named.items()}
    return {
        "rows": len(rows), "tasks": own["task"].nunique(), "rule": rule,
        **({"protocol": protocol_figures(protocol, asked, own, rule)} if protocol else {}),
        "metrics": _plain(intervals.overall(own)),
        "rules": rules_figures(asked, own, named),
        **{f"by_{name}": _plain(intervals.by(own, name, column)) for name in ("gold_type", "app", "position")},
        "baselines": {name: _plain(intervals.overall(part)) for name, part in named.items()},
        "second_less_first": {name: asdict(intervals.compare(part, own, column)) for name, part in runs.items()},
        "_rows": own,
    }  # fmt: skip
