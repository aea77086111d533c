"""ipyparallel without what starts clusters and kernels is as it always is, for whoever asks for that."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from runs import PATIENCE, finish

ASKED = {
    "the class": "ipyparallel.Cluster.__module__",
    "the other class": "ipyparallel.ClusterManager.__module__",
    "the module": "ipyparallel.cluster.Cluster.__module__",
    "all names": "{} if exec('from ipyparallel import *', scope := {}) else scope['Cluster'].__module__",
    "another name": "ipyparallel.Client.__module__",
    "a class of kernels": "__import__('jupyter_client').KernelManager.__module__",
    "its version": "__import__('jupyter_client').__version__",
    "all names of kernels": "[exec('from jupyter_client import *', scope := {}), sorted(scope)]",
    "a module of kernels": "__import__('jupyter_client.kernelspec').kernelspec.NoSuchKernel.__module__",
    "a module that asks for another": "__import__('jupyter_client.manager').manager.KernelManager.__name__",
    "a shell": "__import__('IPython').get_ipython()",
    "a shell that there is": "(__import__('IPython').InteractiveShell.instance()"
    " is __import__('ipyparallel.client.client').client.client.get_ipython())",
    "the shell's class": "__import__('IPython').InteractiveShell.__module__",
    "what embeds a shell": "__import__('IPython').embed.__module__",
    "a module of shells": "__import__('IPython').display.HTML.__name__",
    "the shell's version": "__import__('IPython').version_info",
    "all names of shells": "[exec('from IPython import *', scope := {}), sorted(scope)]",
    "no name of shells": "hasattr(__import__('IPython'), 'no such name')",
    "a kernel's": "__import__('ipykernel').get_connection_file.__module__",
    "the kernel's version": "__import__('ipykernel').__version__",
    "no name": "hasattr(__import__('jupyter_client'), 'no such name')",
}


def evaluated(first: str, expression: str) -> Any:
    """What an expression is in a fresh interpreter that has imported ipyparallel this way."""
    code = f"{first}\nimport ipyparallel, json\nprint(json.dumps({expression}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    return json.loads(done.stdout)


LEAN = "import arcli.cluster.without_launchers"


@pytest.mark.parametrize("expression", ASKED.values(), ids=ASKED)
def test_who_asks_gets_what_there_always_is(expression: str) -> None:
    assert evaluated(LEAN, expression) == evaluated("", expression)


def test_all_names_are_those_that_there_always_are() -> None:
    public = "[name for name in {} if not name.startswith('_')]"
    names, everything = (
        evaluated(first, public.format(where))
        for first, where in ((LEAN, "ipyparallel.__all__"), ("", "dir(ipyparallel)"))
    )
    # A module that only launchers import is there as soon as they are.
    assert set(everything) - set(names) <= {"traitlets"}
    assert evaluated(LEAN, "hasattr(ipyparallel, 'no such name')") is False


def test_an_ipyparallel_that_was_there_before_is_left_alone() -> None:
    assert evaluated(f"import ipyparallel\n{LEAN}", "'__all__' in vars(ipyparallel)") is False


def test_a_client_does_without_the_class_of_a_shell() -> None:
    has_shell = "'IPython.core.interactiveshell' in __import__('sys').modules"
    asked = "__import__('ipyparallel.client.client').client.client.get_ipython()"
    assert evaluated(LEAN, f"[{asked}, {has_shell}]") == [None, False]


def test_engines_begin_without_it_and_items_have_it(tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text(
        "import sys\n\ndef see(x):\n"
        "    before = {'ipyparallel.cluster', 'jupyter_client.manager'} & set(sys.modules)\n"
        "    from ipyparallel import Cluster\n    from jupyter_client import KernelManager\n"
        "    return [len(before), Cluster.__name__, KernelManager.__name__]\n"
    )
    code, records = finish(tmp_path, "cluster: {engines: 1}\nmap: f.py:see\nover: {range: 1}\n")
    assert (code, records[0]["value"]) == (0, [0, "Cluster", "KernelManager"])
