"""Which design is trained next, of many draws."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from search.budget import Limits
from search.loop import Search, run_search
from search.measured_trials import load_measured_trials
from search.reports.study_report import load_study_report
from search.strategy.choosing import LEAST_TRIALS, MOST_GENERATIONS, MUTATION_RATE, Chooser, list_known_costs
from search.strategy.recorded_draw import RecordedDraw
from search.study import ask_trial
from spaces.study_config import ConfigError, StudyConfig
from storage.database import Database
from storage.evaluations import load_trial_evaluations
from tests.search.search_study import complete, hardware_config, make_search, pool_of, small_config
from workers.inference_cost import count_cost
from workers.requests import Completed, EvaluationRequest

TARGETS = "{kind: cost_aware, inference_cost: {float: [0.0005, 0.002], log: true}, epochs: 2}"


def choosing_config(candidates: int = 60, sampler: str = "random") -> StudyConfig:
    threshold = "{epsilon: {float: [0.01, 0.1]}, weight_decay: 0.0, epochs: 2}"
    study = f"seed: 3, sampler: {sampler}, candidates: {candidates}"
    return small_config(**{"seed: 3, sampler: random": study, threshold: TARGETS})


def prefer_stride_2(request: EvaluationRequest) -> Completed:
    """A network of stride 2 is far better than one of stride 1 of the same cost."""
    done = complete(request)
    stride = request.design.architecture.blocks[1].model_dump()["stride"]
    evaluations = [
        e.__class__(**{**vars(e), "accuracy": 0.5 * e.accuracy + 0.3 * (stride == 2)}) for e in done.evaluations
    ]
    return Completed(request.trial_number, tuple(evaluations))


def strides(search: Search) -> list[int]:
    return [
        trial.design.architecture.blocks[1].model_dump()["stride"]
        for trial in load_measured_trials(search.database, search.study)
    ]


def test_what_is_learned_decides_what_is_tried(sqlite: Database, tmp_path: Path) -> None:
    search = make_search(choosing_config(), sqlite, tmp_path, prefer_stride_2, limits=Limits(20, 60, None))
    run_search(search)
    tried = strides(search)
    assert len(tried) == 20
    assert 1 in tried[:LEAST_TRIALS]
    assert tried[LEAST_TRIALS + 3 :].count(2) >= 8
    designs = {trial.design for trial in load_measured_trials(sqlite, search.study)}
    assert len(designs) == 20, "no design is tried twice"


def test_sampler_suggests_until_enough_is_known_and_where_it_is_off(sqlite: Database, tmp_path: Path) -> None:
    search = make_search(choosing_config(), sqlite, tmp_path, complete, limits=Limits(LEAST_TRIALS - 1, 60, None))
    run_search(search)
    assert Chooser(search.config, sqlite).choose(search.study) is None
    assert not any("fixed_params" in trial.system_attrs for trial in search.study.trials)


def test_choice_depends_on_the_study_alone(sqlite: Database, tmp_path: Path) -> None:
    """Not on the process: a run that is killed before it asked chooses the same again."""
    search = make_search(choosing_config(), sqlite, tmp_path, complete, limits=Limits(LEAST_TRIALS, 60, None))
    run_search(search)
    first, again = (Chooser(search.config, sqlite).choose(search.study) for _ in range(2))
    assert first is not None
    assert first == again
    asked = ask_trial(search.study, search.config.search_space, first.params)
    assert asked is not None
    assert asked.trial.params == dict(first.params)
    other = Chooser(search.config, sqlite).choose(search.study)
    assert other != first, "what runs already is not tried again"


def test_known_costs_are_the_dense_one_and_the_targets() -> None:
    config = choosing_config()
    trial = RecordedDraw(random.Random(1))
    design = config.search_space.suggest(trial)
    dense = count_cost(design.architecture, {}).inference_cost
    target = trial.params["pruning.stages[0].inference_cost"]
    assert isinstance(target, float)
    assert list_known_costs(design) == (dense, min(dense, target))


def test_draw_near_a_parent_keeps_most_of_its_values() -> None:
    space = choosing_config().search_space
    parent = RecordedDraw(random.Random(5))
    space.suggest(parent)
    kept = 0
    for seed in range(50):
        child = RecordedDraw(random.Random(seed), parent.params, MUTATION_RATE)
        space.suggest(child)
        assert child.params.keys() == parent.params.keys()
        kept += sum(child.params[name] == parent.params[name] for name in parent.params)
    assert 0.75 < kept / (50 * len(parent.params)) < 0.95


def test_candidates_are_refused_where_hardware_is_the_objective() -> None:
    with pytest.raises(ConfigError, match=r"study.candidates is set; expected left out in a study of lut"):
        hardware_config(**{"sampler: random": "sampler: random, candidates: 50"})


def test_study_without_candidates_is_the_same_as_before() -> None:
    assert choosing_config(0).fingerprint != choosing_config(10).fingerprint
    assert (
        small_config(**{"sampler: random": "sampler: random, candidates: 0"}).fingerprint == small_config().fingerprint
    )


def heirs_config(candidates: int = 60) -> StudyConfig:
    return small_config(
        **{
            "seed: 3, sampler: random": f"seed: 3, sampler: random, candidates: {candidates}, inherits: true",
            "{epsilon: {float: [0.01, 0.1]}, weight_decay: 0.0, epochs: 2}": TARGETS,
        }
    )


def test_draws_near_the_front_begin_with_its_weights(sqlite: Database, tmp_path: Path) -> None:
    search = make_search(heirs_config(), sqlite, tmp_path, prefer_stride_2, limits=Limits(30, 90, None))
    run_search(search)
    requests = {request.trial_number: request for request in pool_of(search).submitted}
    designs = {trial.trial_number: trial.design for trial in load_measured_trials(sqlite, search.study)}
    heirs = [trial for trial in search.study.trials if "parent_trial" in trial.user_attrs]
    assert heirs
    for trial in heirs:
        parent = trial.user_attrs["parent_trial"]
        request, theirs = requests[trial.number], requests[parent]
        assert request.parent == load_trial_evaluations(sqlite, "small", parent)[0].checkpoint
        assert request.seed == theirs.seed, "the parent's own: it is trained again with it where its weights are gone"
        assert request.design == designs[trial.number]
        assert request.design.parent == designs[parent].model_copy(update={"stages": ()})
        assert request.design.generation == designs[parent].generation + 1 <= MOST_GENERATIONS
    others = [request for number, request in requests.items() if number not in {trial.number for trial in heirs}]
    assert all(request.parent is None and request.design.parent is None for request in others)
    assert any(request.design.generation > 1 for request in requests.values()), "an heir has heirs"


def test_heir_of_a_killed_run_keeps_its_parent(sqlite: Database, tmp_path: Path) -> None:
    search = make_search(heirs_config(), sqlite, tmp_path, prefer_stride_2, limits=Limits(12, 90, None))
    run_search(search)
    best = load_study_report(sqlite, "small").front[-1].trial_number
    asked = ask_trial(search.study, search.config.search_space, {}, {"parent_trial": best})
    assert asked is not None
    again = make_search(heirs_config(), sqlite, tmp_path, prefer_stride_2, limits=Limits(13, 90, None))
    run_search(again)
    request = next(one for one in pool_of(again).submitted if one.trial_number == asked.number)
    assert request.design == asked.design
    assert request.parent == load_trial_evaluations(sqlite, "small", best)[0].checkpoint


def test_inheritance_needs_candidates() -> None:
    with pytest.raises(ConfigError, match=r"study.inherits is true; expected false where candidates is 0"):
        small_config(**{"seed: 3, sampler: random": "seed: 3, sampler: random, inherits: true"})
    plain, heirs = choosing_config(), heirs_config()
    assert plain.fingerprint != heirs.fingerprint
