"""What is wrong with the nodes' facts taken together. Pure functions; each failure is one line that says what to do."""

from overlay.nodes.facts import PACKAGES

ADVICE = {
    "python": "use the same image or environment on all nodes",
    **dict.fromkeys(PACKAGES, "install the lock's versions on all nodes"),
    "commit": "check out the same commit on all nodes",
    "code": "its files differ from the commit's: check it out anew",
    "VLM-R1": "make patch on that node",
    "data": "the data files differ: copy them again, or use the shared folder",
    "model": "the model folder differs: copy it again",
    "processes": "set the same NPROC_PER_NODE",
    "batch": "set the same BATCH",
    "generations": "set the same GENERATIONS",
    "GPUs": "the nodes must have the same GPUs",
    "RDMA devices": "NCCL would fall back to TCP between some nodes: pass the RDMA devices into all containers",
    "libibverbs": "install libibverbs1 in the image",
}
CLOCK = 2.0  # seconds


def divisible(nodes: int, processes: int, batch: int, generations: int, accumulation: int = 1) -> list[str]:
    """The groups of `generations` completions must fit into a step of the whole job; 0: it has none."""
    total = nodes * processes * batch * accumulation
    if generations == 0 or (generations >= 2 and total % generations == 0):
        return []
    return [
        f"{nodes} nodes x {processes} processes x batch {batch * accumulation} = {total} completions, not divisible "
        f"into groups of {generations}: change NPROC_PER_NODE, BATCH or GENERATIONS"
    ]


def differing(facts: list[dict[str, str]]) -> list[str]:
    """What is not the same on all nodes that must be; compared with node 0."""
    failures = []
    for name, advice in ADVICE.items():
        for number, node in enumerate(facts):
            if node[name] != facts[0][name]:
                failures.append(
                    f"node {number} ({node['host']}): {name} {node[name]}, node 0 has {facts[0][name]}: {advice}"
                )
    return failures


def devices(facts: list[dict[str, str]]) -> list[str]:
    """GPUs enough for the processes, and RDMA devices that can be used."""
    failures = []
    for number, node in enumerate(facts):
        where, count = f"node {number} ({node['host']})", node["GPUs"].split()[0]
        if count != "none" and int(count) < int(node["processes"]):
            failures.append(f"{where}: {count} GPUs for {node['processes']} processes: lower NPROC_PER_NODE")
        if node["RDMA devices"] != "none" and node["libibverbs"] == "missing":
            failures.append(f"{where}: RDMA devices but no libibverbs: NCCL would use TCP; install libibverbs1")
    return failures


def clocks(times: list[float], hosts: list[str]) -> list[str]:
    """Clocks that were read at the same moment: seconds since the epoch."""
    return [
        f"node {number} ({host}): its clock is {time - times[0]:+.0f} s off node 0's: start ntpd or chronyd there"
        for number, (time, host) in enumerate(zip(times, hosts, strict=True))
        if abs(time - times[0]) > CLOCK
    ]
