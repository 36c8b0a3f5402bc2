"""What the chart renders from each example of values, as the API server of a cluster sees it. Nothing is made there."""

from __future__ import annotations

from typing import Any

import yaml
from kubernetes.cluster import CHART, Failure, run

VERSION = ("--kube-version", "1.34.0")


async def check(namespace: str) -> str:
    """`helm lint`, `helm template`, and each object held against its schema, unknown fields refused; what was done.

    Objects of other projects (KEDA, the Prometheus operator) are left out where the cluster has no schema of theirs.
    """
    known = {line.split()[-1] for line in (await run("kubectl", "api-resources", "--no-headers")).splitlines()}
    examples = sorted((CHART / "examples").glob("*.yaml"))
    objects, left_out = 0, set[str]()
    for example in examples:
        await run("helm", "lint", str(CHART), "-f", str(example), *VERSION)
        text = await run("helm", "-n", namespace, "template", "x", str(CHART), "-f", str(example), *VERSION)
        rendered: list[dict[str, Any]] = [each for each in yaml.safe_load_all(text) if each]
        left_out |= {each["kind"] for each in rendered} - known
        checked = [each for each in rendered if each["kind"] in known]
        objects += len(checked)
        dry = ("apply", "--dry-run=server", "--validate=strict", "-f", "-")
        try:
            await run("kubectl", "-n", namespace, *dry, stdin=yaml.safe_dump_all(checked))
        except Failure as failure:
            raise Failure(f"{example.name}: {failure}") from None
    without = f"; without {', '.join(sorted(left_out))}, which this cluster does not know" if left_out else ""
    return f"{objects} objects of {len(examples)} examples are as the API server wants them{without}"
