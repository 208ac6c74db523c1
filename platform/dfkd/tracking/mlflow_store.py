"""``MlflowStore``: what an event becomes in MLflow. A repeated call makes no second run, point or picture."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from dfkd.tracking.answers import RefusedError
from dfkd.tracking.connection import import_mlflow
from dfkd.tracking.journal import Event, MlflowRun

RUN_KEY_TAG = "dfkd.run_key"
THUMBNAIL_SIDE = 256  # pixels; MLflow's own (mlflow.tracking.multimedia, 3.17)


class MlflowStore:
    """Runs at one address, always by explicit identifiers: threads of one process do not disturb each other."""

    def __init__(self, tracking_uri: str) -> None:
        self._client: Any = import_mlflow().MlflowClient(tracking_uri)

    def answers(self) -> bool:
        """Whether MLflow can be reached now."""
        try:
            self._client.search_experiments(max_results=1)
        except Exception:
            return False
        return True

    def open_run(self, event: Event, *, journal_id: str, parent: MlflowRun | None) -> MlflowRun:
        """Find this journal's run of this run key, or create it, and set it running.

        Run keys are names that people and clocks give: journals of several homes may share them.
        """
        key = f"{event.run_key}@{journal_id}"
        experiment_id = self._experiment(event.content["experiment"], event.content["artifact_location"])
        found = self._client.search_runs([experiment_id], f"tags.\"{RUN_KEY_TAG}\" = '{key}'", max_results=1)
        if found:
            run_id = found[0].info.run_id
            self._client.update_run(run_id, status="RUNNING")
            self.log_batch(run_id, [Event(event.run_key, "tags", event.content["tags"], event.time_ms)])
        else:
            tags = {RUN_KEY_TAG: key, **event.content["tags"]}
            if parent is not None:
                tags["mlflow.parentRunId"] = parent.run_id
            run = self._client.create_run(
                experiment_id, start_time=event.time_ms, tags=tags, run_name=event.content["run_name"]
            )
            run_id = run.info.run_id
            self._remove_doubles(run_id, experiment_id, key)
        return MlflowRun(run_id, experiment_id)

    def _remove_doubles(self, run_id: str, experiment_id: str, key: str) -> None:
        """Remove runs that a repeated request made: MLflow's client (3.17) sends a POST again whose answer is late."""
        found = self._client.search_runs([experiment_id], f"tags.\"{RUN_KEY_TAG}\" = '{key}'")
        for run in found:
            if run.info.run_id != run_id:
                self._client.delete_run(run.info.run_id)

    def _experiment(self, name: str, artifact_location: str | None) -> str:
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            try:
                return str(self._client.create_experiment(name, artifact_location=artifact_location))
            except Exception as error:
                if getattr(error, "error_code", None) != "RESOURCE_ALREADY_EXISTS":
                    raise
            experiment = self._client.get_experiment_by_name(name)  # another command made it in this moment
        if experiment.lifecycle_stage != "active":
            raise RefusedError(
                f"the experiment '{name}' was deleted in MLflow: restore it with "
                f"`mlflow experiments restore --experiment-id {experiment.experiment_id}`, or take another name."
            )
        return str(experiment.experiment_id)

    def log_batch(self, run_id: str, events: Sequence[Event]) -> None:
        """Send parameters, metrics and tags of one run in one request."""
        from mlflow.entities import Metric, Param, RunTag

        metrics = [
            Metric(key, value, event.time_ms, event.content["step"])
            for event in events
            if event.kind == "metrics"
            for key, value in event.content["values"].items()
        ]
        params = dict.fromkeys(item for event in events if event.kind == "params" for item in event.content.items())
        tags = {key: value for event in events if event.kind == "tags" for key, value in event.content.items()}
        self._client.log_batch(
            run_id,
            metrics=metrics,
            params=[Param(key, value) for key, value in params],
            tags=[RunTag(key, value) for key, value in tags.items()],
        )

    def log_artifact(self, run_id: str, event: Event, folder: Path) -> None:
        """Send a file; one of the same name is overwritten."""
        directory = str(PurePosixPath(event.content["name"]).parent)
        self._client.log_artifact(run_id, str(_payload(event, folder)), None if directory == "." else directory)

    def log_image(self, run_id: str, event: Event, folder: Path) -> None:
        """Send a picture and its thumbnail under the names by which MLflow's UI makes a series with a slider.

        ``MlflowClient.log_image`` (3.17) ends these names in a new random number at every call; ours is the event's.
        """
        from PIL import Image

        picture = _payload(event, folder)
        self._client.log_artifact(run_id, str(picture), "images")
        with tempfile.TemporaryDirectory() as workspace:
            thumbnail = Path(workspace) / f"{picture.stem}+compressed.webp"
            try:
                with Image.open(io.BytesIO(picture.read_bytes())) as image:
                    scale = THUMBNAIL_SIDE / max(image.size)
                    width, height = (max(1, int(side * scale)) for side in image.size)
                    image.resize((width, height)).save(thumbnail)
            except (OSError, SyntaxError) as error:  # Pillow's for a damaged picture
                raise RefusedError(f"it is no picture: {error}") from error
            self._client.log_artifact(run_id, str(thumbnail), "images")
        self._client.set_tag(run_id, "mlflow.loggedImages", "True")

    def log_dataset(self, run_id: str, event: Event) -> None:
        """Make a data set an input of a run; MLflow knows it by name and digest, and takes it once."""
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

        given = event.content
        profile = {"num_images": given["num_images"], "image_shape": given["image_shape"]}
        source = json.dumps({"from": given["source"]})
        dataset = Dataset(given["name"], given["digest"], "local", source, profile=json.dumps(profile))
        inputs = [DatasetInput(dataset, tags=[InputTag(MLFLOW_DATASET_CONTEXT, given["context"])])]
        self._client.log_inputs(run_id, inputs)

    def close_run(self, run_id: str, event: Event) -> None:
        """End a run at the time of the event."""
        self._client.set_terminated(run_id, status=event.content["status"], end_time=event.time_ms)


def _payload(event: Event, folder: Path) -> Path:
    file: Path = folder / event.content["file"]
    if not file.is_file():
        raise RefusedError(f"its content is gone: there is no '{file}'")
    return file
