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


async def build_images(tag: str) -> None:
    """All images of ours and of the agent that speaks, and give them to the nodes."""
    names = []
    for service in SERVICES:
        names.append(f"antiphon-{service}:{tag}")
        await run("docker", "build", "-q", "--build-arg", f"SERVICE={service}", "-t", names[-1], ".", patience=1800)
    names.append(f"antiphon-test-agent:{tag}")
    dockerfile = f"FROM antiphon-relay:{tag}\nCOPY antiphon /sdk/antiphon\nENV PYTHONPATH=/sdk\n"
    with tempfile.NamedTemporaryFile("w", suffix=".Dockerfile") as file:
        file.write(dockerfile)
        file.flush()
        await run("docker", "build", "-q", "-t", names[-1], "-f", file.name, "sdk")
    load = os.environ.get("K8S_LOAD_IMAGES", "")
    if not load:
        raise Failure("K8S_LOAD_IMAGES: a command that gives archives of `docker save` to all nodes")
    with tempfile.TemporaryDirectory() as scratch:
        for name in [*names, "nats:2.15-alpine"]:
            archive = str(Path(scratch, "image.tar"))
            await run("docker", "save", name, "-o", archive)
            await run(*shlex.split(load), archive, patience=600)


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

    async def install(self, values: str, *, upgrade: bool = False, wait: bool = True) -> float:
        """Install or upgrade the chart; how many seconds it took."""
        began = time.monotonic()
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(values)
            file.flush()
            verb = "upgrade" if upgrade else "install"
            flags = ("--wait", "--timeout", "240s") if wait else ()
            before = [each["metadata"]["name"] for each in (await self.get("pods"))["items"]] if upgrade else []
            await self.helm(verb, self.release, str(CHART), "-f", file.name, *flags)
        kept = {each["metadata"]["name"] for each in (await self.get("pods"))["items"]} if upgrade else set()
        await self.gone([name for name in before if name in await self._ending(kept)])
        return time.monotonic() - began

    async def _ending(self, names: set[str]) -> set[str]:
        items = (await self.get("pods"))["items"]
        return {each["metadata"]["name"] for each in items if "deletionTimestamp" in each["metadata"]} & names

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

    async def delete(self) -> None:
        """The namespace and all in it."""
        await run("kubectl", "delete", "namespace", self.namespace, "--ignore-not-found", "--timeout=120s")


async def kill_node(node: str) -> None:
    """Cut the power of a node."""
    kill = os.environ.get("K8S_KILL_NODE", "")
    if not kill:
        raise Failure("K8S_KILL_NODE: a command that cuts the power of the node that it is given")
    await run(*shlex.split(kill), node)
