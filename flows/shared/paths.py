"""Every path of the project, in one place.

Takes the project's root (the folder that holds `dvc.yaml`); gives paths. Does not create, read or write anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flows.shared.faults import UserFault

DAG_FILE = "dvc.yaml"


class NoProject(UserFault):
    """No folder above the working directory holds a `dvc.yaml`."""


def find_root(start: Path | None = None) -> Path:
    """The nearest folder at or above `start` (default: the working directory) that holds `dvc.yaml`."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / DAG_FILE).is_file():
            return folder
    raise NoProject(f"no {DAG_FILE} in {here} or above it: run this inside the project")


@dataclass(frozen=True, slots=True)
class SelfplayPaths:
    """What one self-play wrote."""

    folder: Path

    @property
    def nodes(self) -> Path:
        return self.folder / "nodes.parquet"

    @property
    def trajectories(self) -> Path:
        return self.folder / "trajectories.jsonl"

    @property
    def summary(self) -> Path:
        return self.folder / "summary.json"

    @property
    def pages(self) -> Path:
        """One HTML page a searched tree."""
        return self.folder / "trees"


@dataclass(frozen=True, slots=True)
class Paths:
    """Where things are, below `root`."""

    root: Path

    # --- what people edit
    @property
    def dag(self) -> Path:
        return self.root / DAG_FILE

    @property
    def dvc_lock(self) -> Path:
        return self.root / "dvc.lock"

    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def registry(self) -> Path:
        return self.root / "mlflow" / "registry.yaml"

    @property
    def operations(self) -> Path:
        """Ports, triggers, notifications and retention."""
        return self.root / "infra" / "qanat.yaml"

    @property
    def annotations(self) -> Path:
        return self.data / "annotations"

    @property
    def seed_annotations(self) -> Path:
        return self.annotations / "seed.jsonl"

    @property
    def composite_seed(self) -> Path:
        """The seed set's demonstrations of the composite's calls to itself; only where they are on offer."""
        return self.annotations / "seed_composite.jsonl"

    @property
    def own(self) -> Path:
        """What people bring: functions as tools, problems."""
        return self.root / "own"

    # --- what stages make
    @property
    def data(self) -> Path:
        return self.root / "data"

    def model(self, name: str) -> Path:
        """Folder of a model: base, clone, reinforced, final, or that of an earlier generation."""
        return self.data / "models" / name

    @property
    def corpus(self) -> Path:
        return self.data / "corpus"

    @property
    def passages(self) -> Path:
        return self.corpus / "passages.jsonl"

    @property
    def facts(self) -> Path:
        return self.corpus / "facts.json"

    @property
    def all_problems(self) -> Path:
        """Folder of the three splits and the tools on offer."""
        return self.data / "problems"

    def problems(self, split: str) -> Path:
        return self.all_problems / f"{split}.jsonl"

    @property
    def tool_specs(self) -> Path:
        """The tools that were open at curation, as policies see them."""
        return self.all_problems / "tools.jsonl"

    @property
    def all_demonstrations(self) -> Path:
        """Folder of the four files below."""
        return self.data / "demonstrations"

    @property
    def demonstrations(self) -> Path:
        return self.all_demonstrations / "demonstrations.jsonl"

    @property
    def preferences(self) -> Path:
        return self.all_demonstrations / "preferences.jsonl"

    @property
    def pairs(self) -> Path:
        return self.all_demonstrations / "pairs.jsonl"

    @property
    def direct(self) -> Path:
        return self.all_demonstrations / "direct.jsonl"

    def selfplay(self, generation: str | None = None) -> SelfplayPaths:
        """What self-play wrote: that of the last generation, or of an earlier one."""
        return SelfplayPaths(self.data / "selfplay" if generation is None else self.data / "generations" / generation)

    @property
    def rollouts(self) -> Path:
        """What the policy did at the roots where reinforcement judged every decision."""
        return self.data / "rollouts" / "judged.jsonl"

    @property
    def feedback(self) -> Path:
        """What users said of served answers; the model server appends."""
        return self.served_responses / "feedback.jsonl"

    @property
    def reports(self) -> Path:
        return self.data / "reports"

    @property
    def curation_report(self) -> Path:
        return self.reports / "curation.json"

    @property
    def quarantine(self) -> Path:
        return self.reports / "quarantine.jsonl"

    @property
    def reinforce_steps(self) -> Path:
        """One line of metrics a reinforcement step."""
        return self.reports / "reinforce_steps.jsonl"

    @property
    def evaluation(self) -> Path:
        return self.reports / "evaluation"

    @property
    def evaluation_report(self) -> Path:
        return self.evaluation / "report.json"

    @property
    def evaluation_html(self) -> Path:
        return self.evaluation / "report.html"

    @property
    def evaluation_trajectories(self) -> Path:
        return self.evaluation / "trajectories.jsonl"

    @property
    def evaluation_rows(self) -> Path:
        """One line a policy and problem; what the gate compares."""
        return self.evaluation / "rows.jsonl"

    @property
    def trial_attempts(self) -> Path:
        """What search and its rivals made of held-out problems; left by experiments only."""
        return self.reports / "trial" / "attempts.jsonl"

    @property
    def trial_figures(self) -> Path:
        return self.reports / "trial" / "figures.json"

    @property
    def rescored(self) -> Path:
        """Folder of trajectories scored again: no output of a stage, so that a new file there makes no stage run."""
        return self.data / "rescored"

    @property
    def served_responses(self) -> Path:
        """What the model server records: responses, the shadow's pairs and `feedback.jsonl`. Never tracked."""
        return self.data / "serving"

    def run_ref(self, stage: str) -> Path:
        """Which MLflow run, commit and seed made the outputs of `stage`."""
        return self.reports / "runs" / f"{stage}.json"

    @property
    def experiments(self) -> Path:
        """Results of experiments, committed to git: NAME.json and NAME.svg."""
        return self.reports / "experiments"

    # --- scratch, never tracked
    @property
    def plays(self) -> Path:
        """A folder for each model's plays of the test split; see `flows.shared.plays`."""
        return self.root / ".work" / "plays"

    @property
    def variants(self) -> Path:
        """What every variant of an experiment left, by key; and the project in which one is being run."""
        return self.root / ".work" / "experiments"

    def work(self, stage: str) -> Path:
        """Checkpoints of a stage; DVC never deletes them, the stage's frame does when the stage is done."""
        return self.root / ".work" / stage

    @property
    def running(self) -> Path:
        """Process groups of the stages under way, so that a later run can end what a killed one left."""
        return self.root / ".work" / "run.json"

    @property
    def serving(self) -> Path:
        """The same for servers that a command started for its duration."""
        return self.root / ".work" / "servers.json"

    @property
    def store(self) -> Path:
        """Stores of the servers."""
        return self.root / ".qanat"

    @property
    def mlflow_db(self) -> Path:
        return self.store / "mlflow.db"

    @property
    def ledger_db(self) -> Path:
        return self.store / "ledger.db"

    @property
    def mlflow_artifacts(self) -> Path:
        return self.store / "mlruns"

    @property
    def prefect_home(self) -> Path:
        return self.store / "prefect"

    @property
    def logs(self) -> Path:
        return self.store / "logs"

    @property
    def intake(self) -> Path:
        """Lock, index and quarantine of added annotations."""
        return self.store / "intake"

    @property
    def annotation_claims(self) -> Path:
        """Who works on which case of the annotation page."""
        return self.store / "annotation.db"

    @property
    def newest_retrain(self) -> Path:
        """Which annotations the newest retrain was asked for."""
        return self.store / "newest-retrain.json"

    @property
    def retrain_turns(self) -> Path:
        """Which retrain runs, and which one waits."""
        return self.store / "retrain-turns"

    @property
    def flow_processes(self) -> Path:
        """One file a flow run of a deployment: the process it runs in."""
        return self.store / "flow-processes"

    @property
    def workspaces(self) -> Path:
        """Git worktrees in which deployed retrains run, one a content key."""
        return self.store / "workspaces"

    @property
    def approvals(self) -> Path:
        """Verdicts that wait for a person, one file a version."""
        return self.store / "approvals"

    @property
    def locks(self) -> Path:
        """`dvc.lock` of workspaces that were removed, by digest."""
        return self.store / "locks"

    @property
    def services(self) -> Path:
        """What `qanat up` runs: for its successor, which ends what a killed one left."""
        return self.store / "services.json"

    @property
    def traffic(self) -> Path:
        """Which versions are canary and shadow."""
        return self.store / "traffic.json"

    @property
    def served_models(self) -> Path:
        """The model server's own copies of versions, by digest."""
        return self.store / "served"

    @property
    def up(self) -> Path:
        """What `qanat up` tells others: addresses and states of its services."""
        return self.store / "up.json"

    def decision(self, lock_digest: str) -> Path:
        """The promotion decision taken for one state of `dvc.lock`."""
        return self.store / "decisions" / f"{lock_digest}.json"

    def champion_evaluation(self, digest: str) -> Path:
        """The champion's results on the present problems, kept by digest of weights and problems."""
        return self.store / "evaluations" / digest


def project(start: Path | None = None) -> Paths:
    """The paths of the project around `start`."""
    return Paths(find_root(start))
