"""The cluster that KUBECONFIG names: commands of kubectl, helm and docker, and what the run needs to know of them."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import tempfile
import time
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
CHART: Final = ROOT / "deploy" / "helm" / "antiphon"
SERVICES: Final = ("relay", "transceiver", "signaling", "inference-bridge")
WAIT: Final = ("--wait", "--timeout", "240s")


class Failure(Exception):
    """What went wrong, for the person who reads it."""


async def run(*command: str, stdin: str = "", patience: float = 300) -> str:
    """The command's output; `Failure` with its last lines if it fails or takes longer than `patience` seconds."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
    except OSError as error:
        raise Failure(f"{command[0]}: {error.strerror}") from None
    try:
        async with asyncio.timeout(patience):
            out, err = await process.communicate(stdin.encode())
    except TimeoutError:
        process.kill()
        await process.wait()
        raise Failure(f"`{shlex.join(command)}` took longer than {patience:.0f} s") from None
    if process.returncode:
        raise Failure(f"`{shlex.join(command)}`: {(err or out).decode(errors='replace')[-2000:]}")
    return out.decode()


async def build_images(tag: str, source: Path = ROOT) -> list[str]:
    """All images of the sources there, and of the agent that speaks; returns their names."""
    names = []
    for service in SERVICES:
        names.append(f"antiphon-{service}:{tag}")
        build = ("docker", "build", "-q", "--build-arg", f"SERVICE={service}", "-t", names[-1], str(source))
        await run(*build, patience=1800)
    names.append(f"antiphon-test-agent:{tag}")
    dockerfile = f"FROM antiphon-relay:{tag}\nCOPY antiphon /sdk/antiphon\nENV PYTHONPATH=/sdk\n"
    with tempfile.NamedTemporaryFile("w", suffix=".Dockerfile") as file:
        file.write(dockerfile)
        file.flush()
        await run("docker", "build", "-q", "-t", names[-1], "-f", file.name, str(source / "sdk"))
    return names


async def load_images(names: list[str]) -> None:
    """Give them to the nodes, in one archive: layers that they share are in it once."""
    load = os.environ.get("K8S_LOAD_IMAGES", "")
    if not load:
        raise Failure("K8S_LOAD_IMAGES: a command that gives archives of `docker save` to all nodes")
    with tempfile.TemporaryDirectory() as scratch:
        archive = str(Path(scratch, "images.tar"))
        await run("docker", "save", *names, "nats:2.15-alpine", "-o", archive, patience=600)
        await run(*shlex.split(load), archive, patience=900)


async def sources_of(revision: str, directory: str) -> Path:
    """The repository as it was at that commit, below `directory`."""
    archive = str(Path(directory, "sources.tar"))
    await run("git", "archive", "-o", archive, revision)
    await run("tar", "x", "-C", directory, "-f", archive)
    return Path(directory)


class Cluster:
    """One namespace of the cluster. Owner: the run."""

    def __init__(self, namespace: str, release: str) -> None:
        self.namespace, self.release = namespace, release

    async def kubectl(self, *arguments: str, stdin: str = "", patience: float = 300) -> str:
        return await run("kubectl", "-n", self.namespace, *arguments, stdin=stdin, patience=patience)

    async def get(self, *arguments: str) -> Any:
        """What `kubectl get` says, as JSON."""
        return json.loads(await self.kubectl("get", *arguments, "-o", "json"))

    async def helm(self, *arguments: str) -> str:
        return await run("helm", "-n", self.namespace, *arguments)

    async def install(self, values: str, *, upgrade: bool = False, chart: Path = CHART) -> float:
        """Install or upgrade the chart; how many seconds it took, until the last pod of before is gone."""
        began = time.monotonic()
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(values)
            file.flush()
            verb = "upgrade" if upgrade else "install"
            await self.helm(verb, self.release, str(chart), "-f", file.name, *WAIT)
        await self.gone(await self._ending())
        return time.monotonic() - began

    async def roll_back(self) -> float:
        """To the revision before; how many seconds it took, until the last pod of before is gone."""
        began = time.monotonic()
        await self.helm("rollback", self.release, *WAIT)
        await self.gone(await self._ending())
        return time.monotonic() - began

    async def _ending(self) -> list[str]:
        items = (await self.get("pods"))["items"]
        return [each["metadata"]["name"] for each in items if "deletionTimestamp" in each["metadata"]]

    async def nodes(self) -> dict[str, str]:
        """Name -> internal address, of nodes that are ready, in the order of their names."""
        found = {}
        for node in (await self.get("nodes"))["items"]:
            ready = any(each["type"] == "Ready" and each["status"] == "True" for each in node["status"]["conditions"])
            if ready:
                addresses = {each["type"]: each["address"] for each in node["status"]["addresses"]}
                found[node["metadata"]["name"]] = addresses["InternalIP"]
        return dict(sorted(found.items()))

    async def pods(self, component: str) -> dict[str, str]:
        """Name -> node, of the pods that are not told to end."""
        label = f"app.kubernetes.io/instance={self.release},app.kubernetes.io/component={component}"
        items = (await self.get("pods", "-l", label))["items"]
        return {
            each["metadata"]["name"]: each["spec"].get("nodeName", "")
            for each in items
            if "deletionTimestamp" not in each["metadata"]
        }

    async def roll(self, *workloads: str) -> float:
        """Replace all pods of these workloads; seconds until the last old one is gone."""
        began = time.monotonic()
        before = {each["metadata"]["name"] for each in (await self.get("pods"))["items"]}
        await self.kubectl("rollout", "restart", *workloads)
        await asyncio.gather(*(self.kubectl("rollout", "status", each, "--timeout=240s") for each in workloads))
        names = [workload.partition("/")[2] for workload in workloads]
        old = [name for name in before if any(name.startswith(f"{each}-") for each in names)]
        if not all(each.startswith("statefulset/") for each in workloads):
            await self.gone(old)
        return time.monotonic() - began

    async def gone(self, pods: list[str], patience: float = 60) -> None:
        """Wait until none of these pods is left."""
        deadline = time.monotonic() + patience
        while left := {each["metadata"]["name"] for each in (await self.get("pods"))["items"]} & set(pods):
            if time.monotonic() > deadline:
                raise Failure(f"pods that were told to end are still there: {', '.join(sorted(left))}")
            await asyncio.sleep(0.3)

    async def drain(self, node: str) -> float:
        """Evict all pods of ours from a node, as before maintenance; seconds until they are gone and others serve."""
        began = time.monotonic()
        flags = ("--ignore-daemonsets", "--delete-emptydir-data", "--timeout=120s")
        await run("kubectl", "drain", node, *flags)
        for each in ("transceiver", "signaling", "bridge"):
            await self.kubectl("rollout", "status", f"deployment/{self.release}-{each}", "--timeout=120s")
        return time.monotonic() - began

    async def uninstall(self) -> float:
        """Remove the release, and wait until its pods are gone; seconds. Secrets of credentials stay."""
        began = time.monotonic()
        await self.helm("uninstall", self.release, *WAIT)
        ours = await self.get("pods", "-l", f"app.kubernetes.io/instance={self.release}")
        await self.gone([each["metadata"]["name"] for each in ours["items"]])
        return time.monotonic() - began

    async def delete(self) -> None:
        """The namespace and all in it. Pods of a node without power are forgotten: nobody says that they are gone."""
        ready = await self.nodes()
        for pod in (await self.get("pods"))["items"]:
            if pod["spec"].get("nodeName", "") not in ("", *ready):
                await self.kubectl("delete", "pod", pod["metadata"]["name"], "--force", "--grace-period=0")
        await run("kubectl", "delete", "namespace", self.namespace, "--ignore-not-found", "--timeout=120s")

    async def left(self) -> list[str]:
        """What of ours is outside of the namespace still: the release would make nothing there."""
        kinds = "namespaces,clusterroles,clusterrolebindings,persistentvolumes"
        items = json.loads(await run("kubectl", "get", kinds, "-o", "json"))["items"]
        named = [f"{each['kind']} {each['metadata']['name']}" for each in items]
        return [each for each in named if self.namespace in each or f" {self.release}-" in each]


async def kill_node(node: str) -> None:
    """Cut the power of a node."""
    kill = os.environ.get("K8S_KILL_NODE", "")
    if not kill:
        raise Failure("K8S_KILL_NODE: a command that cuts the power of the node that it is given")
    await run(*shlex.split(kill), node)
