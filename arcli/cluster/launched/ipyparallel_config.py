"""How ipyparallel is to start a cluster: a spec's words as traitlets of its launchers.

Meant for the process that starts it; importing ipyparallel's launchers takes a while.
"""

from __future__ import annotations

import math
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from arcli import launchers
from arcli.cluster.processes import PLAIN_JSON, engine_command
from arcli.errors import UsageError
from arcli.suggest import did_you_mean

GONE_AFTER = 30.0
"""Seconds without a heartbeat after which an engine, or for an engine the controller, is gone."""
REGISTERS = 30.0
"""Seconds that an engine waits for the answer to its registration."""


class IpyparallelConfig(Struct, frozen=True, kw_only=True):
    """A cluster to be started; all of it can travel as JSON.

    ``profile`` is the profile's folder, ``scratch`` the folder of batch scripts. ``cluster_id`` is
    for clusters that others are to find; None: nobody is. ``options`` are traitlets,
    ``{"SlurmEngineSetLauncher.queue": "x"}``: of launchers, of ``Cluster``, and of the engine's
    (``IPEngine``) and the controller's own (``IPController``, ``HeartMonitor`` and so on).
    ``insecure`` does without CurveZMQ.
    """

    launcher: str
    engines: int
    profile: str
    scratch: str
    python: str = sys.executable
    cluster_id: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    insecure: bool = False


def period(engines: int) -> int:
    """Milliseconds between heartbeats: engines are ready with their first one.

    The monitor is one Python process, which takes some thousand answers a second.
    """
    return min(3000, max(100, 5 * engines))


def cluster_for(recipe: IpyparallelConfig, log: Any, controller: list[str] | None = None) -> Any:
    """Make an ``ipyparallel.Cluster`` that is not started yet. ``controller`` is its command.

    Raises UsageError where an option means nothing to ipyparallel.
    """
    from ipyparallel.cluster import launcher as classes
    from ipyparallel.cluster.cluster import Cluster
    from traitlets.config import Config

    config = Config(_defaults(recipe))
    arguments = _arguments(recipe)
    # A launcher that another package brings has classes of its own, by which options name it.
    installed = {
        base.__name__: base
        for point in entry_points(group=launchers.ENTRY_POINTS, name=recipe.launcher)
        for base in point.load().__mro__
    }
    # Options name a class of the launchers, or one of the programs that these
    # start; only then is it known where they go.
    for name, value in recipe.options.items():
        section, _, trait = name.partition(".")
        owner = Cluster if section == "Cluster" else getattr(classes, section, None)
        owner = owner or installed.get(section)
        if owner is not None:
            _must_have(owner, name, trait)
            config[section][trait] = value
        elif section.endswith("Launcher"):
            names = [one.__name__ for one in classes.all_launchers if "EngineSet" in one.__name__]
            hint = f"there are {', '.join(names)}"
            raise UsageError(f"options: ipyparallel has no {section}", hint=hint)
        else:
            _must_have(_application_class(section), name, trait)
            arguments[name] = value
    flags = {name: f"--{name}={value}" for name, value in arguments.items()}
    config.EngineLauncher.engine_args = [flags[n] for n in flags if n.startswith("IPEngine.")]
    if controller is not None:
        config.ControllerLauncher.controller_cmd = controller
    # What arcli does not set stays as ipyparallel has it, the user's own profile
    # included.
    return Cluster(
        engines=recipe.launcher,
        n=recipe.engines,
        profile_dir=recipe.profile,
        cluster_id=recipe.cluster_id or "",
        **({"cluster_file": ""} if recipe.cluster_id is None else {}),
        controller_args=[flags[n] for n in flags if not n.startswith("IPEngine.")],
        send_engines_connection_env=not sees_files(recipe.launcher),
        shutdown_atexit=False,  # whoever calls this stops it
        load_profile=False,
        delay=0,
        log=log,
        config=config,
    )


def sees_files(launcher: str) -> bool:
    """Whether engines read the connection file, with its key, from the run's folder.

    Others get it in their environment, which batch systems keep, and some show to everybody.
    """
    entry = launchers.named(launcher)
    return entry is not None and entry.shared_disk


def _arguments(recipe: IpyparallelConfig) -> dict[str, Any]:
    """Return what engines and controller are told on their command lines, unless options say otherwise."""
    beat = period(recipe.engines)
    arguments: dict[str, Any] = {
        "HeartMonitor.period": beat,
        "HeartMonitor.max_heartmonitor_misses": math.ceil(GONE_AFTER * 1000 / beat),
        # Engines elsewhere must reach it; those on this machine alone need no more than loopback.
        "IPController.ip": "127.0.0.1" if recipe.launcher == "local" else "*",
        "IPController.enable_curve": not recipe.insecure,
        **{f"Session.{name}": form for name, form in PLAIN_JSON.items()},
        "IPEngine.timeout": REGISTERS,
        "IPEngine.wait_for_url_file": REGISTERS,  # a shared disk may show it late
        # An engine looks half a second less often than the hub pings.
        "IPEngine.max_heartbeat_misses": math.ceil(GONE_AFTER * 1000 / (beat + 500)),
    }
    if recipe.cluster_id is None:  # nobody else uses its hub, its scheduler and its logs
        arguments |= {"IPController.db_class": "NoDB", "TaskScheduler.scheme_name": "none"}
        arguments |= {"IPController.log_level": 30, "IPEngine.log_level": 30}
    return arguments


def _defaults(recipe: IpyparallelConfig) -> dict[str, Any]:
    scratch = Path(recipe.scratch)
    own = recipe.cluster_id is None
    return {
        "ControllerLauncher": {"environment": {"IPYTHONDIR": str(scratch)} if own else {}},
        "EngineLauncher": {"engine_cmd": engine_command(recipe.python), "environment": dict(recipe.env)},
        # Joined to the working directory, where it would be left, unless it is absolute.
        "BatchSystemLauncher": {"batch_file_name": str(scratch / f"{recipe.launcher}.batch")},
        # Connections travel in the environment, so that no key stays on the other hosts.
        "SSHLauncher": {
            "remote_python": recipe.python,
            "remote_profile_dir": ".ipython/profile_arcli",
            "to_send": [],
        },
        "HTCondorEngineSetLauncher": {"batch_template": _HTCONDOR},
    }


_HTCONDOR = """
universe            = vanilla
executable          = ipengine
getenv              = True
transfer_executable = False
arguments           = "{program_args}"
"""
"""ipyparallel's own, and the environment: without it an engine finds no controller."""


def _application_class(section: str) -> Any:
    """Return the class of the engine's or the controller's own settings. Raises UsageError."""
    from ipyparallel.controller.app import IPController
    from ipyparallel.engine.app import IPEngine

    classes = {one.__name__: one for one in (IPEngine, IPController, *IPController.classes)}
    if section not in classes:
        raise UsageError(
            f"options: ipyparallel has no {section}",
            hint=f"there are Cluster, the launchers, and {', '.join(classes)}",
        )
    return classes[section]


def _must_have(owner: Any, name: str, trait: str) -> None:
    traits = owner.class_trait_names(config=True)
    if trait not in traits:
        hint = did_you_mean(trait, traits) or f"there are {', '.join(sorted(traits))}"
        raise UsageError(f"options: ipyparallel has no {name}", hint=hint)
