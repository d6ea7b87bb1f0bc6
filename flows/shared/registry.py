"""MLflow, and nobody else may import it: runs of stages, versions of the model, aliases.

Takes plain values; gives ids and `Version` records. The store is the one `environ.tracking_uri` names (a file of this
project unless MLFLOW_TRACKING_URI says otherwise). Models are registered as plain folders of safetensors: no pickle,
and nothing of MLflow is needed to load them. Does not decide what is promoted.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracing.constant import TraceMetadataKey

from flows.shared.environ import artifacts_uri, prepare, tracking_uri
from flows.shared.paths import Paths
from flows.shared.patience import Patient

if TYPE_CHECKING:
    from components.evaluation.spans import Span

PAYLOAD = "policy"
"""Name of the model's folder among the artifacts of its run."""
DIGEST_TAG = "payload.sha256"


@dataclass(frozen=True, slots=True)
class Version:
    """A registered version of the model."""

    number: str
    run_id: str
    tags: Mapping[str, str]

    @property
    def digest(self) -> str:
        """Digest of the payload's manifest; empty when the version was registered by other means."""
        return self.tags.get(DIGEST_TAG, "")


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as the store remembers it."""

    run_id: str
    name: str
    status: str
    tags: Mapping[str, str]


def away(error: Exception) -> str | None:
    """Why the store is away, in one line; None where the error says something else. A full disk is no absence."""
    if not isinstance(error, MlflowException) or error.error_code != "TEMPORARILY_UNAVAILABLE":
        return None
    reason = " ".join(str(error).partition("[SQL:")[0].split())
    if "(sqlite3." in reason and "locked" not in reason:
        return None
    return f"MLflow's store does not answer ({reason:.200})"


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Registry:
    """One connection to one store and experiment."""

    def __init__(self, paths: Paths, *, experiment: str, model: str) -> None:
        prepare(paths)
        uri = tracking_uri(paths)
        paths.store.mkdir(parents=True, exist_ok=True)
        mlflow.set_tracking_uri(uri)
        self.model = model
        self._client: Any = Patient(
            MlflowClient(tracking_uri=uri), away=away, once=("create_model_version",), told=_tell
        )
        served = uri.startswith(("http://", "https://"))
        self._artifacts = None if served else artifacts_uri(paths)
        """Where a new experiment keeps files; None where a server decides."""
        self._experiment_id = self._experiment(experiment)

    # --- runs

    def open_run(self, name: str, *, run_id: str | None, tags: Mapping[str, str]) -> str:
        """Id of a running MLflow run: `run_id` again where the store still knows it, else a new one."""
        if run_id is not None and self.has_run(run_id):
            self._client.update_run(run_id, status="RUNNING")
        else:
            run_id = str(self._client.create_run(self._experiment_id, run_name=name).info.run_id)
        self._client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
        return run_id

    def has_run(self, run_id: str) -> bool:
        """True when the store knows the run."""
        try:
            return self._client.get_run(run_id) is not None
        except MlflowException:
            return False

    def run_seconds(self, run_id: str) -> float | None:
        """From the run's start to its end, pauses included; None where the store does not know both."""
        try:
            info = self._client.get_run(run_id).info
        except MlflowException:
            return None
        return None if info.end_time is None else (info.end_time - info.start_time) / 1000

    def runs(self) -> tuple[RunRecord, ...]:
        """Every run of the experiment."""
        found, token = [], None
        while True:
            page = self._client.search_runs([self._experiment_id], max_results=1000, page_token=token)
            found += [_run_record(run) for run in page]
            token = page.token
            if not token:
                return tuple(found)

    def read_text(self, run_id: str, name: str) -> str | None:
        """The text file of this name that is kept with the run; None when there is none."""
        if name not in {one.path for one in self._client.list_artifacts(run_id)}:
            return None
        file = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=name)
        return Path(str(file)).read_text(encoding="utf-8")

    def page_of_run(self, run_id: str) -> str:
        """The page of a run, below the address of MLflow's pages."""
        return f"experiments/{self._client.get_run(run_id).info.experiment_id}/runs/{run_id}"

    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Record parameters; values that a resumed run has already are left."""
        known = self._client.get_run(run_id).data.params
        fresh = [Param(key, value[:6000]) for key, value in params.items() if key not in known]
        for first in range(0, len(fresh), 100):
            self._client.log_batch(run_id, params=fresh[first : first + 100])

    def log_metrics(self, run_id: str, metrics: Mapping[str, float], step: int) -> None:
        """Record one point of each curve."""
        now = int(time.time() * 1000)
        self._client.log_batch(run_id, metrics=[Metric(k, float(v), now, step) for k, v in metrics.items()])

    def log_artifact(self, run_id: str, path: Path) -> None:
        """Keep a copy of a file, or of a folder's content under its name, with the run."""
        if path.is_dir():
            self._client.log_artifacts(run_id, str(path), path.name)
        else:
            self._client.log_artifact(run_id, str(path))

    def log_text(self, run_id: str, name: str, text: str) -> None:
        """Keep a text file of this name with the run."""
        self._client.log_text(run_id, text, name)

    def log_trace(self, run_id: str, root: Span) -> None:
        """Keep a tree of spans with the run, so that its page and the experiment's page of traces show it."""
        tags = {"mlflow.traceName": root.name}
        top = mlflow.start_span_no_context(
            root.name,
            span_type=root.kind,
            inputs=dict(root.inputs),
            attributes=dict(root.attributes),
            tags=tags,
            metadata={TraceMetadataKey.SOURCE_RUN: run_id},
            experiment_id=self._experiment_id,
            start_time_ns=root.start_ns,
        )
        for child in root.children:
            self._log_span(top, child)
        top.end(outputs=dict(root.outputs), status="ERROR" if root.failed else "OK", end_time_ns=root.end_ns)

    def log_dataset(self, run_id: str, *, name: str, digest: str, context: str) -> None:
        """Record that the run read (or wrote) this data, under the hash DVC knows it by."""
        dataset = Dataset(name=name, digest=digest[:36], source_type="local", source=f'{{"uri": "{name}"}}')
        tags = [InputTag("mlflow.data.context", context), InputTag("dvc.md5", digest), InputTag("dvc.path", name)]
        self._client.log_inputs(run_id, datasets=[DatasetInput(dataset, tags=tags)])

    def close_run(self, run_id: str, *, status: str) -> None:
        """Mark the run FINISHED, FAILED or KILLED."""
        self._client.set_terminated(run_id, status=status)

    # --- versions

    def find_version(self, digest: str) -> Version | None:
        """The version whose payload has this digest; None when it was never registered."""
        found = [v for v in self.versions() if v.digest == digest]
        return found[0] if found else None

    def versions(self) -> tuple[Version, ...]:
        """Every version, the newest first."""
        found = self._client.search_model_versions(f"name = '{self.model}'")
        return tuple(sorted((_version(v) for v in found), key=lambda v: -int(v.number)))

    def register(self, folder: Path, *, run_id: str, tags: Mapping[str, str]) -> Version:
        """A new version holding a copy of `folder`, kept with the run that made it."""
        if not self._has_model():
            self._client.create_registered_model(
                self.model, description="Decides when to call which tool, and answers."
            )
        self._client.log_artifacts(run_id, str(folder), PAYLOAD)
        source = f"{self._client.get_run(run_id).info.artifact_uri}/{PAYLOAD}"
        made = self._client.create_model_version(self.model, source=source, run_id=run_id, tags=dict(tags))
        return self.version(str(made.version))

    def version(self, number: str) -> Version:
        """The version with this number."""
        return _version(self._client.get_model_version(self.model, number))

    def tag_version(self, number: str, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        for key, value in tags.items():
            self._client.set_model_version_tag(self.model, number, key, value)

    def untag_version(self, number: str, key: str) -> None:
        """Remove a tag of a version, whether it has it or not."""
        if key in self.version(number).tags:
            self._client.delete_model_version_tag(self.model, number, key)

    def describe_version(self, number: str, markdown: str) -> None:
        """What the version's page says at its top."""
        self._client.update_model_version(self.model, number, description=markdown)

    def alias(self, alias: str) -> Version | None:
        """The version an alias points to; None when it points nowhere."""
        try:
            return _version(self._client.get_model_version_by_alias(self.model, alias))
        except MlflowException:
            return None

    def set_alias(self, alias: str, number: str) -> None:
        """Point an alias to a version."""
        self._client.set_registered_model_alias(self.model, alias, number)

    def delete_alias(self, alias: str) -> None:
        """Remove an alias, whether it exists or not."""
        if self.alias(alias) is not None:
            self._client.delete_registered_model_alias(self.model, alias)

    def aliases(self) -> dict[str, str]:
        """Every alias of the model and the number of the version that it names."""
        if not self._has_model():
            return {}
        found = self._client.get_registered_model(self.model).aliases
        return {str(alias): str(number) for alias, number in found.items()}

    def folder(self, version: Version) -> Path:
        """The version's payload on this machine: the stored folder itself for a local store, else a download."""
        source = self._client.get_model_version_download_uri(self.model, version.number)
        return Path(str(mlflow.artifacts.download_artifacts(artifact_uri=source)))

    def fetch(self, version: Version, into: Path) -> Path:
        """A copy of the version's payload below the folder `into`."""
        source = self._client.get_model_version_download_uri(self.model, version.number)
        return Path(str(mlflow.artifacts.download_artifacts(artifact_uri=source, dst_path=str(into))))

    # --- private

    def _log_span(self, parent: Any, span: Span) -> None:
        made = mlflow.start_span_no_context(
            span.name,
            span_type=span.kind,
            parent_span=parent,
            inputs=dict(span.inputs),
            attributes=dict(span.attributes),
            start_time_ns=span.start_ns,
        )
        for child in span.children:
            self._log_span(made, child)
        made.end(outputs=dict(span.outputs), status="ERROR" if span.failed else "OK", end_time_ns=span.end_ns)

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        try:
            return str(self._client.create_experiment(name, artifact_location=self._artifacts))
        except MlflowException:  # another process was faster
            return str(self._client.get_experiment_by_name(name).experiment_id)

    def _has_model(self) -> bool:
        try:
            return self._client.get_registered_model(self.model) is not None
        except MlflowException:
            return False


def _run_record(found: Any) -> RunRecord:
    info = found.info
    return RunRecord(str(info.run_id), str(info.run_name or ""), str(info.status), dict(found.data.tags))


def _version(found: Any) -> Version:
    return Version(number=str(found.version), run_id=str(found.run_id or ""), tags=dict(found.tags or {}))
