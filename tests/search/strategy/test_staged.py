"""Staged campaigns: each stage draws its own values for the network that the one before it chose."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from rich.console import Console

from dashboards.report_page import report_page
from search.budget import Limits
from search.loop import Search, StopReason, run_search
from search.measured_trials import MeasuredTrial, load_measured_trials
from search.reports.formats import report_as_json
from search.reports.lineage import list_lineage
from search.reports.study_report import load_study_report
from search.reports.tables import print_tables
from search.strategy.staged import Campaign
from search.study import ask_trial
from spaces.campaign_stages import SelectPart, choose
from spaces.study_config import ConfigError, StudyConfig, parse_study_config
from storage.database import Database
from storage.studies import load_study_record
from tests.search.search_study import complete, fail, make_search, pool_of, small_config
from workers.pool import Done
from workers.requests import EvaluationRequest

ROUND = "{epsilon: {float: [0.01, 0.1]}, weight_decay: 0.0, epochs: 2}"
STAGES = """stages:
  - {name: architecture, draws: [stride, out_channels], trials: 4, select: {best: accuracy}}
  - {name: bit widths, draws: [weight_bit_width, activation_bit_width], trials: 3}
  - {name: pruning 1, draws: pruning, trials: 2}
  - {name: pruning 2, draws: pruning, trials: 2}
workers:"""


def staged_config(stages: str = STAGES, **replacements: str) -> StudyConfig:
    rounds = f"{ROUND}\n    - {ROUND}"
    return small_config(**{ROUND: rounds, "trials: 6": "trials: 11", "workers:": stages, **replacements})


def run_staged(database: Database, folder: Path, n_trials: int = 11, capacity: int = 2) -> Search:
    limits = Limits(n_trials, 3 * n_trials, None)
    search = make_search(staged_config(), database, folder, complete, capacity, limits=limits)
    outcome = run_search(search)
    assert outcome.reason is StopReason.BUDGET
    return search


def by_stage(search: Search) -> dict[int | None, list[MeasuredTrial]]:
    trials = load_measured_trials(search.database, search.study)
    return {index: [trial for trial in trials if trial.campaign_stage == index] for index in (0, 1, 2, 3, None)}


@pytest.mark.parametrize("capacity", [1, 4])
def test_each_stage_begins_with_the_network_that_the_one_before_chose(
    capacity: int, sqlite: Database, tmp_path: Path
) -> None:
    search = run_staged(sqlite, tmp_path, capacity=capacity)
    stages = by_stage(search)
    assert [len(stages[index]) for index in (0, 1, 2, 3, None)] == [4, 3, 2, 2, 0]
    params = [trial.params for trial in search.study.trials]
    block = "space.blocks[1]."
    for trial in stages[0]:
        assert params[trial.trial_number][f"{block}weight_bit_width"] == 8, "not drawn yet: the largest"
        assert trial.base is None
        assert len(trial.design.stages) == 0
    chosen = load_study_report(sqlite, "small").chosen
    best = max(stages[0], key=lambda trial: trial.last.accuracy)
    assert chosen[0] == best.trial_number
    for index, rounds in ((1, 0), (2, 1), (3, 2)):
        assert {trial.base for trial in stages[index]} == {chosen[index - 1]}
        for trial in stages[index]:
            own, base = params[trial.trial_number], params[chosen[index - 1] or 0]
            assert own[f"{block}stride"] == base[f"{block}stride"]
            assert own[f"{block}out_channels"] == base[f"{block}out_channels"]
            assert len(trial.design.stages) == rounds
            if index > 1:
                assert own.items() >= base.items()
    assert len({params[trial.trial_number]["pruning.stages[1].epsilon"] for trial in stages[3]}) == 2


def test_a_round_of_pruning_goes_on_from_the_weights_of_its_base(sqlite: Database, tmp_path: Path) -> None:
    search = run_staged(sqlite, tmp_path)
    stages = by_stage(search)
    requests = {request.trial_number: request for request in pool_of(search).submitted}
    for trial in [*stages[0], *stages[1]]:
        request = requests[trial.trial_number]
        assert request.base is None
        assert request.goes_on
        assert request.seed == 3 + trial.trial_number
    for trial in [*stages[2], *stages[3]]:
        base, request = requests[trial.base or 0], requests[trial.trial_number]
        evaluation = load_measured_trials(sqlite, search.study)[base.trial_number].last.evaluation
        assert request.base == str(PurePosixPath(evaluation.checkpoint).parent)
        assert request.seed == base.seed
        assert request.design.stages[:-1] == base.design.stages
        assert request.design.architecture == base.design.architecture


def test_report_has_the_campaign_as_a_tree(sqlite: Database, tmp_path: Path) -> None:
    search = run_staged(sqlite, tmp_path)
    report = load_study_report(sqlite, "small")
    rows = list_lineage(report)
    assert sorted(row.point.trial_number for row in rows) == list(range(11))
    above: list[int] = []
    for row in rows:
        del above[row.depth :]
        assert row.point.trial.base == (above[-1] if above else None)
        above.append(row.point.trial_number)
    assert [row.point.trial_number for row in rows if row.is_chosen] == list(report.chosen)
    params = [trial.params for trial in search.study.trials]
    for row in rows:
        first, last = row.point.trial.points[0], row.point
        assert row.compression == first.cost.weight_bits / last.cost.weight_bits
        expected = params[row.point.trial_number].get(f"pruning.stages[{len(last.design.stages) - 1}].epsilon")
        assert row.epsilon == expected
    as_json = report_as_json(report)
    assert isinstance(as_json["lineage"], list)
    assert [one["trial"] for one in as_json["lineage"]] == [row.point.trial_number for row in rows]
    console = Console(width=120, record=True, file=io.StringIO())
    print_tables(report, console)
    text = console.export_text()
    assert f"pruning 2, trial {report.chosen[3]} *" in text
    record = load_study_record(sqlite, "small")
    assert record is not None
    page = report_page(report, record)
    assert "Stages of the campaign" in page
    assert f"bit widths, trial {report.chosen[1]} *" in page


def test_a_campaign_goes_on_where_it_stopped(sqlite: Database, tmp_path: Path) -> None:
    first = run_staged(sqlite, tmp_path, n_trials=6)
    running = ask_next(first)
    search = run_staged(sqlite, tmp_path)
    stages = by_stage(search)
    assert [len(stages[index]) for index in (0, 1, 2, 3, None)] == [4, 3, 2, 2, 0]
    assert search.study.trials[running].user_attrs["campaign_stage"] == 1
    assert search.study.trials[running].state.name == "COMPLETE"


def test_trial_that_a_killed_run_had_only_enqueued_is_the_next_of_its_stage(sqlite: Database, tmp_path: Path) -> None:
    first = run_staged(sqlite, tmp_path, n_trials=6)
    staged = Campaign(first.config, sqlite).find_next(first.study)
    assert staged is not None
    first.study.enqueue_trial(dict(staged.values), user_attrs=dict(staged.attributes))
    search = run_staged(sqlite, tmp_path)
    stages = by_stage(search)
    assert [len(stages[index]) for index in (0, 1, 2, 3, None)] == [4, 3, 2, 2, 0]
    assert {trial.state.name for trial in search.study.trials} == {"COMPLETE"}


def test_network_without_weights_is_not_handed_on(sqlite: Database, tmp_path: Path) -> None:
    def prune_to_nothing(request: EvaluationRequest) -> Done:
        done = complete(request)
        if request.design.stages:
            last = done.evaluations[-1]
            empty = replace(last, cost=replace(last.cost, bit_ops=0.0, weight_bits=0.0, inference_cost=0.0))
            done = replace(done, evaluations=(*done.evaluations[:-1], empty))
        return done

    search = make_search(staged_config(), sqlite, tmp_path, prune_to_nothing, limits=Limits(11, 33, None))
    outcome = run_search(search)
    assert outcome.reason is StopReason.BUDGET
    report = load_study_report(sqlite, "small")
    assert report.chosen[2:] == (None, None)
    assert [row.compression for row in list_lineage(report) if row.depth > 1] == [None] * 4


def test_network_that_breaks_a_constraint_is_handed_on_only_where_no_other_is(sqlite: Database, tmp_path: Path) -> None:
    bound = "constraints: {inference_cost: {at_most: 0.003}}\n"
    config = staged_config(bound + STAGES)
    search = make_search(config, sqlite, tmp_path, complete, limits=Limits(11, 33, None))
    run_search(search)
    report = load_study_report(sqlite, "small")
    for index, number in enumerate(report.chosen):
        own = [trial.last for trial in report.trials if trial.campaign_stage == index]
        chosen = next(point for point in own if point.trial_number == number)
        assert report.is_feasible(chosen) or not any(map(report.is_feasible, own))
    assert any(report.is_feasible(trial.last) for trial in report.trials)


def ask_next(search: Search) -> int:
    """As a run does that is killed just after."""
    staged = Campaign(search.config, search.database).find_next(search.study)
    assert staged is not None
    asked = ask_trial(search.study, search.config.search_space, staged.values, staged.attributes)
    assert asked is not None
    return asked.number


def test_trials_that_fail_are_asked_anew_and_a_stage_without_any_ends_the_campaign(
    sqlite: Database, tmp_path: Path
) -> None:
    kinds = iter("ABCDEFGHIJKLMNOP")

    def fail_pruned(request: EvaluationRequest) -> Done:
        return fail(request, next(kinds)) if request.design.stages else complete(request)

    search = make_search(staged_config(), sqlite, tmp_path, fail_pruned, limits=Limits(11, 33, None))
    outcome = run_search(search)
    assert outcome.message == "all stages are done; no network came of: pruning 1, pruning 2"
    stages = by_stage(search)
    assert [len(stages[index]) for index in (0, 1, 2, 3)] == [4, 3, 0, 0]
    asked = [trial.user_attrs["campaign_stage"] for trial in search.study.trials]
    assert (asked.count(2), asked.count(3)) == (6, 6), "three times as many as wanted"


@pytest.mark.parametrize(
    ("best", "least", "chosen"),
    [
        ("accuracy", None, 3),
        ("inference_cost", None, 0),
        ("inference_cost", 0.5, 1),
        ("balance", None, 1),
        ("balance", 0.56, 2),
        ("balance", 0.9, 3),
    ],
)
def test_rule_of_a_stage_chooses(best: str, least: float | None, chosen: int) -> None:
    networks = [(0.30, 0.008), (0.55, 0.02), (0.57, 0.03), (0.60, 0.30)]
    rule = SelectPart.model_validate({"best": best, "accuracy_at_least": least})
    assert choose(networks, rule, guess=1 / 24) == chosen
    assert choose([], rule, guess=1 / 24) is None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("[stride, out_channels]", "[stride]"), "stages is a list that never draws out_channels; expected each"),
        (("[stride, out_channels]", "[stride, kernel_size, out_channels]"), r"stages\[0\].draws\[1\] is kernel_size"),
        (("[weight_bit_width,", "[stride, weight_bit_width,"), r"is stride; expected each .* drawn in stages\[0\]"),
        (("[stride, out", "[stride, stride, out"), r"draws\[1\] is stride; expected each field once; .* here already"),
        (("name: pruning 2", "name: pruning 1"), r"stages\[3\].name is pruning 1; expected a name of its own"),
        (("{name: pruning 2, draws: pruning, trials: 2}", ""), "1 rounds of pruning; expected 2, one for each"),
        (("trials: 4", "trials: 5"), "budget.trials is 11; expected 12, the sum of the trials of all stages"),
        (("best: accuracy", "best: cost"), r"stages\[0\].select.best is \"cost\"; expected one of balance"),
        (("draws: pruning, trials: 2}", "draws: prune, trials: 2}"), r"stages\[2\].draws is \"prune\"; expected"),
    ],
)
def test_stages_that_cannot_be_run_are_told_before_anything_starts(change: tuple[str, str], problem: str) -> None:
    old, new = change
    stages = STAGES.replace(f"  - {old}\n" if not new else old, new, 1)
    assert stages != STAGES
    with pytest.raises(ConfigError, match=problem):
        staged_config(stages)


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("seed: 3,", "seed: 3, candidates: 20,", "study.candidates"),
        ("workers: ", "early_stopping: {}\nworkers: ", "early_stopping"),
        ("workers: ", "warm_start: {study: other}\nworkers: ", "warm_start"),
        ("workers: ", "constraints: {lut: {at_most: 5}}\nworkers: ", "stages"),
    ],
)
def test_what_cannot_be_had_beside_stages_is_told(old: str, new: str, place: str) -> None:
    text = staged_config().text
    assert old in text
    with pytest.raises(ConfigError, match=f"{place} is set; expected left out"):
        parse_study_config(text.replace(old, new, 1), "small.yaml")


def test_stage_that_gives_no_network_with_what_comes_later_is_told() -> None:
    """The largest stride of a later stage leaves no sample for the pool."""
    stages = STAGES.replace("[stride, out_channels]", "[out_channels]").replace(
        "[weight_bit_width,", "[stride, weight_bit_width,"
    )
    with pytest.raises(ConfigError, match=r"stages\[0\] is a stage of which 50 draws gave no network"):
        staged_config(stages, pool_kernel_size="128", **{"stride: {choices: [1, 2]}": "stride: {choices: [1, 16]}"})


def test_stages_belong_to_what_a_study_is() -> None:
    config = staged_config()
    other = staged_config(STAGES.replace("best: accuracy", "best: balance"))
    assert len({config.fingerprint, other.fingerprint, replace_stages(config).fingerprint}) == 3


def replace_stages(config: StudyConfig) -> StudyConfig:
    return config.model_copy(update={"stages": ()})
