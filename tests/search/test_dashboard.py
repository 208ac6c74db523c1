"""The study of a search, opened by optuna-dashboard as ``optuna-dashboard sqlite:///<search>/optuna.db`` does."""

from __future__ import annotations

import json
from pathlib import Path
from wsgiref.util import setup_testing_defaults

import optuna
from optuna_dashboard import wsgi

from dfkd.search.optuna_space import open_study, study_storage


def test_the_dashboard_lists_a_searchs_study_and_its_trials(tmp_path: Path) -> None:
    file = tmp_path / "optuna.db"
    study = open_study(study_storage(file), name="digits-student-1", direction="maximize")
    trial = study.ask({"learning_rate": optuna.distributions.FloatDistribution(0.1, 0.3)})
    study.tell(trial, 0.75)
    app = wsgi(f"sqlite:///{file}")

    def get(path: str, query: str = "") -> object:
        answer: list[str] = []
        environment = {"PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": "GET"}
        setup_testing_defaults(environment)
        body = b"".join(app(environment, lambda status, headers, info=None: answer.append(status)))
        assert answer == ["200 OK"], (path, answer, body)
        return json.loads(body)

    (listed,) = get("/api/studies")["study_summaries"]  # type: ignore[index]
    assert (listed["study_name"], listed["directions"]) == ("digits-student-1", ["maximize"])
    (shown,) = get(f"/api/studies/{listed['study_id']}", "after=0")["trials"]  # type: ignore[index]
    assert shown["values"] == [0.75]
